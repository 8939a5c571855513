"""The stages before training: verify, fingerprint, plan, split, preprocess. Each leaves its result on disk.

A stage is repeated only where names, sizes or times of the raw files have changed, and then reads only the
cases whose files have.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from autoseg.data.case_store import files_of, state_of
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.folds import Fold, check_own_folds, folds_from_json, folds_to_json, make_folds
from autoseg.data.site_folds import folds_by
from autoseg.errors import AutosegError, DataError, UsageError
from autoseg.intake.repair import MENDED
from autoseg.intake.verification.dataset_check import VerifyReport, verify
from autoseg.pipeline.settings import Settings
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import PreprocessSummary, link_references, preprocess_configurations
from autoseg.system.files import digest, read_json, write_json, write_text
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A data set that is verified, fingerprinted, planned and split."""

    dataset: Dataset
    report: VerifyReport
    fingerprint: Fingerprint
    plan: Plan
    folds: tuple[Fold, ...]


def prepare(root: Path, workspace: Workspace, settings: Settings, all_cases: bool = False) -> Prepared:
    """Verify, fingerprint, plan and split; each from disk where the raw data have not changed.

    Args:
        root: the raw folder.
        workspace: where the results go.
        settings: settings of the walk.
        all_cases: whether the training uses every case, so that no folds are needed.

    Raises:
        DataError: listing what verification found.
    """
    dataset = load_dataset(root, settings.groups)
    remember_place(dataset, workspace)
    report = fit_for_training(dataset, workspace, settings.workers, settings.accept)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    plan = planned(dataset, fingerprint, workspace, "nnunet", settings.memory_gb)
    folds = () if all_cases else split(dataset, workspace, settings.folds_by)
    return Prepared(dataset, report, fingerprint, plan, folds)


def remember_place(dataset: Dataset, workspace: Workspace) -> None:
    """Note where a data set outside the workspace lies: its name is enough for select and leaderboard."""
    root = dataset.root.resolve()
    if root.parent != workspace.raw.resolve():
        write_text(workspace.place_of(dataset.name), f"{root}\n")


def fit_for_training(
    dataset: Dataset, workspace: Workspace, workers: int | None = None, accept: Collection[str] = ()
) -> VerifyReport:
    """The findings about a data set that may be trained on; those that may spoil a model are logged.

    Args:
        dataset: raw.
        workspace: where the report lies.
        workers: processes for reading.
        accept: what a user declares to be intended.

    Raises:
        DataError: listing what verification found.
    """
    report = verified(dataset, workspace, workers).accepting(accept)
    if report.errors:
        raise DataError(f"{dataset.name} {_in_words(report)} {_next_step(report, dataset.root)}")
    for line in report.spoiling:
        log.warning("%s: this may spoil the models. %s", dataset.name, line)
    return report


def _in_words(report: VerifyReport) -> str:
    first = str(report.errors[0]).removeprefix("error: ")
    number = len(report.errors)
    return f"has an error: {first}." if number == 1 else f"has {number} errors. The first: {first}."


def _next_step(report: VerifyReport, root: Path) -> str:
    """How to see all findings, and how to have those mended that need no guess."""
    see = f"See all findings: autoseg verify {root}"
    if not any(finding.code in MENDED for finding in report.errors):
        return see
    return f"{see}; a copy in which what needs no guess is mended: autoseg verify {root} --fix OUT"


def verified(dataset: Dataset, workspace: Workspace, workers: int | None = None) -> VerifyReport:
    """The findings about a data set, from disk where its files have not changed."""
    path, kept = workspace.verification_of(dataset.name), workspace.kept_cases_of(dataset.name)
    return _once(VerifyReport, path, dataset, lambda: verify(dataset, workers, kept=kept))


def fingerprinted(dataset: Dataset, workspace: Workspace, workers: int | None = None) -> Fingerprint:
    """The fingerprint of a data set, from disk where its files have not changed."""
    path, kept = workspace.fingerprint_of(dataset.name), workspace.kept_cases_of(dataset.name)
    return _once(Fingerprint, path, dataset, lambda: extract_fingerprint(dataset, workers, kept))


class _Stored(Protocol):
    """What can be written as a JSON object and read back."""

    @classmethod
    def from_json(cls, content: Any, /) -> Self: ...

    def to_json(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=_Stored)


