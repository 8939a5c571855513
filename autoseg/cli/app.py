"""The command line: one command, with the subcommands of this folder."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from autoseg.cli import (
    benchmark,
    data,
    export,
    intake,
    prediction,
    results,
    serving,
    training,
    trust,
    validation,
)
from autoseg.cli.unexpected import report_unexpected
from autoseg.errors import AutosegError

INTERRUPTED = 130
CLOSED_OUTPUT = 141

app = typer.Typer(
    name="autoseg",
    help="Self-configuring medical image segmentation: drop a data set in, read a leaderboard.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from autoseg import __version__

        typer.echo(f"autoseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


PARTS = (training, prediction, intake, data, results, validation, benchmark, export, serving, trust)
for each in PARTS:
    app.add_typer(each.app)


def alone(words: Sequence[str]) -> typer.Typer:
    """The program with the command alone that these words ask for; with all where none has that name.

    Typer describes each command before it runs one, which is a third of what a start takes.

    Args:
        words: of the command line, after the program's name.
    """
    asked = next((word for word in words if not word.startswith("-")), None)
    found = [command for part in PARTS for command in part.app.registered_commands if command.name == asked]
    if not found:
        return app
    one = copy.copy(app)
    one.registered_groups, one.registered_commands = [], found
    return one


def main() -> None:
    """Run the command line and exit with its status."""
    # Read once, when torch's threads are loaded. A thread that spins while it waits for another one, whose
    # core somebody's process has, wastes the time of all: see benchmarks/results/threads.md.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # pydantic would look through every package that is installed for plug-ins of its own, and run them.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        status = alone(sys.argv[1:])(standalone_mode=False)
    except AutosegError as error:
        typer.echo(f"autoseg: {error}", err=True)
        raise SystemExit(error.exit_status) from None
    except (KeyboardInterrupt, typer.Abort) as end:
        # The parser takes a file that ends too early, somewhere in the work, for an end of the user's typing.
        if isinstance(end.__cause__, EOFError):
            raise SystemExit(report_unexpected(end.__cause__)) from None
        status = INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone, as `head` does. Python's own flush at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(CLOSED_OUTPUT) from None
    except Exception as error:
        # The parser's own errors know how to show themselves and how to exit; all others are ours to see.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            raise SystemExit(error.exit_code) from None
        raise SystemExit(report_unexpected(error)) from None
    if status == INTERRUPTED:  # the parser turns an interrupt into this number by itself
        typer.echo(
            "\nautoseg: interrupted. Finished work stays. Run the same command again to go on.", err=True
        )
    raise SystemExit(status or 0)
