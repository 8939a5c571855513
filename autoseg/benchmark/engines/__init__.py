"""What runs the jobs: this process, Snakemake, or scripts for a scheduler."""
