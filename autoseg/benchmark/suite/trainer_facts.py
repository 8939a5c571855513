"""What a suite has to know of trainers, read from their files without importing them.

Importing a trainer brings torch and nnunetv2, which takes seconds and memory that a dry run of thousands of
jobs does not need. The class attributes stand in the file as plain values; those of base classes in theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.plugins.source import class_attributes, trainer_in

GROUPS = ("auto", "documented", "baselines", "all")


@dataclass(frozen=True)
class TrainerFacts:
    """Attributes of a trainer's class; see `autoseg.trainers`."""

    name: str
    documented: bool = False
    dimensions: tuple[int, ...] = (2, 3)
    preferred_dimension: int | None = None
    epochs: int = 1000
    steps_per_epoch: int = 250


@cache
def facts(name: str) -> TrainerFacts:
    """The facts of a trainer, by its name or the path of its file.

    Raises:
        UsageError: if there is none.
    """
    path = _file_of(name)
    if path is None:
        # An installed plug-in, which has to be imported after all.
        found = plugins.trainer_class(name)
        attributes = {key: getattr(found, key) for key in _NAMES if hasattr(found, key)}
    else:
        attributes = class_attributes(path, trainer_in(path))
    known: dict[str, Any] = {key: value for key, value in attributes.items() if key in _NAMES}
    if "dimensions" in known:
        known["dimensions"] = tuple(known["dimensions"])
    return TrainerFacts(name, **known)


def in_group(group: str) -> tuple[str, ...]:
    """The trainers of a group.

    ``auto`` and ``all`` are every trainer; those that cannot train a data set become rows that say so.
    """
    names = plugins.available("trainers")
    if group in ("auto", "all"):
        return names
    return tuple(name for name in names if facts(name).documented == (group == "documented"))


_NAMES = ("documented", "dimensions", "preferred_dimension", "epochs", "steps_per_epoch")


def _file_of(name: str) -> Path | None:
    own = Path(__file__).parents[2] / "trainers" / f"{name}.py"
    if own.is_file():
        return own
    return Path(name) if name.endswith(".py") else None
