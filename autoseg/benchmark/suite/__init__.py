"""A suite: read from YAML, checked, and unfolded into its matrix of runs."""
