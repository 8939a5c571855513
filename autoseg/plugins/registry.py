"""The registry of the six families: what there is, where it comes from, and how it is imported."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from autoseg.errors import AutosegError, RunError, UsageError
from autoseg.plugins.files import PluginFile, load_file
from autoseg.plugins.source import trainer_in

Family = Literal["trainers", "architectures", "metrics", "layouts", "engines", "loggers"]
BUILT_IN = "autoseg"


@dataclass(frozen=True)
class Shelf:
    """Where the plug-ins of a family lie, and what one is.

    Attributes:
        one: what one of the family is called.
        place: the package whose modules are those that are built in.
        base: module and name of the class that a plug-in is derived from; empty where a module is one.
    """

    one: str
    place: str
    base: tuple[str, str] | None = None

    @property
    def public(self) -> str:
        """Where a plug-in's author imports the base from."""
        return "" if self.base is None else f"{self.base[0].rpartition('.')[0]}.{self.base[1]}"


FAMILIES: Mapping[Family, Shelf] = {
    "trainers": Shelf("trainer", "autoseg.trainers", ("autoseg.training.trainer", "Trainer")),
    "architectures": Shelf("architecture", "autoseg.architectures"),
    "metrics": Shelf("metric", "autoseg.metrics.definitions"),
    "layouts": Shelf("layout", "autoseg.intake.layouts", ("autoseg.intake.layout", "Layout")),
    "engines": Shelf("engine", "autoseg.benchmark.engines", ("autoseg.benchmark.engine", "Engine")),
    "loggers": Shelf("logger", "autoseg.loggers", ("autoseg.training.logger", "Logger")),
}


def built_in(family: Family) -> tuple[str, ...]:
    """The names of autoseg's own, sorted: those of the files of the family's folder."""
    spec = importlib.util.find_spec(FAMILIES[family].place)
    folders = list(spec.submodule_search_locations or []) if spec else []
    names = (module.name for module in pkgutil.iter_modules(folders))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def available(family: Family) -> tuple[str, ...]:
    """All names of a family, sorted, without importing any of them."""
    return tuple(sorted(origins(family)))


def origins(family: Family) -> dict[str, str]:
    """Where each of a family comes from: ``autoseg``, or the distribution that brings it and its version."""
    found = {point.name: _distribution(point) for point in entry_points(group=f"autoseg.{family}")}
    # What is built in cannot be replaced by what happens to be installed.
    return {**found, **dict.fromkeys(built_in(family), BUILT_IN)}


def _distribution(point: EntryPoint) -> str:
    return point.value if point.dist is None else f"{point.dist.name} {point.dist.version}"


def find(family: Family, name: str) -> ModuleType:
    """Import the module that defines `name`: a name of `available`, or the path of a Python file.

    Raises:
        UsageError: if there is none, or it cannot be imported; the message lists what there is.
    """
    found = _find(family, name)
    return found if isinstance(found, ModuleType) else importlib.import_module(found.__module__)


def _find(family: Family, name: str) -> Any:
    """A module, or what an entry point names in one."""
    if name.endswith(".py"):
        return load_file(Path(name))
    if name in built_in(family):
        return importlib.import_module(f"{FAMILIES[family].place}.{name}")
    for point in entry_points(group=f"autoseg.{family}", name=name):
        try:
            return point.load()
        except AutosegError:
            raise
        except Exception as problem:  # whatever a package of others raises while it is imported
            raise UsageError(
                f"The {FAMILIES[family].one} {name} ({_distribution(point)}) cannot be imported from "
                f"{point.value}: {type(problem).__name__}: {problem}. Mend that package, or uninstall it."
            ) from problem
    one = FAMILIES[family].one
    raise UsageError(
        f"There is no {one} named {name!r}. Choose one of {', '.join(available(family))}, or give the path "
        f"of a Python file."
    )


def find_class(family: Family, name: str) -> type[Any]:
    """The class of a plug-in: in its module the one of that name, else the only one of the family.

    Raises:
        UsageError: if there is none, or several are possible.
    """
    found = _find(family, name)
    if isinstance(found, type):
        return _checked(family, found, name)
    here = [each for each in vars(found).values() if isinstance(each, type)]
    own = [each for each in here if each.__module__ == found.__name__ and _is_one(family, each)]
    named = [each for each in own if each.__name__ == Path(name).stem]
    concrete = [each for each in own if not inspect.isabstract(each) and not each.__name__.startswith("_")]
    chosen = named or concrete
    if len(chosen) == 1:
        return chosen[0]
    shelf = FAMILIES[family]
    if not chosen:
        raise UsageError(
            f"{name} has no {shelf.one}. Write a class that is derived from {shelf.public}{_unfinished(own)}."
        )
    raise UsageError(
        f"{name} has the {family} {', '.join(each.__name__ for each in chosen)}. Keep one in a file."
    )


def _unfinished(own: list[type[Any]]) -> str:
    """What abstract classes of a file still lack."""
    lacking = [f"{each.__name__} lacks {', '.join(sorted(each.__abstractmethods__))}" for each in own]
    return f" ({'; '.join(lacking)})" if lacking else ""


def _is_one(family: Family, found: type[Any]) -> bool:
    base = FAMILIES[family].base
    return any((each.__module__, each.__name__) == base for each in found.__mro__[1:])


def _checked(family: Family, found: type[Any], name: str) -> type[Any]:
    if not _is_one(family, found):
        shelf = FAMILIES[family]
        article = "an" if shelf.one[0] in "aeiou" else "a"
        raise UsageError(
            f"{name}: the class {found.__name__} is not {article} {shelf.one}. Derive it from {shelf.public}."
        )
    return found


def trainer_name(text: str) -> str:
    """The name of the class that a name or a file means, without importing it; runs' folders are named so.

    Raises:
        UsageError: if it is a file that is not there, or that has no trainer or several.
    """
    if not text.endswith(".py"):
        return text
    name = trainer_in(Path(text))
    if name in built_in("trainers"):
        raise UsageError(
            f"{text} has a trainer with the name of one of autoseg's, {name}, and their runs would lie in "
            f"one folder. Give the class and the file another name."
        )
    return name


def trainer_class(name: str) -> type[Any]:
    """The trainer's class, by its name or its file.

    Raises:
        UsageError: if there is none, it is no trainer, or its name is not that of its entry point.
    """
    wanted, found = trainer_name(name), _find("trainers", name)
    trainer = getattr(found, wanted, None) if isinstance(found, ModuleType) else found
    if not isinstance(trainer, type):
        raise UsageError(f"{name} has no class named {wanted}. Name the trainer's class so.")
    if trainer.__name__ != wanted:
        raise UsageError(
            f"The entry point {name} names the trainer {trainer.__name__}. Both need the same name: runs and "
            f"checkpoints go by the class's, the command line by the entry point's."
        )
    return _checked("trainers", trainer, name)


def trainer_of_plan(name: str, file: PluginFile | None, used_by: str) -> type[Any]:
    """The trainer's class that a plan was made for, by its file where it was one.

    Args:
        name: the class's name.
        file: the file that the plan names; None: the trainer is built in or installed.
        used_by: who needs it, for messages.

    Raises:
        RunError: if its file is nowhere to be found.
        UsageError: if there is no such trainer.
    """
    if file is None:
        return trainer_class(name)
    path = file.located(used_by)
    found = trainer_class(str(path))
    if found.__name__ != name:
        raise RunError(
            f"{used_by} needs the trainer {name} of {path}, and now {found.__name__} is there. "
            f"Restore the file."
        )
    return found
