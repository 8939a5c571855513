"""Records of runs, their ranking with statistics, and the page that shows it.

Records come in (`records`, `foreign`), are pooled into rows, sorted into sets of like with like, tested and
ranked (`ranking`, `statistics`), and go out to a terminal (`table`), an offline page (`page`) and files for
other programs (`export`).
"""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
