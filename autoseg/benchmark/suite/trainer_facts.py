"""What a suite has to know of trainers, read from their files without importing them.

Importing a trainer brings torch and nnunetv2, which takes seconds and memory that a dry run of thousands of
jobs does not need. The class attributes stand in the file as plain values; those of base classes in theirs.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autoseg import plugins

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
        # An installed plug-in that is no plain file: it has to be imported after all.
        module = plugins.find("trainers", name)
        found = getattr(module, name)
        attributes = {key: getattr(found, key) for key in _NAMES if hasattr(found, key)}
    else:
        attributes = _attributes(path, path.stem)
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
    path = Path(name)
    return path if path.suffix == ".py" and path.is_file() else None


def _attributes(path: Path, name: str) -> dict[str, Any]:
    """Class attributes with a literal value, bases first."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for base in reversed(node.bases):
                found.update(_of_base(tree, base))
            for statement in node.body:
                found.update(_assigned(statement))
    return found


def _of_base(tree: ast.Module, base: ast.expr) -> dict[str, Any]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and isinstance(base, ast.Name):
            if not node.module.startswith("autoseg.trainers"):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) == base.id:
                    return _attributes(_module_file(node.module), alias.name)
    return {}


def _module_file(module: str) -> Path:
    root = importlib.util.find_spec("autoseg")
    if root is None or root.submodule_search_locations is None:
        return Path(__file__).parents[2] / "trainers" / f"{module.rpartition('.')[2]}.py"
    return Path(root.submodule_search_locations[0], *module.split(".")[1:]).with_suffix(".py")


def _assigned(statement: ast.stmt) -> dict[str, Any]:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        target, value = statement.targets[0].id, statement.value
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
        target, value = statement.target.id, statement.value
    else:
        return {}
    try:
        return {target: ast.literal_eval(value)}
    except ValueError:
        return {}
