"""DICOM as it is read: which frames make one volume, where they lie, their values, and labels upon them.

Needs pydicom, of the extra ``dicom``. Nothing here writes.
"""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
