"""What the command line takes: options that several subcommands share, and how their texts are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from autoseg.errors import UsageError

Root = Annotated[
    Path | None,
    typer.Option("--workspace", envvar="AUTOSEG_WORKSPACE", help="Root of raw, preprocessed and results."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no messages.")]
DatasetName = Annotated[
    str, typer.Argument(metavar="DATASET", help="A name, an id or the path of a raw folder.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per core if not given.")]
Groups = Annotated[Path | None, typer.Option(help="Table of case and group: a group never spans two folds.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Budget = Annotated[str | None, typer.Option(help="Wall clock for all runs together: 90s, 30m, 2h.")]
Memory = Annotated[str | None, typer.Option(help="Memory target of the planner: 8GB.")]
Seed = Annotated[int, typer.Option(min=0, help="Of initialisation, sampling and augmentation.")]
Init = Annotated[
    str | None, typer.Option(help="First weights: random, imagenet, a model's folder or a file.")
]
Finetune = Annotated[
    str | None, typer.Option(help="What is trained: a to i, ft_encoder, ft_decoder, head, all, gradual.")
]
FewCases = Annotated[str | None, typer.Option("--cases", help="Of the training cases only some: 20, or 10%.")]
PlanFrom = Annotated[
    str | None,
    typer.Option(help="Network, patch, spacing and normalisation of another model: init, or its folder."),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Number of epochs, instead of a budget.")]


def parse_duration(text: str | None) -> float | None:
    """Seconds of ``90s``, ``30m``, ``2h`` or ``1h30m``; a bare number is minutes.

    Raises:
        UsageError: for anything else, or nothing left of it.
    """
    if text is None:
        return None
    bare = re.fullmatch(r"\d+(\.\d+)?", text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", text)
    if bare:
        seconds = float(text) * 60
    elif parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)
    else:
        raise UsageError(f"{text!r} is no duration. Write 90s, 30m, 2h or 1h30m.")
    if seconds <= 0:
        raise UsageError(f"The budget {text!r} is nothing. Give a time above zero, such as 10m.")
    return seconds


def parse_memory(text: str | None) -> float | None:
    """Gigabytes of ``8GB`` or ``8``.

    Raises:
        UsageError: for anything else.
    """
    if text is None:
        return None
    number = text.strip().upper().removesuffix("GB").strip()
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise UsageError(f"{text!r} is no amount of memory. Write 8GB.")
    return value


def parse_folds(text: str) -> tuple[int, ...] | None:
    """Indices of ``0`` or ``0,1``; None for ``all``.

    Raises:
        UsageError: for anything else.
    """
    if text == "all":
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} names no folds. Write 0, or 0,1, or all.") from None


def parse_fold(text: str) -> int | str:
    """An index, or ``all``.

    Raises:
        UsageError: for anything else.
    """
    if text == "all" or text.isdigit():
        return text if text == "all" else int(text)
    raise UsageError(f"{text!r} is no fold. Write an index such as 0, or all.")
