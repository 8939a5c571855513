"""autoseg: a self-configuring segmentation framework for medical images.

The public names stand in ``__init__.pyi``. Each is imported when it is first used, so that ``import autoseg``
costs nothing. Every folder names what is public of it in the same way.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("autoseg")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
