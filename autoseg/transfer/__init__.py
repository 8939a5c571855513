"""Initial weights and fine-tuning: what is loaded, what is frozen, and what was learnt before."""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
