"""`{command-line}`: every subcommand with its arguments and options, read from the command line itself."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

import typer
from data_formats import in_words
from generated import Generated, table
from sphinx.application import Sphinx

from autoseg.cli.app import app


def commands() -> dict[str, Any]:
    """All subcommands by name, those that engines call last."""
    found = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return dict(sorted(found.items(), key=lambda item: item[1].hidden))


def describe(name: str, command: Any) -> str:
    """One subcommand as Markdown: what it does, how it is called, what it takes."""
    options = [each for each in command.params if each.param_type_name == "option"]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = " ".join(["autoseg", name, "[OPTIONS]", *(_placeholder(each) for each in arguments)])
    parts = [f"## `autoseg {name}`\n", f"{command.help}\n", f"```text\n{usage}\n```\n"]
    if described := [(f"`{_placeholder(each)}`", _meaning(each)) for each in arguments]:
        parts.append(table(("argument", "what it is"), described))
    if options:
        hints = typing.get_type_hints(inspect.unwrap(command.callback))
        rows = [
            (_spelling(each), _value(each, hints[each.name]), _default(each), _meaning(each))
            for each in options
        ]
        parts.append(table(("option", "value", "if not given", "what it does"), rows))
    return "\n".join(parts)


def _placeholder(argument: Any) -> str:
    text = argument.metavar or argument.name.upper()
    return text if argument.required or text.startswith("[") else f"[{text}]"


def _spelling(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _value(option: Any, annotation: Any) -> str:
    """What is written after an option, from the annotation of the function that takes it."""
    if option.is_flag:
        return ""
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)] or [annotation]
    return option.metavar or in_words((typing.get_args(kinds[0]) or kinds)[0])


def _default(option: Any) -> str:
    if option.required:
        return "**required**"
    if option.is_flag and option.secondary_opts:
        return f"`{(option.opts if option.default else option.secondary_opts)[0]}`"
    unset = option.default in (None, "", (), []) or option.is_flag
    return "" if unset else f"`{option.default}`"


def _meaning(parameter: Any) -> str:
    text = re.sub(r"(?<![\w`])--[a-z][a-z-]*", r"`\g<0>`", getattr(parameter, "help", None) or "")
    variable = getattr(parameter, "envvar", None)
    return f"{text} Environment variable: `{variable}`." if variable else text


def _all() -> Iterator[str]:
    for name, command in commands().items():
        if name == "benchmark-job":
            yield "## Called by engines\n\nA cluster's jobs call this; nobody types it.\n"
            yield describe(name, command).replace("## ", "### ", 1)
        else:
            yield describe(name, command)


class CommandLine(Generated):
    """All subcommands."""

    def markdown(self) -> str:
        """Each subcommand under a heading of its own."""
        return "\n".join(_all())


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
