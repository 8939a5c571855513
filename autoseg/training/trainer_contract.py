"""What a trainer's class has to say of itself, looked at when it is defined: before anything is trained."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.errors import UsageError
from autoseg.planner.hyperparameters import KINDS, Hyperparameters
from autoseg.planner.trainer_facts import SITUATIONS
from autoseg.system.option_values import nearest


def check_trainer(trainer: type[Any]) -> None:
    """Refuse a class whose attributes make no sense; make the path of a network's file absolute.

    Raises:
        UsageError: with everything that is wrong, and how to mend it.
    """
    if isinstance(trainer.architecture, str) and trainer.architecture.endswith(".py"):
        trainer.architecture = str(_beside(trainer))
    if found := list(_problems(trainer)):
        raise UsageError(f"The trainer {trainer.__name__}: {' '.join(found)}")


def _beside(trainer: type[Any]) -> Path:
    """A network's file, relative to the trainer's own."""
    own = getattr(sys.modules.get(trainer.__module__), "__file__", None)
    return (Path(own).parent if own else Path()).joinpath(trainer.architecture).absolute()


def _problems(trainer: type[Any]) -> Iterator[str]:
    if "__" in trainer.__name__:
        yield "its name has two underscores in a row, which part the names of folders. Take one."
    dimensions = trainer.dimensions
    if not isinstance(dimensions, tuple) or not dimensions or set(dimensions) - {2, 3}:
        yield f"dimensions is {dimensions!r}; expected (2,), (3,) or (2, 3)."
    elif trainer.preferred_dimension not in (None, *dimensions):
        yield (
            f"preferred_dimension is {trainer.preferred_dimension!r}; expected None or one of its dimensions "
            f"{dimensions}."
        )
    yield from _about_network(trainer)
    try:
        Hyperparameters.of(trainer)
    except UsageError as problem:
        yield str(problem)
    yield from _about_auto(trainer.auto)
    yield from _near_names(trainer)


def _about_network(trainer: type[Any]) -> Iterator[str]:
    name = trainer.architecture
    if name is None:
        return
    if name.endswith(".py"):
        if not Path(name).is_file():
            yield f"its architecture is the file {name}, which is not there. Check the path."
    elif name not in plugins.built_in("architectures") and name not in plugins.available("architectures"):
        known = plugins.available("architectures")
        yield (
            f"there is no architecture {name!r}.{nearest(name, known)} Choose one of {', '.join(known)}, or "
            f"give the path of a Python file, relative to the trainer's."
        )


def _about_auto(auto: Any) -> Iterator[str]:
    ranks = auto.values() if isinstance(auto, Mapping) else (None,)
    if not all(isinstance(rank, int) for rank in ranks) or set(auto) - set(SITUATIONS):
        yield f"auto is {auto!r}; expected ranks, whole numbers, of {', '.join(SITUATIONS)}."


def _near_names(trainer: type[Any]) -> Iterator[str]:
    """Attributes that would be ignored, whose names are close to those of hyper-parameters."""
    known = {name for base in trainer.__mro__[1:] for name in vars(base)}
    for name, value in vars(trainer).items():
        plain = isinstance(value, int | float | str) and not name.startswith("_")
        if plain and name not in known and (near := nearest(name, KINDS)):
            yield f"it sets {name}, which nothing reads.{near}"
