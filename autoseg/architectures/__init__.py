"""Networks by name. Each file is one architecture; the file name is its name.

A file defines `NETWORK`, the class, as a rule derived from `SegmentationNetwork`; `DIMENSIONS`, what it
supports; `OPTIONS`, what a user may choose, each an `Option`; and `kwargs_for(topology, **options)`, the
JSON-able arguments of that class for one configuration of a plan. Options come checked, defaults filled in.
`check_architecture` tries out everything that a network has to keep. A file of your own lies anywhere, or
in a package under the entry point group ``autoseg.architectures``.
"""

import lazy_loader

# What is public stands in __init__.pyi. Names are imported when first used, so plans are made without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
