"""A suite of data sets x trainers x folds x seeds, from a YAML file to a finished leaderboard.

suite -> matrix (its cells) -> graph (its jobs) -> an engine (`local` in this process, or Snakemake on a
cluster) -> standings. A job leaves its outcome in the benchmark's folder, so every engine goes on where any
other stopped.
"""
