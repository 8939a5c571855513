"""Scoring the files of one case: read both, see that they lie on one grid, score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Labels
from autoseg.data.image import ImageError
from autoseg.data.length_units import in_mm
from autoseg.data.readers import Image, describe_grid, placed_differently, read_segmentation, reader_for
from autoseg.data.world import Turn
from autoseg.errors import DataError
from autoseg.evaluation.exchanged import Overlap, overlap_of
from autoseg.evaluation.pair_files import Pair, ending_of
from autoseg.evaluation.placing import laid_onto
from autoseg.evaluation.probability_file import read_probabilities
from autoseg.evaluation.result import CaseScore
from autoseg.evaluation.values import Unknown, mapped, unknown_values
from autoseg.metrics import LesionRule, Score, Tolerance, score_case

# The reader of formats without a physical pixel size.
PLAIN_IMAGES = "NaturalImage2DIO"
SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Rules:
    """What is the same for all cases of an evaluation.

    Attributes:
        labels: what is scored.
        tolerance_mm: tolerance of the surface Dice.
        metrics: names; None for all that apply.
        lesion_rule: what counts as a lesion.
        readers: reader by file ending, where it is not the one that nnU-Net would choose.
        requested: names of metrics that are measured beside those, on images that they are for.
        mapping: a value in the predictions to the label that it stands for.
        by_voxels: whether arrays are compared whatever their headers say of place and direction.
    """

    labels: Labels
    tolerance_mm: Tolerance
    metrics: tuple[str, ...] | None
    lesion_rule: LesionRule
    readers: Mapping[str, str]
    requested: tuple[str, ...] = ()
    mapping: Mapping[int, int] = field(default_factory=dict)
    by_voxels: bool = False


@dataclass(frozen=True)
class ScoredCase:
    """What became of one case.

    Attributes:
        scores: all of them.
        length_unit: unit of spacing and distances: mm, or px for images without a pixel size.
        displaced: whether prediction and reference differ in origin or direction.
        turned: whether the prediction is stored along other axes and was turned.
        unknown: label values that have no meaning here; then there are no scores.
        overlap: voxels of each pair of values of reference and prediction; empty without a prediction.
    """

    scores: tuple[CaseScore, ...]
    length_unit: str
    displaced: bool
    turned: bool = False
    unknown: Unknown | None = None
    overlap: Overlap = field(default_factory=dict)


def score_files(rules: Rules, pair: Pair, pixel_size: float | None = None) -> ScoredCase:
    """Read and score one case.

    Args:
        rules: what is scored and how.
        pair: the files.
        pixel_size: mm, for formats without one.

    Raises:
        DataError: if a file cannot be read, or the grids differ.
    """
    reader = _reader(pair.reference, rules)
    reference = in_mm(_read(pair.reference, reader))
    prediction, displaced, turn = None, False, None
    if pair.prediction is not None:
        other = _reader(pair.prediction, rules)
        prediction = in_mm(_read(pair.prediction, other))
        prediction = replace(prediction, array=mapped(prediction.array, rules.mapping))
        if not rules.by_voxels:
            prediction, turn = laid_onto(pair, prediction, reference)
        _check_grids(pair, reference, prediction, compare_spacing=PLAIN_IMAGES not in (reader, other))
        displaced = turn is None and bool(placed_differently(reference, prediction))
    spacing, unit = reference.spacing, "px" if reader == PLAIN_IMAGES else "mm"
    if unit == "px" and pixel_size is not None:
        spacing, unit = (spacing[0], pixel_size, pixel_size), "mm"
    if unknown := unknown_values(rules.labels, pair, reference, prediction):
        return ScoredCase((), unit, displaced, turn is not None, unknown)
    try:
        scores = _scores(rules, pair, reference, prediction, spacing, turn)
    except DataError as problem:
        raise DataError(f"{pair.case}: {problem}") from None
    return ScoredCase(
        tuple(CaseScore(**asdict(s), case=pair.case) for s in scores),
        unit,
        displaced,
        turn is not None,
        overlap={} if prediction is None else overlap_of(rules.labels, reference.array, prediction.array),
    )


def _read(path: Path, reader: str) -> Image:
    """A segmentation without NaN, which a reader may have replaced by the background."""
    found = read_segmentation(path, reader)
    if found.replaced:
        reason = f"holds {found.replaced} voxels that are NaN or infinite, which are no labels"
        raise ImageError(path, reason, "Write the label of every voxel, 0 for the background.")
    return found


def _scores(
    rules: Rules,
    pair: Pair,
    reference: Image,
    prediction: Image | None,
    spacing: tuple[float, ...],
    turn: Turn | None,
) -> list[Score]:
    return score_case(
        reference.array[0],
        None if prediction is None else prediction.array[0],
        rules.labels.structures,
        spacing,
        ignore_label=rules.labels.ignore,
        tolerance_mm=rules.tolerance_mm,
        metrics=rules.metrics,
        requested=rules.requested,
        lesion_rule=rules.lesion_rule,
        probabilities=_probabilities(pair, rules.labels, turn, reference.array[0].size),
    )


def _reader(path: Path, rules: Rules) -> str:
    ending = ending_of(path.name)
    return rules.readers.get(ending) or reader_for(ending, example=path).name


def _check_grids(pair: Pair, reference: Image, prediction: Image, compare_spacing: bool) -> None:
    """A prediction off the reference's grid is refused, not resampled behind its maker's back."""
    same = reference.array.shape == prediction.array.shape
    # The first entry of a single slice's spacing is made up.
    axes = slice(1 if reference.array.shape[1] == 1 else 0, 3)
    if same and compare_spacing:
        same = np.allclose(prediction.spacing[axes], reference.spacing[axes], rtol=SPACING_TOLERANCE, atol=0)
    if not same:
        raise DataError(
            f"{pair.prediction} has {describe_grid(prediction)}, its reference {pair.reference} has "
            f"{describe_grid(reference)}. Resample the prediction onto the reference's grid (nearest "
            f"neighbour), or correct the spacing in its header."
        )


def _probabilities(
    pair: Pair, labels: Labels, turn: Turn | None, voxels: int
) -> dict[str, NDArray[np.float32]] | None:
    """Of each structure, from the file that nnU-Net writes beside a prediction."""
    path = pair.prediction.with_name(f"{pair.case}.npz") if pair.prediction else None
    if path is None or not path.is_file():
        return None
    stored = read_probabilities(path, labels.num_heads, voxels)
    heads = stored if turn is None else turn.apply(stored)
    if labels.has_regions:
        regions = {region: i for i, region in enumerate(labels.foreground)}
        channels = {name: [regions[region]] for name, region in labels.names.items() if region in regions}
    else:
        numbers = {value: i for i, value in enumerate(labels.all_values)}
        channels = {name: [numbers[value] for value in values] for name, values in labels.structures.items()}
    return {name: heads[chosen].sum(axis=0, dtype=np.float32) for name, chosen in channels.items()}
