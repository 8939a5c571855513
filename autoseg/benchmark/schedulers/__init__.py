"""What engines for clusters share: Snakemake with its profiles, and scripts of job arrays."""
