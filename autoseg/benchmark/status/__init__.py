"""How far a benchmark is: in the terminal, and as a page."""
