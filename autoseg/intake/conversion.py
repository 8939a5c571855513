"""Import a data set: a foreign layout becomes a raw folder of the workspace, whole or not at all.

The source is only read. What was made of which file stands in import.json beside dataset.json.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.data.dataset import load_dataset
from autoseg.data.groups import GroupsError, read_groups
from autoseg.data.image import ImageError
from autoseg.errors import DataError, UsageError
from autoseg.intake.contents import write_content
from autoseg.intake.grids import on_one_grid
from autoseg.intake.incoming import Content, Incoming, Request, broken_links_below, files_below, some
from autoseg.intake.layout import layout_named, recognise
from autoseg.intake.naming import full_name
from autoseg.intake.pseudonyms import Pseudonyms
from autoseg.intake.unread_formats import unread_images
from autoseg.plugins import PluginFile
from autoseg.system.files import digest, read_json, write_json, write_text
from autoseg.system.lease import hold
from autoseg.system.pool import each
from autoseg.system.tables import table_text
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)

RECORD = "import.json"
# Written by the import itself; files of the source with these names keep their contents under another one.
_OWN = ("dataset.json", RECORD)


@dataclass(frozen=True)
class Imported:
    """What an import came to.

    Attributes:
        root: the raw folder.
        layout, why: which layout, and by what it was recognised.
        document: dataset.json.
        cases, tests, unlabelled: how many there are.
        how: how many files were copied, linked, converted, ...
        notes: what was decided.
        left_out: how many files of the source no file was made of.
        remarks: notes that name files of the source; only where the import is fresh.
        fresh: False if the same import had been there already.
    """

    root: Path
    layout: str
    why: str
    document: Mapping[str, Any]
    cases: int
    tests: int
    unlabelled: int
    how: Mapping[str, int]
    notes: tuple[str, ...]
    left_out: int
    fresh: bool
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ``autoseg import --json`` prints."""
        return {
            "dataset": self.root.name,
            "root": str(self.root),
            "layout": self.layout,
            "why": self.why,
            "cases": self.cases,
            "test_cases": self.tests,
            "unlabelled": self.unlabelled,
            "channels": list(self.document["channel_names"].values()),
            "labels": self.document["labels"],
            "file_ending": self.document["file_ending"],
            "files": dict(self.how),
            "notes": list(self.notes),
            "left_out": self.left_out,
            "already_there": not self.fresh,
        }


def import_dataset(
    source: Path, workspace: Workspace, name: str, layout: str = "auto", request: Request | None = None
) -> Imported:
    """Bring a data set of a foreign layout into the workspace's raw folder.

    Args:
        source: a folder; never written to.
        workspace: where it goes.
        name: ``Dataset123_Name``, or a name alone, which gets the next free number from 101.
        layout: ``auto``, a name of ``autoseg list layouts``, or the path of a Python file.
        request: options of the import.

    Raises:
        UsageError: if the source, the layout or the name makes no sense, or the name is taken.
        DataError: naming the file that cannot be taken as it is, and what to do.
    """
    request = request or Request()
    pseudonyms = request.pseudonyms or Pseudonyms(workspace.pseudonym_key)
    request = replace(request, pseudonyms=pseudonyms)
    source = source.absolute()
    if not source.is_dir():
        raise UsageError(
            f"There is no folder {source}. Give the folder of the data set (unpack archives first)."
        )
    if layout != "auto":
        layout_named(layout, request)
    workspace.raw.mkdir(parents=True, exist_ok=True)
    with hold(workspace.raw / ".import.lease.json", wait_s=600):
        root = workspace.raw / full_name(name, workspace)
        if source == root or root in source.parents or source in workspace.raw.parents:
            raise UsageError(f"{source} and the raw folder {root} lie in each other. Give another source.")
        state = digest([_state(source), _identity(layout), request.options()])
        if root.exists():
            return _there(root, state, source, pseudonyms)
        why = "it was requested."
        if layout == "auto":
            layout, why = recognise(source)
            log.info("%s is of the layout %s: %s", source, layout, why)
        found = replace(_read(layout, source, request), layout=Path(layout).stem)
        incoming = _with_unread(on_one_grid(_grouped(found, request), request), source)
        origin = {
            "source": hidden(source, pseudonyms) if incoming.private else str(source),
            "layout": incoming.layout,
            "why": why,
            "state": state,
            "options": request.options(),
        }
        return _written(incoming, root, origin, request)


def clear_unfinished(workspace: Workspace) -> None:
    """Remove what imports that were ended have left; none may be running."""
    with hold(workspace.raw / ".import.lease.json", wait_s=60):
        for path in workspace.raw.glob(".*.incoming"):
            shutil.rmtree(path, ignore_errors=True)


def _with_unread(incoming: Incoming, source: Path) -> Incoming:
    """What is said of pictures that could not be taken; of patients' files no name is told."""
    unread = "" if incoming.private else unread_images(source, pictures=True)
    return replace(incoming, notes=(*incoming.notes, unread)) if unread else incoming


def _identity(layout: str) -> str:
    """A layout's name, and of a file its content."""
    if not layout.endswith(".py"):
        return layout
    return f"{Path(layout).stem}@{PluginFile.of(layout).sha256}"


def hidden(source: Path, pseudonyms: Pseudonyms) -> str:
    """What stands in a record for a path that may say who a patient is."""
    return f"private {pseudonyms.of('source', str(source))}"


