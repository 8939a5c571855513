"""Calibration and decoding of a model, from the cases that its folds held out.

A case's calibration is fitted without its fold. A temperature, or one with a bias for each head, is retained
where it lowers the surprise of held-out voxels, and another way to decide where it raises the Dice of
held-out cases: both by the test of `autoseg.postprocessing.choose`, and what decoding is worth is measured on
folds that had no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.decoding.reliability import reliability
from autoseg.decoding.rules import LARGEST, WAYS, Decoding
from autoseg.decoding.temperature import AS_THEY_ARE, Calibration, Sample, fit_calibration, surprise
from autoseg.errors import DataError
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.postprocessing.choose import confirm, confirm_without, parts_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Observed:
    """A held-out case.

    Attributes:
        sample: of its voxels.
        fold: that held it out.
        group: a case without one is its own.
    """

    sample: Sample
    fold: int | str
    group: str


def decide_decoding(
    cases: Sequence[Observed],
    has_regions: bool,
    gains: Callable[[Sequence[Calibration]], Mapping[str, Sequence[float]]],
) -> Decoding:
    """Decide calibration and decoding.

    Args:
        cases: all that the model's folds held out.
        has_regions: whether heads are regions.
        gains: for a calibration of each case, by each of `WAYS` the change of each case's mean Dice.

    Raises:
        DataError: if there is no case.
    """
    if not cases:
        raise DataError("There is no held-out case to calibrate with. Finish a fold of this model.")
    samples, groups = [each.sample for each in cases], [each.group for each in cases]
    parts = parts_of([each.fold for each in cases], groups)
    plain = np.array([surprise(each, AS_THEY_ARE, has_regions) for each in samples])
    offers = [_without_own_part(samples, parts, has_regions, with_bias) for with_bias in (False, True)]
    left = [
        [surprise(each, own, has_regions) for each, own in zip(samples, offer, strict=True)]
        for offer in offers
    ]
    less = plain - np.array(left)
    believed = confirm(less[None], groups)
    used = offers[believed.chosen[0]] if believed.chosen else [AS_THEY_ARE] * len(cases)
    by_way = gains(used)
    change = np.array([by_way[way] for way in WAYS], dtype=np.float64)
    found, without = confirm(change[None], groups), confirm_without(change[None], parts, groups)
    honest = [
        float(change[without[int(part)][0], case]) if without[int(part)] else 0.0
        for case, part in enumerate(parts)
    ]
    way = found.chosen.get(0, int(change.mean(axis=1).argmax()))
    calibration = AS_THEY_ARE
    if believed.chosen:
        calibration = fit_calibration(samples, has_regions, with_bias=believed.chosen[0] == 1)
    decoding = Decoding(calibration, list(WAYS)[way] if found.chosen else LARGEST)
    evidence: dict[str, Any] = {
        "n_cases": len(cases),
        "n_groups": len(set(groups)),
        "folds": sorted({str(each.fold) for each in cases}),
        "temperatures": sorted({each.temperature for each in used}),
        "calibration_p": float(believed.p[0]),
        "surprise_less": {"temperature": float(less[0].mean()), "with bias": float(less[1].mean())},
        "before": reliability(samples, [AS_THEY_ARE] * len(cases), has_regions),
        "after": reliability(samples, used, has_regions),
        "way": list(WAYS)[way],
        "dice_changes": {name: float(row.mean()) for name, row in zip(WAYS, change, strict=True)},
        "dice_change": float(change[way].mean()),
        "dice_interval": _interval(change[way], groups),
        "dice_p": float(found.p[0]),
        "gain": float(np.mean(honest)),
    }
    evidence["in_words"] = _in_words(decoding, evidence)
    return Decoding(decoding.calibration, decoding.decide, evidence)


def _without_own_part(
    samples: Sequence[Sample], parts: NDArray[np.intp], has_regions: bool, with_bias: bool
) -> list[Calibration]:
    """The calibration of each case, fitted without its part; with a single part there is none."""
    by_part = {}
    for part in np.unique(parts):
        rest = [sample for sample, other in zip(samples, parts, strict=True) if other != part]
        by_part[int(part)] = fit_calibration(rest, has_regions, with_bias) if rest else AS_THEY_ARE
    return [by_part[int(part)] for part in parts]


def _interval(changes: Floats, groups: Sequence[str]) -> list[float]:
    (found,) = mean_intervals(changes[None], resample(len(changes), groups), groups)
    return [found.low, found.high]


def _in_words(decoding: Decoding, about: dict[str, Any]) -> list[str]:
    where = f"{about['n_cases']} held-out cases"
    if about["n_groups"] < about["n_cases"]:
        where += f" in {about['n_groups']} groups"
    before, after = about["before"]["expected_error"], about["after"]["expected_error"]
    if decoding.calibration == AS_THEY_ARE:
        said = [f"Probabilities stay as they are: no calibration is confirmed by {where}. ECE {before:.4f}."]
    else:
        bias = " and a bias for each structure" if decoding.calibration.bias else ""
        said = [
            f"Probabilities have the temperature {decoding.calibration.temperature:.2f}{bias}: ECE "
            f"{before:.4f} -> {after:.4f} on {where}, each calibrated without its fold."
        ]
    (low, high), change = about["dice_interval"], about["dice_change"]
    numbers = f"Dice {change:+.4f} (95 % {low:+.4f} to {high:+.4f}), p = {about['dice_p']:.3f}"
    if decoding.changes_segmentations:
        said.append(
            f"Segmentations are decided {decoding.way}: {numbers}. By decisions without a case's fold "
            f"{about['gain']:+.4f}."
        )
    else:
        said.append(f"Each voxel has its likeliest label. Deciding {WAYS[about['way']]}: {numbers}.")
    (other,) = (name for name in WAYS if name != about["way"])
    return [*said, f"Deciding {WAYS[other]}: Dice {about['dice_changes'][other]:+.4f}."]
