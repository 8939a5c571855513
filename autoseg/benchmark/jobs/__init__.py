"""The jobs of a suite: their graph, what each needs, and what it does when it runs."""
