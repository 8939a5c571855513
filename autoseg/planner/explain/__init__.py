"""A plan in words: each decision, its rule, its numbers, what else there was; a page with a picture."""
