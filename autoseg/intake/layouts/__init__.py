"""Foreign layouts, one file each, and what turns them into cases of the raw layout."""
