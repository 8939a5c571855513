"""Foreign layouts, one a file."""
