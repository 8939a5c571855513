"""What the reference is made from says something about every key, option, field and name."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def extension(name: str) -> ModuleType:
    """A module of docs/extensions; skips where Sphinx is not installed."""
    pytest.importorskip("sphinx")
    sys.path.insert(0, str(ROOT / "docs" / "extensions"))
    try:
        return import_module(name)
    finally:
        sys.path.pop(0)


def test_every_key_of_a_suite_has_a_meaning() -> None:
    formats = extension("data_formats")
    for part in formats.SuiteKeys.PARTS.values():
        rows = [line.split(" | ") for line in formats.SuiteKeys._table(part).splitlines()[2:]]
        assert len(rows) == len(part.model_fields)
        assert not [row[0] for row in rows if not row[3].strip(" |")], part.__name__


def test_amounts_and_choices_are_told_as_they_are_written() -> None:
    formats = extension("data_formats")
    budget, suite = formats.model.Budget.model_fields, formats.model.Suite.model_fields
    assert formats.in_words(budget["per_run"].rebuild_annotation()) == "time: `90s`, `30m`, `2h`"
    assert formats.in_words(suite["memory"].rebuild_annotation()) == "memory: `8GB`"
    assert formats.in_words(suite["device"].rebuild_annotation()) == "`auto`, `cpu`, `cuda`, `mps`"


def test_keys_of_a_plan_are_those_of_its_file() -> None:
    formats = extension("data_formats")
    plan = formats.reference_plan()
    document = plan.to_json()
    assert formats._key_of("name", plan.name, document) == "plans_name"
    assert formats._key_of("transpose", plan.transpose, document) == "transpose_forward"
    assert formats._key_of("decisions", (), document) == "autoseg.decisions"


def test_every_option_says_what_it_does() -> None:
    command_line = extension("command_line")
    for name, command in command_line.commands().items():
        for each in command.params:
            if each.param_type_name == "option":
                assert command_line._meaning(each), f"autoseg {name} {each.opts}"


def test_every_public_name_is_documented_once() -> None:
    public_api = extension("public_api")
    text = public_api.PublicApi.markdown(None)
    names = [alias.name for stub in (ROOT / "autoseg").rglob("__init__.pyi") for alias in _imported(stub)]
    assert len(names) > 40
    for name in names:
        assert f".{name}\n" in text, name
    entries = [line for line in text.splitlines() if line.startswith(".. ")]
    assert len(entries) == len(set(entries))


def _imported(stub: Path) -> list[ast.alias]:
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return [alias for each in tree.body if isinstance(each, ast.ImportFrom) for alias in each.names]
