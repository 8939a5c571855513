"""What comes in: `autoseg import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.cli.arguments import Groups, Json, Quiet, Root, Workers
from autoseg.cli.console import print_json, start, workspace_at
from autoseg.errors import UsageError

if TYPE_CHECKING:
    from autoseg.intake.conversion import Imported
    from autoseg.intake.incoming import Request
    from autoseg.workspace import Workspace

app = typer.Typer()

LabelNames = Annotated[
    str, typer.Option(metavar="NAME=VALUE,...", help="Names of the values in the label files.")
]
ByVoxels = Annotated[
    bool,
    typer.Option("--by-voxels", help="Lay labels over images by voxels, whatever headers say of direction."),
]

Segmentation = Annotated[
    str, typer.Option(metavar="NAME,...", help="DICOM: which SEG or RTSTRUCT objects are the labels.")
]
Rename = Annotated[
    str, typer.Option(metavar="NAME=NAME,...", help="DICOM: structures that get another name, or one name.")
]
ListCases = Annotated[
    bool, typer.Option("--list-cases", help="Print which folder becomes which case, and write no data set.")
]


LabelSuffix = Annotated[
    str | None, typer.Option(help="BIDS: how label files end: dseg, mask, ...; found if not given.")
]
Channels = Annotated[str, typer.Option(help="BIDS, DICOM: what makes up a case: T1w,FLAIR.")]
Resample = Annotated[
    bool, typer.Option("--resample", help="Bring images on other grids onto their label's grid.")
]
Orientation = Annotated[
    str | None, typer.Option(help="sform or qform: which holds where a NIfTI header contradicts itself.")
]
LayoutOptions = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Of the layout's own; repeatable.")
]
Link = Annotated[bool, typer.Option("--link", help="Symbolic links instead of copies.")]
Untrusted = Annotated[
    bool,
    typer.Option(
        "--untrusted/--trusted",
        help="Read the source in a process with limits of memory and time, or in this one.",
    ),
]


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The folder of a data set; only read.")],
    name: Annotated[str, typer.Option(help="Dataset123_Name, or Name: the next free number is taken.")],
    layout: Annotated[
        str, typer.Option("--from", help="auto, a name of `autoseg list layouts`, or a Python file.")
    ] = "auto",
    groups: Groups = None,
    labels: LabelNames = "",
    label_suffix: LabelSuffix = None,
    channels: Channels = "",
    resample: Resample = False,
    orientation: Orientation = None,
    option: LayoutOptions = None,
    by_voxels: ByVoxels = False,
    segmentation: Segmentation = "",
    rename: Rename = "",
    list_only: ListCases = False,
    link: Link = False,
    untrusted: Untrusted = True,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring a data set of another layout into the workspace, whole or not at all; the source is only read.

    Example: `autoseg import Task04_Hippocampus --name Hippocampus`
    """
    from autoseg.intake.conversion import clear_unfinished, import_dataset
    from autoseg.intake.incoming import Request
    from autoseg.intake.label_values import parse_labels
    from autoseg.system.guard import guarded

    start(quiet)
    if orientation not in (None, "sform", "qform"):
        raise UsageError(f"There is no orientation {orientation!r}. Choose sform or qform.")
    request = Request(
        groups=groups,
        labels=parse_labels(labels),
        label_suffix=label_suffix,
        channels=tuple(filter(None, channels.split(","))),
        resample=resample,
        orientation=orientation,  # type: ignore[arg-type]  # checked above
        by_voxels=by_voxels,
        link=link,
        workers=workers,
        own=_own(option or []),
        segmentation=tuple(filter(None, (part.strip() for part in segmentation.split(",")))),
        rename=_renamed(rename),
    )
    place = workspace_at(workspace)
    if list_only:
        _list(source, place, layout, request)
        return
    work = (import_dataset, source, place, name, layout, request)
    done = guarded(*work, after_crash=lambda: clear_unfinished(place)) if untrusted else work[0](*work[1:])
    if as_json:
        print_json(done.to_json())
    else:
        typer.echo(_summary(done, workspace))


def _list(source: Path, place: Workspace, layout: str, request: Request) -> None:
    """Print which folder becomes which case."""
    from autoseg.intake.listing import list_cases

    listed = list_cases(source, place, layout, request)
    typer.echo("\n".join(f"{case}\t{folder}" for case, folder in listed.items()))


def _own(given: list[str]) -> dict[str, str]:
    parted = [text.partition("=") for text in given]
    if wrong := [
        text for text, (name, equals, _) in zip(given, parted, strict=True) if not (name and equals)
    ]:
        raise UsageError(f"--option {wrong[0]!r} has no value. Write --option NAME=VALUE.")
    return {name.strip(): value.strip() for name, _, value in (text.partition("=") for text in given)}


def _renamed(text: str) -> dict[str, str]:
    parted = [part.partition("=") for part in filter(None, (piece.strip() for piece in text.split(",")))]
    if wrong := [
        old + equals + new for old, equals, new in parted if not (old.strip() and equals and new.strip())
    ]:
        raise UsageError(f"--rename {wrong[0]!r} does not say what becomes what. Write --rename OLD=NEW.")
    return {old.strip(): new.strip() for old, _, new in parted}


def _summary(done: Imported, workspace: Path | None) -> str:
    parts = [f"{done.cases} cases"]
    parts += [f"{done.tests} test cases"] if done.tests else []
    parts += [f"{done.unlabelled} without a label"] if done.unlabelled else []
    labels = ", ".join(name for name in done.document["labels"] if name != "background")
    channels = ", ".join(done.document["channel_names"].values())
    at = f" --workspace {workspace}" if workspace else ""
    lines = [
        f"{done.root}{'' if done.fresh else ' (already there, unchanged)'}",
        f"  layout    {done.layout}: {done.why}",
        f"  holds     {', '.join(parts)}; channels {channels}; labels {labels}",
        f"  files     {', '.join(f'{count} {how}' for how, count in done.how.items())}",
        *(f"  note      {note}" for note in done.notes),
    ]
    lines += [f"  left out  {remark}" for remark in done.remarks]
    if done.left_out and not done.remarks:
        lines.append(f"  left out  {done.left_out} files; import.json there lists them.")
    lines += [
        "Next:",
        f"  autoseg verify {done.root.name}{at}",
        f"  autoseg plan-and-train {done.root.name}{at} --folds 0 --budget 20m",
    ]
    return "\n".join(lines)
