"""Pictures of the best, the median, the worst and the most disputed case, the same slice for every model.

One rule chooses for all models together, so that nobody picks a flattering picture: cases are ordered by
their mean score over the models of the first comparable set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_images, read_segmentation
from autoseg.drawing.slices import Frame, Picture, draw, frame_around
from autoseg.errors import AutosegError
from autoseg.leaderboard.ranking.analysis import Analysis
from autoseg.leaderboard.ranking.ranking import Leaderboard, RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.records.files import Record

log = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]
FindPrediction = Callable[[Record, str, str], Path | None]

RULE = (
    "Chosen by one rule for all trainers: cases are ordered by their mean score over all trainers. 3D images "
    "are cut across their coarsest axis where the reference is largest; the disputed case where the "
    "predictions differ most. Coloured: the outline of each structure. White dashes: the reference."
)
_MOST_PANELS = 12


@dataclass(frozen=True)
class Panel:
    """One picture: the reference or one trainer's prediction.

    Attributes:
        name: the trainer, or ``Reference``.
        picture: the image as a data URI, with its size in pixels.
        alt: what it shows, for those who do not see it.
        score: the score of this case.
    """

    name: str
    picture: Picture
    alt: str
    score: str


@dataclass(frozen=True)
class Overlay:
    """One case with all its panels.

    Attributes:
        dataset, case: names of the data set and the case.
        title: the reason for showing this case.
        sentence: the slice that is shown, and the structures' colours.
        rule: how cases and slices were chosen.
        panels: the reference first, then the trainers, best first.
        legend: structure and colour.
    """

    dataset: str
    case: str
    title: str
    sentence: str
    rule: str
    panels: tuple[Panel, ...]
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Slice:
    axis: int
    index: int
    count: int

    def of(self, volume: Array) -> Array:
        """Cut a volume (..., z, y, x)."""
        return np.asarray(np.take(volume, self.index, axis=volume.ndim - 3 + self.axis))

    @property
    def words(self) -> str:
        """Which slice, for readers."""
        return "" if self.count == 1 else f"Slice {self.index + 1} of {self.count}."


def make_overlays(
    leaderboard: Leaderboard, datasets: Iterable[Dataset], find_prediction: FindPrediction | None = None
) -> tuple[Overlay, ...]:
    """Draw the chosen cases of each data set.

    A case that cannot be read is left out with a warning: a page must not fail for a picture.

    Args:
        leaderboard: from `rank`.
        datasets: the raw data sets; those that are not ranked are ignored.
        find_prediction: the file of a record's prediction, from the record, the case and the file ending, or
            None where there is none. By default the folder ``validation`` beside the record's file.
    """
    by_name = {dataset.name: dataset for dataset in datasets}
    overlays = []
    for item in leaderboard.sets:
        dataset = by_name.get(item.comparable.dataset)
        if item.number != 1 or dataset is None:
            continue
        for title, case in chosen_cases(item):
            try:
                overlays.append(_overlay(item, dataset, title, case, find_prediction or _beside))
            except (AutosegError, OSError, ValueError) as problem:
                log.warning("No picture of case %s of %s: %s", case, dataset.name, problem)
    return tuple(overlays)


def chosen_cases(item: RankedSet) -> list[tuple[str, str]]:
    """The cases to show, each with the reason; a case that is chosen twice is shown once."""
    analysis, cases = item.analysis, item.comparable.cases
    sign = 1.0 if analysis.quantity.higher_is_better else -1.0
    means = np.round(sign * analysis.scores.mean(axis=0), 9)
    order = np.argsort(-means, kind="stable")
    spread = np.round(np.ptp(analysis.scores, axis=0), 9)
    chosen = {"Best case": order[0], "Median case": order[(len(order) - 1) // 2], "Worst case": order[-1]}
    if len(analysis.scores) > 1:
        chosen["Largest disagreement"] = int(np.argmax(spread))
    seen: dict[str, str] = {}
    for title, position in chosen.items():
        name = cases[int(position)]
        seen[name] = f"{seen[name]}, {title[0].lower()}{title[1:]}" if name in seen else title
    return [(title, name) for name, title in seen.items()]


def _beside(record: Record, case: str, ending: str) -> Path | None:
    if record.source is None:
        return None
    # The source of predictions that were only scored here is their own folder.
    folder = record.source if record.source.is_dir() else record.source.parent / "validation"
    return folder / f"{case}{ending}"


def _overlay(item: RankedSet, dataset: Dataset, title: str, case: str, find: FindPrediction) -> Overlay:
    files = dataset.case(case)
    image = read_images(files.images, dataset.reader)
    shape = image.array.shape[1:]
    reference = np.zeros(shape, np.int16)
    if files.label is not None:
        reference = read_segmentation(files.label, dataset.reader).array[0]
    rows = item.rows[:_MOST_PANELS]
    predictions = {row.name: _prediction(row, dataset, case, find, shape) for row in rows}
    known = [array for array in predictions.values() if array is not None]
    if not known:
        raise ValueError("its prediction files are gone")
    cut = _best_slice(reference, known, image.spacing, "disagreement" in title)
    spacing = [size for axis, size in enumerate(image.spacing) if axis != cut.axis]
    flat = [cut.of(array) for array in (reference, *known)]
    frame = frame_around(flat, cut.of(image.array), spacing)
    structures = dataset.labels.structures
    return Overlay(
        dataset=dataset.name,
        case=case,
        title=title,
        sentence=cut.words,
        rule=RULE,
        panels=(
            _panel("Reference", case, frame, cut.of(reference), None, structures, ""),
            *(
                _panel(
                    row.name,
                    case,
                    frame,
                    _cut(cut, predictions[row.name]),
                    cut.of(reference),
                    structures,
                    score,
                )
                for row in rows
                for score in [_score(item.analysis, item, row, case)]
            ),
        ),
        legend=frame.legend(structures),
    )


def _cut(cut: _Slice, prediction: Array | None) -> Array | None:
    return None if prediction is None else cut.of(prediction)


def _prediction(
    row: Row, dataset: Dataset, case: str, find: FindPrediction, shape: tuple[int, ...]
) -> Array | None:
    for record in row.entry.records:
        if case not in record.scores.cases:
            continue
        path = find(record, case, dataset.file_ending)
        if path is not None and path.is_file():
            array: Array = read_segmentation(path, dataset.reader).array[0]
            if array.shape != shape:
                raise ValueError(f"{path} has the shape {array.shape}, the image {shape}")
            return array
    return None


def _best_slice(
    reference: Array, predictions: Sequence[Array], spacing: Sequence[float], disputed: bool
) -> _Slice:
    """Across the coarsest axis: the largest reference, or for a disputed case the most differing voxels."""
    shape = reference.shape
    # A 2D image has one slice, whatever spacing stands for the missing axis.
    axis = 0 if shape[0] == 1 else int(np.argmax(np.round(spacing, 3)))
    others = tuple(i for i in range(3) if i != axis)
    differing = np.zeros(shape, bool)
    for prediction in predictions:
        differing |= prediction != predictions[0]
    for amount in (differing if disputed else reference > 0, reference > 0, predictions[0] > 0):
        counts = np.count_nonzero(amount, axis=others)
        if counts.any():
            return _Slice(axis, int(counts.argmax()), shape[axis])
    return _Slice(axis, shape[axis] // 2, shape[axis])


def _score(analysis: Analysis, item: RankedSet, row: Row, case: str) -> str:
    entry = next(i for i, entry in enumerate(item.comparable.entries) if entry.name == row.name)
    value = float(analysis.scores[entry, item.comparable.cases.index(case)])
    unit = f" {analysis.quantity.unit}" if analysis.quantity.unit else ""
    return f"{analysis.quantity.label} {analysis.quantity.text(value)}{unit}"


def _panel(
    name: str,
    case: str,
    frame: Frame,
    segmentation: Array | None,
    reference: Array | None,
    structures: Mapping[str, Sequence[int]],
    score: str,
) -> Panel:
    if segmentation is None:
        what = "no prediction"
    elif reference is None:
        what = "the reference's outlines"
    else:
        what = f"the outlines that {name} predicted, with the reference dotted in white"
    return Panel(
        name=name,
        picture=draw(frame, segmentation, reference, structures),
        alt=f"Case {case}: {what}{', ' + score if score else ''}",
        score=score if segmentation is not None else f"no prediction, {score}",
    )
