"""Records: what a run was, what it cost and how each case scored."""
