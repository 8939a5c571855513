"""Preprocessing of a data set: every case on disk in nnU-Net's format, none done twice, none seen in part."""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset, Labels
from autoseg.data.readers import read_images, read_segmentation
from autoseg.planner.plan import Configuration, Plan
from autoseg.preprocessing.blosc_store import clear_workshops, read_preprocessed, write_case
from autoseg.preprocessing.case import check_plan, preprocess_case, recipe_of
from autoseg.preprocessing.class_locations import class_locations, classes_to_locate
from autoseg.preprocessing.fit_case import crop_case, fit_case
from autoseg.preprocessing.up_to_date import (
    CaseMarker,
    cases_in,
    is_current,
    label_of,
    output_sizes,
    read_states,
    refresh,
    remove_case,
    unmark,
)
from autoseg.system.files import atomic_path
from autoseg.system.pool import each

__all__ = [
    "PreprocessSummary",
    "link_references",
    "preprocess_case",
    "preprocess_configurations",
    "preprocess_dataset",
    "read_preprocessed",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreprocessSummary:
    """What preprocessing a configuration did.

    Attributes:
        folder: the folder of the preprocessed cases.
        written: cases that were preprocessed now.
        kept: cases that had not changed.
        removed: cases that were in the folder and are no longer in the data set.
    """

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "folder": str(self.folder),
            "written": list(self.written),
            "kept": list(self.kept),
            "removed": list(self.removed),
        }

    def __str__(self) -> str:
        removed = f", {len(self.removed)} removed" if self.removed else ""
        return f"{len(self.written)} cases written, {len(self.kept)} unchanged{removed} in {self.folder}"


def preprocess_dataset(
    dataset: Dataset, plan: Plan, configuration: Configuration, folder: Path, workers: int | None = None
) -> PreprocessSummary:
    """Preprocess all cases for one configuration.

    Cases whose files and whose part of the plan have not changed are kept; cases that the data set no longer
    has are removed from the folder. Every case appears whole, so an interrupted run is simply run again.

    Args:
        dataset: the raw data set.
        plan: the plan.
        configuration: one of the plan's.
        folder: the folder of the configuration's cases.
        workers: processes; as many as there are processors if None. Each holds one case.

    Raises:
        DataError: if a case cannot be read or lacks its label.
        PlanError: if the plan asks for what only nnU-Net's own preprocessor can do.
        RunError: if a worker dies; the message names the case.
    """
    return preprocess_configurations(dataset, plan, {configuration.name: folder}, workers)[configuration.name]


def preprocess_configurations(
    dataset: Dataset, plan: Plan, folders: Mapping[str, Path], workers: int | None = None
) -> dict[str, PreprocessSummary]:
    """Preprocess all cases for several configurations, reading and cropping each case once.

    Args:
        dataset: the raw data set.
        plan: the plan.
        folders: the folder of each configuration; several may share one, as a cascade's stages do.
        workers: processes; as many as there are processors if None. Each holds one case.

    Raises:
        As `preprocess_dataset`.
    """
    targets = {folder: plan.configuration(name) for name, folder in folders.items()}
    for folder, configuration in targets.items():
        check_plan(plan, configuration)
        clear_workshops(folder)
    recipes = {folder: recipe_of(dataset.labels, plan, target) for folder, target in targets.items()}
    removed = {folder: _remove_others(dataset, folder) for folder in targets}
    waiting = {
        case: stale
        for case in _largest_first(dataset.cases)
        if (stale := [f for f in targets if not is_current(f, case, recipes[f])])
    }
    work = partial(_preprocess, _Work(dataset.labels, plan, targets, recipes))
    names = [case.identifier for case in waiting]
    if waiting:
        _load_libraries()
    written = each(work, list(waiting.items()), names, workers, "Preprocess") if waiting else []
    done = {f: {n for n, ws in zip(names, written, strict=True) if f in ws} for f in targets}
    return {
        name: _summary(dataset, folder, done[folder], removed[folder]) for name, folder in folders.items()
    }


def link_references(dataset: Dataset, folder: Path) -> None:
    """Put the label files where nnU-Net's validation looks for them, as CASE with the data set's ending.

    They are copies, so that nothing in the workspace shares a file with the raw data. A file of the same size
    and time is left alone; each appears whole.
    """
    for case in dataset.cases:
        if case.label is None:
            continue
        target, source = folder / f"{case.identifier}{dataset.file_ending}", case.label.stat()
        there = target.stat() if target.is_file() else None
        if there and (there.st_size, there.st_mtime_ns) == (source.st_size, source.st_mtime_ns):
            continue
        with atomic_path(target) as temporary:
            shutil.copy2(case.label, temporary)


@dataclass(frozen=True)
class _Work:
    """What is the same for all cases."""

    labels: Labels
    plan: Plan
    targets: Mapping[Path, Configuration]
    recipes: Mapping[Path, str]


def _preprocess(work: _Work, job: tuple[Case, Sequence[Path]]) -> list[Path]:
    """One case, for the folders where it is out of date. Returns those that were written."""
    case, folders = job
    stale = [folder for folder in folders if not refresh(folder, case, work.recipes[folder])]
    if not stale:
        return []
    states = read_states(case)
    reader = work.plan.image_reader_writer
    images, segmentation = read_images(case.images, reader), read_segmentation(label_of(case), reader)
    cropped = crop_case(images, segmentation, work.plan)
    for folder in stale:
        configuration = work.targets[folder]
        data, labels = fit_case(cropped, work.plan, configuration)
        located = class_locations(labels, classes_to_locate(work.labels))
        properties = {**images.properties, **cropped.properties, "class_locations": located}
        unmark(folder, case.identifier)
        write_case(folder, case.identifier, data, labels, properties, configuration.patch_size)
        marker = CaseMarker(work.recipes[folder], states, output_sizes(folder, case.identifier))
        marker.save(folder, case.identifier)
    return stale


def _load_libraries() -> None:
    """Import what workers need once, before they are forked."""
    for name in ("SimpleITK", "blosc2", "cc3d"):
        importlib.import_module(name)


def _largest_first(cases: Sequence[Case]) -> list[Case]:
    """Large cases first: no worker is left alone with one at the end, and too little memory shows at once."""

    def size(case: Case) -> int:
        return sum(path.stat().st_size for path in case.images if path.is_file())

    return sorted(cases, key=size, reverse=True)


def _remove_others(dataset: Dataset, folder: Path) -> tuple[str, ...]:
    """Remove cases that the data set does not have: nnU-Net trains on whatever lies in the folder."""
    gone = sorted(cases_in(folder) - {case.identifier for case in dataset.cases})
    for case in gone:
        log.info("Removing %s from %s: the data set no longer has it.", case, folder)
        remove_case(folder, case)
    return tuple(gone)


def _summary(
    dataset: Dataset, folder: Path, written: set[str], removed: tuple[str, ...]
) -> PreprocessSummary:
    names = [case.identifier for case in dataset.cases]
    return PreprocessSummary(
        folder,
        tuple(name for name in names if name in written),
        tuple(name for name in names if name not in written),
        removed,
    )
