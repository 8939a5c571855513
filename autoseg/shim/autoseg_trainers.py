"""Hands autoseg's trainers to nnU-Net's look-up by name.

nnU-Net imports every module of the folder and asks each for the class. The class handed out lives in the
installed package, so that it can be pickled, and only the requested one is imported.
"""

from __future__ import annotations

from typing import Any

from autoseg import plugins


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in plugins.available("trainers"):
        raise AttributeError(name)
    return plugins.trainer_class(name)
