"""From probabilities to a segmentation: calibrated by a temperature, decided for the best expected Dice."""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
