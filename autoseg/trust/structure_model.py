"""Expected Dice and volume of one structure, fitted on cases that the segmenting model had not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from autoseg.trust.conformal import groups_needed, interval
from autoseg.trust.features import NAMES, Facts, Floats, expit, logit, matrix
from autoseg.trust.regression import Line, fit_line, group_parts, group_weights
from autoseg.trust.shape import Shape
from autoseg.trust.spread import Spread, spreads, spreads_from_json

# Regressions that each leave out a part of the groups.
PARTS = 10
# The share of calibration cases that counts as failures: Dice below their tenth percentile.
FAILURES = 0.1
# A Dice below this is a failure whatever the others had. Where a tenth of the cases or more have a Dice of 0,
# their tenth percentile is 0: nothing lies below it, and the worst structures would never be flagged.
MISSED = 0.05
# A case whose chance to be a failure is at least three times the usual one is to be reviewed.
REVIEW_CHANCE = 3 * FAILURES
# The least uncertainty of a volume, as a share of 1 - expected Dice.
_LEAST_DOUBT = 0.01


@dataclass(frozen=True)
class CalibrationCase:
    """One structure of one case whose reference is known and that the model had not seen.

    Attributes:
        case: its identifier.
        group: what it belongs to; a case without a group is a group of its own.
        facts: of the prediction.
        dice: against the reference; 1 where both are empty.
        reference_size: of the reference, in the unit of sizes.
        known: spreads of the shapes of the references that the model was trained on.
    """

    case: str
    group: str
    facts: Facts
    dice: float
    reference_size: float
    known: Mapping[str, Spread]


@dataclass(frozen=True)
class Estimate:
    """What is expected of one structure of one case.

    Attributes:
        dice: expected.
        dice_interval: 90 %; None where there are too few calibration groups.
        size: of the segmentation, in the unit of sizes.
        size_interval: 90 % for the reference's; None for an empty segmentation, or too few groups.
        failure: the chance of a Dice below the tenth percentile of the calibration cases, or below `MISSED`.
    """

    dice: float
    dice_interval: tuple[float, float] | None
    size: float
    size_interval: tuple[float, float] | None
    failure: float

    def at_most(self, whole: float) -> Estimate:
        """The same with no size in its interval that is larger than the whole image."""
        ends = self.size_interval
        return self if ends is None else replace(self, size_interval=(ends[0], min(ends[1], whole)))


@dataclass(frozen=True)
class StructureModel:
    """The fitted numbers.

    Attributes:
        names: of the features.
        neutral: their medians, which stand in where one does not apply.
        lines: one regression for each part of the groups, fitted without it.
        part: of each calibration case, the index of the line that was fitted without it.
        misses: of each calibration case, logit of its Dice less what that line said.
        weights: of each calibration case; those of a group sum to 1.
        size_misses: of each calibration case, the logarithm of reference's over segmentation's size, divided
            by 1 less the expected Dice; NaN where one of the two is empty.
        threshold: the tenth percentile of the calibration cases' Dice, at least `MISSED`.
        usual: spreads of the calibration cases' predicted shapes.
        known: spreads of all training references' shapes.
        always: whether every training reference has the structure.
        empty: how many calibration cases have an empty segmentation, and the sum of their Dice,
            which is 1 where the reference is empty too. They are in none of the above.
    """

    names: tuple[str, ...]
    neutral: tuple[float, ...]
    lines: tuple[Line, ...]
    part: tuple[int, ...]
    misses: tuple[float, ...]
    weights: tuple[float, ...]
    size_misses: tuple[float | None, ...]
    threshold: float
    usual: Mapping[str, Spread]
    known: Mapping[str, Spread]
    always: bool
    empty: tuple[int, float] = (0, 0.0)

    @property
    def groups(self) -> int:
        """Number of calibration groups."""
        return round(sum(self.weights))

    def estimate(self, facts: Facts, known: Mapping[str, Spread] | None = None) -> Estimate:
        """What is expected of a case that no model has seen.

        Args:
            facts: of its prediction.
            known: spreads of the references that the predicting model was trained on; None: of all.
        """
        features = facts.features(self.known if known is None else known, self.usual)
        size = facts.shape.size
        if not size:
            return self._of_empty(features)
        row = matrix([features], self.names, self.neutral)
        said, weights, misses = self._said(row[0]), *self._calibration
        middle, share = float(said @ weights / weights.sum()), weights / weights.sum()
        # Around one middle for all, so that a better score never has a lower expectation.
        possible = expit(middle + misses)
        dice = float(possible @ share)
        return Estimate(
            dice=dice,
            dice_interval=self._dice_interval(said, misses, weights),
            size=size,
            size_interval=self._size_interval(size, float(expit(middle)), weights),
            failure=float((possible < self.threshold) @ share),
        )

    @cached_property
    def _calibration(self) -> tuple[Floats, Floats]:
        """Weights and misses of the calibration cases."""
        return np.array(self.weights, dtype=np.float64), np.array(self.misses, dtype=np.float64)

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        """Of each calibration case the intercept (cases,) and weights (cases, features) of its line."""
        part = list(self.part)
        slopes = np.array([line.weights for line in self.lines], dtype=np.float64)
        return np.array([line.intercept for line in self.lines])[part], slopes[part]

    def _said(self, row: Floats) -> Floats:
        """For each calibration case, what the line fitted without it says of features (features,)."""
        intercepts, slopes = self._table
        return np.asarray(intercepts + slopes @ row)

    def _of_empty(self, features: Mapping[str, float]) -> Estimate:
        """Dice is 1 or 0: as often 1 as in calibration, where what the probabilities say is one case more."""
        number, total = self.empty
        says = 0.0 if self.always else float(expit(features.get("expected_dice", 0.0)))
        dice = (total + says) / (number + 1)
        return Estimate(dice, (0.0, 1.0) if self.groups >= groups_needed() else None, 0.0, None, 1 - dice)

    def _dice_interval(self, said: Floats, misses: Floats, weights: Floats) -> tuple[float, float] | None:
        if self.groups < groups_needed():
            return None
        low, high = interval(said, misses, weights)
        # Beyond the bounds of the logarithm anything may be.
        bottom, top = (float(expit(value)) for value in (low, high))
        edge = float(logit(0.0))
        return (0.0 if low <= edge + 1e-9 else bottom), (1.0 if high >= -edge - 1e-9 else top)

    def _size_interval(self, size: float, dice: float, weights: Floats) -> tuple[float, float] | None:
        there = [index for index, miss in enumerate(self.size_misses) if miss is not None]
        if not size or round(float(weights[there].sum())) < groups_needed():
            return None
        misses = np.array([self.size_misses[index] for index in there], dtype=np.float64)
        low, high = interval(np.zeros(len(there)), misses, weights[there])
        scale = max(1 - dice, _LEAST_DOUBT)
        return (size * math.exp(low * scale), size * math.exp(high * scale)) if math.isfinite(high) else None

    def to_json(self) -> dict[str, Any]:
        """Numbers and names alone."""
        return {
            "features": list(self.names),
            "neutral": list(self.neutral),
            "lines": [{"intercept": line.intercept, "weights": list(line.weights)} for line in self.lines],
            "part": list(self.part),
            "misses": list(self.misses),
            "weights": list(self.weights),
            "size_misses": list(self.size_misses),
            "threshold": self.threshold,
            "usual": {name: spread.to_json() for name, spread in self.usual.items()},
            "references": {name: spread.to_json() for name, spread in self.known.items()},
            "always": self.always,
            "empty": list(self.empty),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StructureModel:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        lines = tuple(Line(float(each["intercept"]), _floats(each["weights"])) for each in content["lines"])
        part = tuple(int(index) for index in content["part"])
        misses, weights = _floats(content["misses"]), _floats(content["weights"])
        sizes = tuple(None if miss is None else float(miss) for miss in content["size_misses"])
        names, neutral = tuple(map(str, content["features"])), _floats(content["neutral"])
        if not len(part) == len(misses) == len(weights) == len(sizes) or not misses:
            raise ValueError(
                f"{len(part)} parts, {len(misses)} misses, {len(weights)} weights, {len(sizes)} sizes"
            )
        if not set(part) <= set(range(len(lines))) or {len(names)} != {
            len(neutral),
            *(len(x.weights) for x in lines),
        }:
            raise ValueError(f"{len(names)} features, {len(lines)} lines for parts {sorted(set(part))}")
        return cls(
            names, neutral, lines, part, misses, weights, sizes, max(MISSED, float(content["threshold"])),
            spreads_from_json(content["usual"]), spreads_from_json(content["references"]),
            bool(content["always"]), (int(content["empty"][0]), float(content["empty"][1])),
        )  # fmt: skip


def fit_structure(
    cases: Sequence[CalibrationCase], references: Sequence[tuple[Shape, bool]]
) -> StructureModel:
    """Fit one structure.

    Args:
        cases: at least one; each predicted by models that had not seen it. Those with an empty segmentation
            are counted apart: their Dice is 0 or 1.
        references: the shapes of all training references, and whether their images are pictures.
    """
    empty = [each.dice for each in cases if not each.facts.shape.size]
    cases = [each for each in cases if each.facts.shape.size] or cases
    usual = spreads([each.facts.shape.quantities(each.facts.flat) for each in cases])
    rows = [each.facts.features(each.known, usual) for each in cases]
    names = tuple(name for name in NAMES if any(name in row for row in rows))
    neutral = tuple(float(np.median([row[name] for row in rows if name in row])) for name in names)
    features, groups = matrix(rows, names, neutral), [each.group for each in cases]
    targets, weights = logit(np.array([each.dice for each in cases])), group_weights(groups)
    parts = group_parts(groups, PARTS)
    number = max(parts) + 1
    lines = []
    for part in range(number):
        rest = np.array([other != part for other in parts]) if number > 1 else np.ones(len(parts), bool)
        lines.append(fit_line(features[rest], targets[rest], weights[rest]))
    said = np.array([float(lines[part](features[[i]])[0]) for i, part in enumerate(parts)])
    return StructureModel(
        names=names,
        neutral=neutral,
        lines=tuple(lines),
        part=tuple(parts),
        misses=tuple(float(miss) for miss in targets - said),
        weights=tuple(float(weight) for weight in weights),
        size_misses=tuple(_size_miss(each, expit(value)) for each, value in zip(cases, said, strict=True)),
        threshold=max(MISSED, float(np.quantile([each.dice for each in cases], FAILURES))),
        usual=usual,
        known=spreads([shape.quantities(flat) for shape, flat in references]),
        always=all(shape.size > 0 for shape, _ in references),
        empty=(len(empty), float(sum(empty))),
    )


def _size_miss(case: CalibrationCase, dice: float) -> float | None:
    size = case.facts.shape.size
    if not size or not case.reference_size:
        return None
    return math.log(case.reference_size / size) / max(1 - dice, _LEAST_DOUBT)


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
