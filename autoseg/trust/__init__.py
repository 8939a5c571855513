"""Which prediction to distrust: expected quality, what is unlike the training data, doubtful labels."""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
