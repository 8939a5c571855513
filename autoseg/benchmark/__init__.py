"""A suite of data sets x trainers x folds x seeds, from a YAML file to a finished leaderboard.

suite -> matrix (its cells) -> graph (its jobs) -> an engine (in this process, on a cluster, or one of your
own) -> standings. A job leaves its outcome in the benchmark's folder, so every engine goes on where any other
stopped.
"""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
