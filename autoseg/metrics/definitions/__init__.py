"""The metrics that are built in, one group a file; importing this registers them all.

A formula takes what `autoseg.metrics.comparison` found out about a structure, or about a case, and returns
None where it is undefined. What an empty segmentation is given instead is decided in one place,
`autoseg.metrics`. A new file here needs no mention elsewhere.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
