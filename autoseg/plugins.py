"""Finding architectures, trainers and engines by name.

A name is looked for as a module of autoseg (the file name is the name), then as an installed entry point
of the group ``autoseg.<family>``, then as the path of a Python file. Nothing is imported before it is
asked for, and there is no list to edit.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from autoseg import plugins
from autoseg.errors import UsageError

Family = Literal["architectures", "trainers"]


def available(family: Family) -> tuple[str, ...]:
    """All names of a family, sorted, without importing any of them."""
    spec = importlib.util.find_spec(f"autoseg.{family}")
    folders = list(spec.submodule_search_locations or []) if spec else []
    own = {module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_")}
    return tuple(sorted(own | {point.name for point in entry_points(group=f"autoseg.{family}")}))


def find(family: Family, name: str) -> ModuleType:
    """Import the module that defines `name`.

    Raises:
        UsageError: if there is none; the message lists what there is.
    """
    if name in available(family):
        for point in entry_points(group=f"autoseg.{family}", name=name):
            return importlib.import_module(point.module)
        return importlib.import_module(f"autoseg.{family}.{name}")
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return _from_file(path)
    raise UsageError(
        f"There is no {family[:-1]} named {name!r}. Choose one of {', '.join(available(family))}, "
        f"or give the path of a Python file."
    )


def _from_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} cannot be imported as a Python module. Give the path of a .py file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trainer_class(name: str) -> type[Any]:
    """The trainer's class, by its name.

    Raises:
        UsageError: if there is none; the message lists what there is.
    """
    module = plugins.find("trainers", name)
    found: type[Any] = getattr(module, Path(name).stem if name.endswith(".py") else name)
    return found
