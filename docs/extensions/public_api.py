"""`.. public-api::`: every name that autoseg and its folders make public, in reStructuredText.

A name stands where it is first made public: at the top, or in its folder.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from generated import Generated
from sphinx.application import Sphinx

import autoseg

ROOT = Path(autoseg.__file__).parent


def public_names() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each package with a stub and the names that it makes public, the top first."""
    for stub in sorted(ROOT.rglob("__init__.pyi")):
        package = ".".join(("autoseg", *stub.parent.relative_to(ROOT).parts))
        tree = ast.parse(stub.read_text(encoding="utf-8"))
        imports = [each for each in tree.body if isinstance(each, ast.ImportFrom)]
        yield package, tuple(alias.asname or alias.name for each in imports for alias in each.names)


class PublicApi(Generated):
    """Every public name with its signature and docstring."""

    def markdown(self) -> str:
        """A section for each package."""
        seen: set[int] = set()
        return "\n".join(_section(package, names, seen) for package, names in public_names())


def _section(package: str, names: tuple[str, ...], seen: set[int]) -> str:
    from importlib import import_module

    module = import_module(package)
    title = f"``{package}``"
    lines = [title, "-" * len(title), "", _first_paragraph(module.__doc__), ""]
    before = [name for name in names if id(getattr(module, name)) in seen]
    for name in names:
        if name not in before:
            lines += [*_entry(f"{package}.{name}", getattr(module, name)), ""]
            seen.add(id(getattr(module, name)))
    if before:
        lines += [f"Also here: {', '.join(f'``{name}``' for name in sorted(before))}.", ""]
    return "\n".join(lines)


def _entry(path: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        return [
            f".. autoexception:: {path}" if issubclass(value, BaseException) else f".. autoclass:: {path}"
        ]
    if inspect.isfunction(value):
        return [f".. autofunction:: {path}"]
    return [f".. py:data:: {path}", "", f"   A {type(value).__name__}."]


def _first_paragraph(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").split("\n\n")[0]


def _dashes(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Between a name and its meaning, Sphinx writes two hyphens and leaves the dash to its typography."""
    for text in doctree.findall(lambda node: isinstance(node, nodes.Text) and str(node) == " -- "):
        text.parent.replace(text, nodes.Text(": "))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("public-api", PublicApi)
    app.connect("doctree-resolved", _dashes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
