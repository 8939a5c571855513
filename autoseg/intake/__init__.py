"""What comes in: foreign layouts into the raw layout, and findings about a raw data set."""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
