"""Jobs on things made elsewhere: importing a data set, and reading results for the leaderboard."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoseg.benchmark.jobs.board import Board, JobState
from autoseg.benchmark.jobs.graph import Job
from autoseg.data.dataset import Dataset
from autoseg.errors import AutosegError, DataError, RunError
from autoseg.leaderboard.records.files import UNKNOWN_FOLD, Record, read_records, write_records
from autoseg.pipeline import prepare
from autoseg.system.files import digest, read_json
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


def bring_in(job: Job, workspace: Workspace, workers: int | None = None) -> None:
    """Import the data set of a job, unless it is there from this very source.

    Raises:
        AutosegError: as `import_dataset`.
    """
    from autoseg.intake.conversion import RECORD, hidden, import_dataset
    from autoseg.intake.incoming import Request
    from autoseg.intake.pseudonyms import Pseudonyms

    given = dict(job.given)
    source, layout, groups = Path(given.pop("source")), given.pop("layout"), given.pop("groups", None)
    own = given.pop("options", {})
    record = workspace.raw / job.dataset / RECORD
    known = read_json(record).get("source") if record.is_file() and not source.is_dir() else None
    if known and known in (str(source), hidden(source, Pseudonyms(workspace.pseudonym_key))):
        log.info("%s is no longer there; %s was made from it.", source, job.dataset)
        return
    request = Request(
        **{**given, "channels": tuple(given["channels"])},
        groups=Path(groups) if groups else None,
        workers=workers,
        own=own,
    )
    import_dataset(source, workspace, job.dataset, layout, request)


def add_foreign(board: Board, job: Job, dataset: Dataset, workers: int | None = None) -> dict[str, Any]:
    """Read results made elsewhere; predictions are evaluated here. Again only if something has changed.

    Of results on several folds, those that the suite does not run are left out: with them the row could not
    be compared.

    Returns:
        The file of the records in the benchmark's folder, their number, and what they were made from.

    Raises:
        DataError: if the file is at fault, or has no fold that the suite runs.
    """
    from autoseg.leaderboard.foreign.add import Addition, add_records
    from autoseg.leaderboard.of_workspace import raw_data

    path, folds = Path(job.given["path"]), job.given["folds"]
    raw = raw_data(dataset, board.graph.workspace)
    splits = [[fold.index, *fold.validation] for fold in raw.folds]
    state = digest([dict(job.given), _state(path), prepare.raw_state(dataset), splits])
    target = board.folder / _file_of(job)
    known = board.read(job)
    if known is not None and known.result.get("state") == state and target.is_file():
        return dict(known.result)
    found = add_records(Addition(path, job.given["name"]), {dataset.name: raw}, workers)
    kept = [record for record in found if record.dataset == dataset.name and _wanted(record.fold, folds)]
    if not kept:
        there = sorted({f"{record.dataset} fold {record.fold}" for record in found})
        raise DataError(
            f"{path} has results of {', '.join(there)}; the suite runs {dataset.name} folds "
            f"{', '.join(map(str, folds))}. Add these folds to the suite, or take the entry out of foreign."
        )
    if len(kept) < len(found):
        log.info("%s: %d of %d records are of folds that the suite runs.", path, len(kept), len(found))
    write_records(target, kept)
    return {"state": state, "records": _file_of(job), "rows": len(kept)}


def foreign_records(board: Board, states: Mapping[str, JobState]) -> list[Record]:
    """Their rows; the row of one that could not be read has the reason."""
    found: list[Record] = []
    for job in board.graph.of("foreign"):
        state = states[job.id]
        if state.state == "done":
            try:
                found += read_records(board.folder / _file_of(job))
            except (OSError, AutosegError) as problem:
                found.append(_without_scores(job, f"its records are gone: {problem}"))
        elif state.state in ("failed", "blocked"):
            found.append(_without_scores(job, state.reason))
    return found


def _without_scores(job: Job, reason: str) -> Record:
    name = job.given["name"] or Path(job.given["path"]).stem
    return Record(
        run_id=job.id,
        dataset=job.dataset,
        trainer=name,
        configuration="unknown",
        fold=UNKNOWN_FOLD,
        status="failed",
        reason=f"made elsewhere, {job.given['path']}: {reason}",
    )


def _file_of(job: Job) -> str:
    return f"foreign/{job.id}.jsonl"


def _wanted(fold: int | str, folds: list[int]) -> bool:
    return not isinstance(fold, int) or fold in folds


def _state(path: Path) -> list[list[Any]]:
    """Names, sizes and times of a file or of all in a folder."""
    if not path.exists():
        raise RunError(
            f"There is no file or folder {path} any more. Restore it, or take it out of the suite."
        )
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    status = [(each, each.stat()) for each in files]
    return [[str(each), found.st_size, found.st_mtime_ns] for each, found in status]
