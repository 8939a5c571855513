"""The engines, one a file: what runs the jobs of a benchmark."""
