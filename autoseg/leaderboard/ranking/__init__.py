"""Rows of records, sorted into sets of like with like, tested and ranked."""