def _there(root: Path, state: str, source: Path, pseudonyms: Pseudonyms) -> Imported:
    """The import of before, if it was the same."""
    path = root / RECORD
    record = read_json(path) if path.is_file() else {}
    if record.get("state") != state:
        changed = (
            "the source or the options have changed since"
            if record.get("source") in (str(source), hidden(source, pseudonyms))
            else "it is another"
        )
        raise UsageError(
            f"{root} is there already and was not made from {source} as it is now ({changed}). Choose "
            f"another --name, or remove that folder."
        )
    counts = record["counts"]
    return Imported(
        root,
        record["layout"],
        record["why"],
        read_json(root / "dataset.json"),
        counts["cases"],
        counts["tests"],
        counts["unlabelled"],
        Counter(entry["how"] for entry in record["files"]),
        tuple(record["notes"]),
        len(record["left_out"]),
        fresh=False,
    )


def _state(source: Path) -> list[list[Any]]:
    """Names, sizes and times of all files."""
    found = []
    for path in files_below(source):
        status = path.stat()
        found.append([str(path.relative_to(source)), status.st_size, status.st_mtime_ns])
    return [[str(source)], *found]


def _read(layout: str, source: Path, request: Request) -> Incoming:
    """What a layout finds, with a word on links to files that are not there."""
    broken = [path.relative_to(source) for path in broken_links_below(source)]
    note = f"{len(broken)} links point to nothing and are left out: {some(broken)}. Fetch what you need."
    try:
        found = layout_named(layout, request).read(source, request)
    except DataError as problem:
        if broken and not isinstance(problem, ImageError):
            raise DataError(f"{problem} {note}") from problem
        raise
    return replace(found, notes=(*found.notes, note)) if broken and not found.private else found


def _grouped(incoming: Incoming, request: Request) -> Incoming:
    """The groups of a table, or those that the layout knows."""
    if request.groups is None:
        return incoming
    groups = read_groups(request.groups)
    if missing := [case.identifier for case in incoming.cases if case.identifier not in groups]:
        raise GroupsError(
            f"{request.groups} has no group for {len(missing)} of {len(incoming.cases)} cases: "
            f"{some(missing)}. Give every case one, by the name that it has after the import."
        )
    cases = tuple(replace(case, group=groups[case.identifier]) for case in incoming.cases)
    extras = {name: path for name, path in incoming.extras.items() if name != "groups.csv"}
    return replace(incoming, cases=cases, extras=extras)


def _written(incoming: Incoming, root: Path, origin: Mapping[str, Any], request: Request) -> Imported:
    temporary = root.with_name(f".{root.name}.incoming")
    # Left by an import that was killed; the lease says that nobody is at it.
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        files = _write_files(incoming, temporary, request)
        counts = {
            "cases": len(incoming.cases),
            "tests": len(incoming.tests),
            "unlabelled": len(incoming.unlabelled),
        }
        document = _document(incoming)
        left_out = [
            incoming.reasons.get(path, "not needed") if incoming.private else str(path)
            for path in incoming.left_out
        ]
        record = {"schema": 1, **origin, "counts": counts, "notes": list(incoming.notes)}
        write_json(temporary / RECORD, {**record, "left_out": left_out, "files": files})
        write_json(temporary / "dataset.json", document)
        # Whatever would stop the walk later stops here, before anything is there.
        load_dataset(temporary)
        os.rename(temporary, root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    how = Counter(entry["how"] for entry in files)
    return Imported(
        root,
        incoming.layout,
        origin["why"],
        document,
        counts["cases"],
        counts["tests"],
        counts["unlabelled"],
        how=how,
        notes=incoming.notes,
        left_out=len(left_out),
        fresh=True,
        remarks=incoming.remarks,
    )


def _write_files(incoming: Incoming, root: Path, request: Request) -> list[dict[str, str]]:
    planned = _places(incoming)
    jobs = [(content, root / place, request.link) for place, content in planned]
    names = [place for place, _ in planned]
    done = each(_write_one, jobs, names, request.workers, "Import")
    files = [
        {"file": place, "source": "private" if incoming.private else str(content.source), "how": how}
        for (place, content), how in zip(planned, done, strict=True)
    ]
    for name, path in incoming.extras.items():
        place = f"source_{name}" if name in _OWN else name
        files.append(
            {
                "file": place,
                "source": str(path),
                "how": write_content(Content(path), root / place, request.link),
            }
        )
    for name, text in incoming.texts.items():
        write_text(root / name, text)
    groups = {case.identifier: case.group for case in incoming.cases if case.group}
    if groups:
        write_text(root / "groups.csv", _table(groups))
    return files


def _places(incoming: Incoming) -> list[tuple[str, Content]]:
    found = []
    for part, cases in incoming.parts:
        for case in cases:
            found += [
                (f"images{part}/{case.identifier}_{number:04d}{incoming.file_ending}", content)
                for number, content in enumerate(case.images)
            ]
            if case.label:
                found.append((f"labels{part}/{case.identifier}{incoming.file_ending}", case.label))
    return found


def _write_one(job: tuple[Content, Path, bool]) -> str:
    return write_content(*job)


def _table(groups: Mapping[str, str]) -> str:
    return table_text([("case", "group"), *groups.items()])


def _document(incoming: Incoming) -> dict[str, Any]:
    own = {
        "channel_names": _numbered(incoming.channels),
        "labels": dict(incoming.labels),
        "numTraining": len(incoming.cases),
        "file_ending": incoming.file_ending,
    }
    return {**incoming.about, **own}


def _numbered(channels: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(channels)}
