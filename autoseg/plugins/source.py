"""What a trainer's file says, read without importing it: importing brings torch, which takes seconds."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any

from autoseg.errors import UsageError

_TRAINERS = ("autoseg.trainers", "autoseg.training")


def trainer_in(path: Path) -> str:
    """The name of the trainer's class in a file: the one named as the file, else the only one.

    Raises:
        UsageError: if there is no such file, it is no Python, or it has no trainer or several.
    """
    classes = _classes(_tree(path))
    if path.stem in classes:
        return path.stem
    sure = [name for name in classes if not name.startswith("_") and _is_trainer(name, path)]
    # A base that comes from a module of one's own may be a trainer, or may not.
    found = sure or [name for name, node in classes.items() if node.bases and not name.startswith("_")]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{path} has no trainer. Write a class named {path.stem} that is derived from "
            f"autoseg.training.Trainer."
        )
    raise UsageError(
        f"{path} has the classes {', '.join(found)}, and none of them is named {path.stem}. Name the one "
        f"that is meant as the file is, or give each a file of its own."
    )


def class_attributes(path: Path, name: str) -> dict[str, Any]:
    """Class attributes with a literal value, those of bases in the same file or in autoseg's trainers first.

    Raises:
        UsageError: if there is no such file, or it is no Python.
    """
    tree = _tree(path)
    node = _classes(tree).get(name)
    if node is None:
        return {}
    found: dict[str, Any] = {}
    for base in reversed(node.bases):
        if isinstance(base, ast.Name):
            found.update(_of_base(tree, path, base.id))
    for statement in node.body:
        found.update(_assigned(statement))
    return found


def own_attributes(path: Path, name: str) -> dict[str, Any]:
    """Attributes with a literal value that a class sets itself."""
    node = _classes(_tree(path)).get(name)
    found: dict[str, Any] = {}
    for statement in node.body if node is not None else ():
        found.update(_assigned(statement))
    return found


def _tree(path: Path) -> ast.Module:
    try:
        status = path.stat()
    except OSError:
        raise UsageError(f"There is no file {path}. Check the path of the plug-in.") from None
    return _parsed(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=256)
def _parsed(path: Path, _changed: int, _size: int) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as problem:
        line = f", line {problem.lineno}" if isinstance(problem, SyntaxError) and problem.lineno else ""
        raise UsageError(f"{path}{line}: this is not Python ({problem}). Correct the file.") from None


def _classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _is_trainer(name: str, path: Path) -> bool:
    """Whether a base of a class is known to be a trainer."""
    tree = _tree(path)
    classes = _classes(tree)
    for base in classes[name].bases:
        if isinstance(base, ast.Attribute) and base.attr == "Trainer":
            return True
        if isinstance(base, ast.Name):
            if base.id in classes and base.id != name:
                if _is_trainer(base.id, path):
                    return True
            elif (_module_of(tree, base.id) or ("", ""))[0].startswith(_TRAINERS):
                return True
    return False


def _module_of(tree: ast.Module, name: str) -> tuple[str, str] | None:
    """The module that a name is imported from, and what it is called there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.module, alias.name
    return None


def _of_base(tree: ast.Module, path: Path, name: str) -> dict[str, Any]:
    if name in _classes(tree):
        return class_attributes(path, name)
    module, original = _module_of(tree, name) or ("", "")
    if not module.startswith("autoseg.trainers"):
        return {}
    file = _file_of(f"{module}.{original}") or _file_of(module)
    return class_attributes(file, original) if file is not None else {}


def _file_of(module: str) -> Path | None:
    root = importlib.util.find_spec("autoseg")
    if root is None or root.submodule_search_locations is None:
        return None
    path = Path(next(iter(root.submodule_search_locations)), *module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


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
