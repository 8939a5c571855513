"""`{suite-keys}` and `{fields-of} CLASS`: what files hold, read from the classes that read and write them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from generated import Generated, table
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

from autoseg.benchmark.suite import model, sources
from autoseg.planner import Plan
from autoseg.racing.race import Rules

# Fields of a plan that are no keys of nnU-Net's.
OWN = {
    "decisions": "autoseg.decisions",
    "provenance": "autoseg.provenance",
    "training": "autoseg.provenance.training",
}
# What may be written where the code keeps seconds and bytes.
_AMOUNTS = {"_seconds": "time: `90s`, `30m`, `2h`", "_gigabytes": "memory: `8GB`"}
_WORDS = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path"}
# Lists of a suite whose items are more than one kind of text, in words.
_ITEMS = {
    "datasets": "list of data sets",
    "trainers": "list of trainers with options, or groups",
    "include": "list of matrices",
    "exclude": "list of patterns",
    "foreign": "list of results: `PATH`, `NAME=PATH` or a mapping",
    "folds": "`all`, or list of whole numbers",
    "cases": "list of numbers, parts such as `10%`, or `all`",
    "labels": "mapping of name to value",
}


def meanings(described: type) -> dict[str, str]:
    """What a class's docstring, and those it inherits from, say of each attribute.

    Args:
        described: a class with an ``Attributes:`` section.

    Returns:
        One sentence for each attribute; ``a, b: text`` describes both.
    """
    found: dict[str, str] = {}
    for base in reversed(described.__mro__):
        found |= _section(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
    return found


def _section(doc: str) -> dict[str, str]:
    _, _, text = doc.partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.split("\n\n")[0].splitlines():
        start = re.match(r" {4}([a-z_][\w, ]*): (.*)", line)
        if start:
            names = [name.strip() for name in start[1].split(",")]
            found |= dict.fromkeys(names, start[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return {name: text.replace("``", "`") for name, text in found.items()}


def in_words(annotation: Any) -> str:
    """A type for whoever writes YAML or JSON."""
    if annotation is type(None):
        return "`null`"
    if annotation in _WORDS:
        return _WORDS[annotation]
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        parser = next((each.func.__name__ for each in parts[1:] if hasattr(each, "func")), "")
        return _AMOUNTS.get(parser) or in_words(parts[0])
    if origin is typing.Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(in_words(part) for part in parts if part is not type(None))
    if origin in (tuple, list, Sequence) or origin is getattr(Sequence, "__origin__", Sequence):
        item = in_words(parts[0])
        return f"list of {item}{'s' if item.endswith('number') else ''}"
    if inspect.isclass(annotation) or origin is not None:
        kind = origin or annotation
        if inspect.isclass(kind) and issubclass(kind, Mapping):
            return "mapping"
        return (
            "mapping, see below"
            if dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields")
            else "value"
        )
    return "value"


class SuiteKeys(Generated):
    """The keys of a suite, from the model that validates it."""

    PARTS: ClassVar[dict[str, type[Any]]] = {
        "The suite itself": model.Suite,
        "`datasets`: one data set": model.DatasetEntry,
        "`budget`": model.Budget,
        "`exclude`: one pattern": model.Pattern,
        "`race`": model.Racing,
        "`foreign`: results made elsewhere": sources.ForeignEntry,
        "`resources`": model.ResourcesOfStages,
        "`resources.run` and `resources.prepare`": model.Resources,
    }

    def markdown(self) -> str:
        """One table for each mapping that a suite may hold."""
        return "\n".join(f"## {title}\n\n{self._table(part)}" for title, part in self.PARTS.items())

    @staticmethod
    def _table(part: type[Any]) -> str:
        # The rules of a race are described where they are carried out.
        texts = meanings(Rules if part is model.Racing else part)
        rows = []
        for name, each in part.model_fields.items():
            kind = _ITEMS.get(name) or in_words(each.rebuild_annotation())
            # Who reads the file gives the suite its name where it has none.
            unset = "the file's name" if part is model.Suite and name == "name" else _default(each)
            rows.append((f"`{name}`", kind, unset, texts.get(name, "")))
        return table(("key", "value", "if not given", "meaning"), rows)


def _default(each: Any) -> str:
    if each.default is PydanticUndefined:
        return "**required**"
    if each.default is None or each.default in ("", ()) or hasattr(each.default, "model_fields"):
        return ""
    value = list(each.default) if isinstance(each.default, tuple) else each.default
    return f"`{json.dumps(value)}`"


class FieldsOf(Generated):
    """The fields of a dataclass that is written as JSON: `{fields-of} autoseg.leaderboard.Record`."""

    required_arguments = 1

    def markdown(self) -> str:
        """One row for each field."""
        module, _, name = self.arguments[0].rpartition(".")
        described = getattr(importlib.import_module(module), name)
        hints, texts = typing.get_type_hints(described), meanings(described)
        rows = [
            (f"`{each.name}`", in_words(hints[each.name]), texts[each.name])
            for each in dataclasses.fields(described)
            if each.name in texts
        ]
        return table(("key", "value", "meaning"), rows)


class PlanFields(Generated):
    """The keys of a plan's file and what they mean: `{plan-fields} plan` or `{plan-fields} configuration`."""

    required_arguments = 1

    def markdown(self) -> str:
        """One row for each key; the names in the file are read off a reference plan."""
        plan = reference_plan()
        document = plan.to_json()
        described: Any = plan
        if self.arguments[0] == "configuration":
            name, document = next(iter(document["configurations"].items()))
            described = plan.configuration(name)
        hints, texts = typing.get_type_hints(type(described)), meanings(type(described))
        rows = [
            (f"`{key}`", in_words(hints[field]), texts[field])
            for field in texts
            if (key := _key_of(field, getattr(described, field), document))
        ]
        return table(("key", "value", "meaning"), rows)


def _key_of(field: str, value: Any, document: Mapping[str, Any]) -> str | None:
    """The key that a field has in the file: its own name, else the one with its value."""
    if field in document:
        return field
    if field in OWN:
        return OWN[field]
    wanted = json.loads(json.dumps(value, default=str)) if value else None
    return next((key for key, each in document.items() if wanted is not None and each == wanted), None)


def reference_plan() -> Plan:
    """A plan as nnU-Net makes it, from the reference plans of the repository."""
    return Plan.load(
        Path(__file__).parents[2] / "plans" / "reference" / "Dataset004_Hippocampus" / "plan.json"
    )


class PlanDocument(Generated):
    """A real plan, shortened, as JSON."""

    def markdown(self) -> str:
        """The document with one configuration and one decision."""
        document = reference_plan().to_json()
        name, entry = next(iter(document["configurations"].items()))
        entry["architecture"]["arch_kwargs"] = {"n_stages": entry["architecture"]["arch_kwargs"]["n_stages"]}
        short = {key: value for key, value in entry.items() if not key.startswith("resampling_fn")}
        document["configurations"] = {name: short}
        if "autoseg" in document:
            document["autoseg"]["decisions"] = document["autoseg"]["decisions"][:1]
        return f"```json\n{json.dumps(document, indent=2)}\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("suite-keys", SuiteKeys)
    app.add_directive("fields-of", FieldsOf)
    app.add_directive("plan-fields", PlanFields)
    app.add_directive("plan-document", PlanDocument)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
