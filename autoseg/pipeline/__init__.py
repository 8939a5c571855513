"""The walk of a data set to a leaderboard, and the only folder that knows its order.

`walk` goes through it, `trial` is one trainer on one fold, `prepare` what comes before all trials.
"""

import lazy_loader

# What is public stands in __init__.pyi; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
