"""YAML documents that know their lines, and pydantic's findings with these lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from autoseg.errors import UsageError
from autoseg.names import shown
from autoseg.system.option_values import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Where = tuple[Any, ...]
MOST_ALIASES = 10_000
DEEPEST = 64
MAPPING, SEQUENCE = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True)
class Document:
    """A YAML document.

    Attributes:
        name: what errors call it: the file's path.
        content: plain dictionaries, lists and scalars.
        lines: from a place in the content, such as ``("trainers", 2)``, to its line, counted from 1.
    """

    name: str
    content: Any
    lines: Mapping[Where, int]

    def error(self, where: Where, message: str) -> UsageError:
        """An error that begins with the file, the line and the place."""
        return UsageError(self.located(where, message))

    def located(self, where: Where, message: str) -> str:
        """A message with the file, the line and the place before it."""
        known = where
        while known and known not in self.lines:
            known = known[:-1]
        place = ".".join(str(part) for part in where)
        return f"{self.name}, line {self.lines.get(known, 1)}: {place + ': ' if place else ''}{message}"


def read_document(text: str, name: str) -> Document:
    """Parse YAML without running anything that it may ask for.

    Raises:
        UsageError: for what is not YAML, or a key that is there twice; with file and line.
    """
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as problem:
        said = " ".join(str(problem).split())
        raise UsageError(f"{name} is not YAML: {said}. Give a text file in UTF-8.") from None
    reader = _Reader(loader, name)
    try:
        node = loader.get_single_node()
        content = reader.read(node, ()) if node else None
    except RecursionError:
        raise UsageError(f"{name} is nested deeper than {DEEPEST} levels. Write it flatter.") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(
            f"{name}, line {line}: this is not YAML: {problem.problem}. Correct this line."
        ) from None
    except yaml.YAMLError as problem:
        raise UsageError(f"{name} is not YAML: {problem}. Give a text file in UTF-8.") from None
    finally:
        loader.dispose()
    return Document(name, content, reader.lines)


class _Reader:
    """From YAML's nodes, which know their lines, to plain values."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self.loader, self.name = loader, name
        self.lines: dict[Where, int] = {}
        self._open: list[yaml.Node] = []

    def read(self, node: yaml.Node, where: Where) -> Any:
        if len(self._open) >= DEEPEST:
            raise UsageError(self._at(node, f"it is nested deeper than {DEEPEST} levels. Write it flatter."))
        if node in self._open or len(self.lines) > MOST_ALIASES:
            raise UsageError(
                f"{self.name}, line {node.start_mark.line + 1}: aliases that contain themselves, or too many "
                f"of them. Write the values out."
            )
        self.lines.setdefault(where, node.start_mark.line + 1)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == MAPPING:
                return self._mapping(node, where)
            if isinstance(node, yaml.SequenceNode) and node.tag == SEQUENCE:
                return [self.read(item, (*where, i)) for i, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node)
            raise UsageError(self._at(node, f"{node.tag} is not allowed here. Leave the tag out."))
        finally:
            self._open.pop()

    def _at(self, node: yaml.Node, message: str) -> str:
        return f"{self.name}, line {node.start_mark.line + 1}: {message}"

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        """A text, a number or a truth value; YAML's dates and bytes are none of these."""
        try:
            value = self.loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
            # How its constructors stumble over what does not fit a tag.
            kind = node.tag.rpartition(":")[2]
            raise UsageError(
                self._at(node, f"{shown(node.value)} is not a value of YAML's kind {kind!r}. Correct it.")
            ) from None
        if not isinstance(value, str | int | float | None):
            kind = type(value).__name__
            raise UsageError(
                self._at(node, f"{shown(node.value)} is a {kind} to YAML. Put it into quotes to have a text.")
            )
        return value

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[Any, Any]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self.loader.flatten_mapping(node)  # resolves "<<"
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise UsageError(
                    self._at(key_node, "a key is one word, not a list or a mapping. Write a name.")
                )
            key = self._scalar(key_node)
            if written.count(key_node.value) > 1:
                line = key_node.start_mark.line + 1
                raise UsageError(f"{self.name}, line {line}: {key!r} is there twice. Keep one of them.")
            self.lines[(*where, key)] = key_node.start_mark.line + 1
            found[key] = self.read(value_node, (*where, key))
        return found


def explain(document: Document, error: ValidationError, model: type[BaseModel]) -> UsageError:
    """All findings of pydantic as one error: each with its line, the value and what there is to choose."""
    located: dict[Where, list[str]] = {}
    for finding in error.errors():
        where = _place(finding["loc"], document.content)
        if "item" in finding.get("ctx", {}):
            where += (finding["ctx"]["item"],)
        # Several at one place, or in it, are the branches of what may be one thing or another.
        place = where[:-1] if where[:-1] in located else where
        located.setdefault(place, []).append(_message(finding, where, model))
    lines = [document.located(where, _sentence(dict.fromkeys(all_))) for where, all_ in located.items()]
    return UsageError("\n".join(lines))


def _sentence(messages: Iterable[str]) -> str:
    """Messages of one place as a sentence, with what to do where none of them says it."""
    text = "; or ".join(messages)
    return text if text.endswith((".", "?")) else f"{text}. Correct this entry."


def _place(loc: Iterable[str | int], content: Any) -> Where:
    """Pydantic's place without the names of the branches of unions, which stand in it like keys.

    What leads on in the document is a key of it, whatever it looks like.
    """
    where: list[str | int] = []
    for part in loc:
        known = isinstance(content, dict) and part in content
        if known or (isinstance(content, list) and isinstance(part, int) and part < len(content)):
            content = content[part]
        elif _internal(part):
            continue
        where.append(part)
    return tuple(where)


def _internal(part: str | int) -> bool:
    """Whether a part of pydantic's place looks like the name of a union's branch."""
    return isinstance(part, str) and any(mark in part for mark in ("[", "-", "function"))


def _message(finding: Mapping[str, Any], where: Where, model: type[BaseModel]) -> str:
    kind, value = finding["type"], finding.get("input")
    if kind == "extra_forbidden":
        names = list(_model_at(model, where[:-1]).model_fields)
        return f"there is no such key.{nearest(str(where[-1]), names)} Choose from {', '.join(names)}."
    if kind == "missing":
        return "this key is missing. Add it."
    if kind == "model_type":
        names = list(_model_at(model, where).model_fields)
        return f"{_short(value)}: expected a mapping with keys of {', '.join(names)}. Write one."
    message = str(finding["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind == "value_error":
        return message
    return f"{_short(value)}: {message[0].lower() + message[1:]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _model_at(model: type[BaseModel], where: Where) -> type[BaseModel]:
    """The model of a nested mapping."""
    from pydantic import BaseModel

    for part in where:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        pending: list[Any] = [model.model_fields[part].annotation]
        while pending:
            kind = pending.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
                break
            pending.extend(getattr(kind, "__args__", ()))
    return model