def _once(kind: type[T], path: Path, dataset: Dataset, make: Callable[[], T]) -> T:
    """Read a result from `path`; make and write it where it is missing or the raw files have changed."""
    state = raw_state(dataset)
    with contextlib.suppress(AutosegError, KeyError):
        stored = read_json(path)
        if stored["raw_state"] == state:
            return kind.from_json(stored)
    made = make()
    write_json(path, {**made.to_json(), "raw_state": state})
    return made


def planned(
    dataset: Dataset, fingerprint: Fingerprint, workspace: Workspace, preset: str, memory_gb: float | None
) -> Plan:
    """nnU-Net's plan of a data set, written to the workspace with the data set's dataset.json and groups."""
    plan = plan_experiment(dataset, fingerprint, preset, memory_gb=memory_gb)
    plan.save(workspace.plan_of(dataset.name, plan.name))
    write_json(workspace.dataset_json_of(dataset.name), dict(dataset.dataset_json))
    write_json(workspace.groups_of(dataset.name), dataset.groups)
    return plan


def split(dataset: Dataset, workspace: Workspace, by: str | None = None) -> tuple[Fold, ...]:
    """The folds of a data set: those on disk, or new ones where there are none.

    Folds that somebody else wrote are never replaced. Those that were made here are made anew when the cases
    have changed; their hash in ``folds_made.json`` beside them tells them apart.

    With `by`, a column of cases.csv, each of its values is held out once; folds on disk have to be these.

    Raises:
        DataError: if there is only one case or group, or if folds of somebody's own name unknown cases.
        UsageError: if folds on disk are others than those requested, and are used or somebody's own.
    """
    path = workspace.folds_of(dataset.name)
    made = path.with_name("folds_made.json")
    if by is not None:
        folds = folds_by(dataset, by)
        _refuse_other_folds(folds, path, made, workspace.results_of(dataset.name), by)
        return _written(folds, path, made)
    if path.is_file():
        content = read_json(path)
        folds = folds_from_json(content)
        named = {case for fold in folds for case in (*fold.training, *fold.validation)}
        if named == {case.identifier for case in dataset.cases}:
            return folds
        if not (made.is_file() and read_json(made) == {"hash": digest(content)}):
            check_own_folds(folds, dataset, path)
            return folds
        log.warning("The folds in %s are of other cases; they are made anew.", path)
    return _written(make_folds(dataset), path, made)


def _written(folds: tuple[Fold, ...], path: Path, made: Path) -> tuple[Fold, ...]:
    write_json(path, folds_to_json(folds))
    write_json(made, {"hash": digest(folds_to_json(folds))})
    return folds


def _refuse_other_folds(folds: tuple[Fold, ...], path: Path, made: Path, runs: Path, by: str) -> None:
    """Scores of two divisions must not mix, and nobody's own folds are replaced."""
    if not path.is_file() or (content := read_json(path)) == folds_to_json(folds):
        return
    if not (made.is_file() and read_json(made) == {"hash": digest(content)}):
        raise UsageError(f"{path} holds folds of your own, others than those by {by}. Move it to replace it.")
    if any(runs.glob("*/fold_*/record.jsonl")):
        raise UsageError(
            f"{runs} has runs on other folds than those by {by}, which would not compare. Give another "
            f"--workspace for these."
        )


def raw_state(dataset: Dataset) -> str:
    """A hash of names, sizes and times of a data set's files: it changes when they do."""
    required = {path for case in dataset.cases for path in (*case.images, case.label)}
    entries = [state_of(dataset.root / "dataset.json")]
    for case in dataset.cases:
        entries += (state_of(path) for path in files_of(case) if path in required or path.is_file())
    return digest(entries)


def preprocessed(
    root: Path, workspace: Workspace, settings: Settings, names: Sequence[str] | None = None
) -> dict[str, PreprocessSummary]:
    """Preprocess a data set for configurations of nnU-Net's plan; all of them if `names` is empty.

    Each case is read once for all of them.

    Raises:
        DataError: for a data set that cannot be read.
        PlanError: for a configuration that the plan does not have.
    """
    dataset = load_dataset(root, settings.groups)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    plan = planned(dataset, fingerprint, workspace, "nnunet", settings.memory_gb)
    link_references(dataset, workspace.references_of(dataset.name))
    wanted = [plan.configuration(name) for name in names or plan.configurations]
    folders = {each.name: workspace.cases_of(dataset.name, each.data_identifier) for each in wanted}
    return preprocess_configurations(dataset, plan, folders, settings.workers)
