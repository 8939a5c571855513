"""autoseg: a self-configuring segmentation framework for medical images.

The public names stand in ``__init__.pyi``. Each is imported when it is first used, so that ``import autoseg``
costs nothing. Every folder names what is public of it in the same way.
"""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

from autoseg.errors import DISTRIBUTION

try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # run from its source, not installed
    __version__ = "unknown"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
