"""What the command line takes: options that several subcommands share, and how their texts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autoseg.errors import UsageError
from autoseg.names import shown, whole_number

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
Devices = Annotated[
    int,
    typer.Option("--devices", envvar="AUTOSEG_DEVICES", min=1, help="GPUs that train one run together."),
]
Budget = Annotated[str | None, typer.Option(help="Wall clock for all runs together: 90s, 30m, 2h.")]
Memory = Annotated[str | None, typer.Option(help="Memory target of the planner: 8GB.")]
Seed = Annotated[int, typer.Option(min=0, help="Of initialisation, sampling and augmentation.")]
Init = Annotated[
    str | None, typer.Option(help="First weights: random, imagenet, a model's folder or a file.")
]
Finetune = Annotated[
    str | None, typer.Option(help="What is trained: a to i, ft_encoder, ft_decoder, head, all, gradual.")
]
Accept = Annotated[
    str, typer.Option(help="Findings of the verification that are intended: direction (of labels).")
]
FewCases = Annotated[str | None, typer.Option("--cases", help="Of the training cases only some: 20, or 10%.")]
PlanFrom = Annotated[
    str | None,
    typer.Option(help="Network, patch, spacing and normalisation of another model: init, or its folder."),
]
Log = Annotated[
    str,
    typer.Option(
        "--log", envvar="AUTOSEG_LOG", help="Loggers of every epoch: tensorboard, mlflow, wandb, or a file."
    ),
]
EnergyOf = Annotated[
    str,
    typer.Option(
        "--energy",
        envvar="AUTOSEG_ENERGY",
        help="Measure energy and CO2: the country as DEU, FRA, USA.",
    ),
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Number of epochs, instead of a budget.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Training steps of each run, instead of a budget or epochs.")
]
Small = Annotated[
    bool,
    typer.Option("--small", help="With --steps: smallest batch, width and patch, to see the whole path."),
]


def parse_accepted(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


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


def parse_division(text: str) -> tuple[tuple[int, ...] | None, str | None]:
    """Indices as of `parse_folds`, and the column that divides the cases: of ``by=site`` all and ``site``.

    Raises:
        UsageError: for anything else.
    """
    key, equals, column = text.partition("=")
    if equals and key.strip() == "by" and column.strip():
        return None, column.strip()
    return parse_folds(text), None


def parse_fold(text: str) -> int | str:
    """An index, or ``all``.

    Raises:
        UsageError: for anything else.
    """
    if text == "all":
        return text
    if (index := whole_number(text)) is not None:
        return index
    raise UsageError(f"{shown(text)} is not a fold. Write an index such as 0, or all.")
