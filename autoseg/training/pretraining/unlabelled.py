"""Preprocessing of images without segmentations, for training that needs none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.formats import WITHOUT_SPACING
from autoseg.data.readers import read_images
from autoseg.data.union import renamed, short_names
from autoseg.errors import DataError
from autoseg.planner.plan import Configuration, Plan
from autoseg.preprocessing.blosc_store import write_case
from autoseg.preprocessing.case import recipe_of
from autoseg.preprocessing.dataset import preprocess_case
from autoseg.preprocessing.up_to_date import CaseMarker, is_current, output_sizes, read_states, unmark
from autoseg.system.pool import each


def images_of(dataset: Dataset, training: Sequence[str] | None = None) -> tuple[Case, ...]:
    """The images that a training without labels may see: imagesUn, and annotated ones without their labels.

    Args:
        dataset: the raw data set.
        training: the annotated cases that count, so that nothing is learnt from the validation cases of a
            fold; None: all of them.

    Raises:
        DataError: if an annotated and an unannotated case have one name.
    """
    known = [case for case in dataset.cases if training is None or case.identifier in training]
    cases = [*dataset.unlabelled_cases, *known]
    names = [case.identifier for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{dataset.name} has {twice[0]} in imagesUn and in imagesTr. Rename one of the two.")
    return tuple(dataclasses.replace(case, label=None) for case in cases)


def preprocess_pool(
    datasets: Sequence[Dataset],
    cases: Sequence[Case],
    plan: Plan,
    configuration: Configuration,
    folder: Path,
    workers: int | None = None,
) -> tuple[str, ...]:
    """Preprocess images of several data sets for the plan of the first, each file with its own reader.

    Args:
        datasets: the data sets. Of the second and on, every image is taken, named after its data set.
        cases: cases of the first data set.
        plan: the plan.
        configuration: one of the plan's.
        folder: see `preprocess_images`.
        workers: see `preprocess_images`.

    Returns:
        The identifiers of all, sorted.

    Raises:
        DataError: as `preprocess_images`, or if the numbers of channels differ, or one data set has pixels
            and another millimetres.
    """
    first, *others = datasets
    for other in others:
        _check_alike(first, other)
    names = [*preprocess_images(first, cases, plan, configuration, folder, workers)]
    for other, name in zip(others, short_names(datasets)[1:], strict=True):
        own = dataclasses.replace(plan, image_reader_writer=other.reader)
        taken = renamed(images_of(other), name)
        names += preprocess_images(other, taken, own, configuration, folder, workers)
    return tuple(sorted(names))


def _check_alike(first: Dataset, other: Dataset) -> None:
    if len(first.channels) != len(other.channels):
        raise DataError(
            f"Channels: {len(first.channels)} in {first.name}, {len(other.channels)} in {other.name}; one "
            f"network cannot restore both. Pre-train on one of them: weights are adapted to other channels."
        )
    if len({each.reader == WITHOUT_SPACING for each in (first, other)}) == 2:
        raise DataError(
            f"{first.name} ({first.reader}) and {other.name} ({other.reader}) have no common unit of length: "
            f"one of them has pixels and no millimetres. Pre-train on one of them."
        )


def preprocess_images(
    dataset: Dataset,
    cases: Sequence[Case],
    plan: Plan,
    configuration: Configuration,
    folder: Path,
    workers: int | None = None,
) -> tuple[str, ...]:
    """Preprocess images for one configuration, as `preprocess_dataset` does with labels.

    Images that have not changed are kept; every case appears whole. The segmentation beside each is empty.

    Args:
        dataset: where the cases are from.
        cases: labels are ignored.
        plan: the plan.
        configuration: one of the plan's.
        folder: not the one of the annotated cases, which holds nothing else.
        workers: processes; as many as there are processors if None. Each holds one case.

    Returns:
        The identifiers in the folder, sorted.

    Raises:
        DataError: if an image cannot be read.
        PlanError: if the plan asks for what only nnU-Net's own preprocessor can do.
        RunError: if a worker dies; the message names the case.
    """
    work = _Work(plan, configuration, folder, recipe_of(dataset.labels, plan, configuration))
    # A marker counts a label among the inputs; the first image stands in for it.
    marked = [dataclasses.replace(case, label=case.images[0]) for case in cases]
    waiting = [case for case in marked if not is_current(folder, case, work.recipe)]
    if waiting:
        names = [case.identifier for case in waiting]
        each(partial(_preprocess, work), waiting, names, workers, "Preprocess images")
    return tuple(sorted(case.identifier for case in cases))


@dataclass(frozen=True)
class _Work:
    plan: Plan
    configuration: Configuration
    folder: Path
    recipe: str


def _preprocess(work: _Work, case: Case) -> None:
    states = read_states(case)
    images = read_images(case.images, work.plan.image_reader_writer)
    data, _, properties = preprocess_case(images, None, work.plan, work.configuration, {})
    nothing = np.zeros((1, *data.shape[1:]), np.int16)
    unmark(work.folder, case.identifier)
    patch = work.configuration.patch_size
    write_case(work.folder, case.identifier, data, nothing, {**properties, "class_locations": {}}, patch)
    marker = CaseMarker(work.recipe, states, output_sizes(work.folder, case.identifier))
    marker.save(work.folder, case.identifier)
