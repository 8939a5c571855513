"""A data set as it lies on disk: images of every format, labels, groups, folds, fingerprint."""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
