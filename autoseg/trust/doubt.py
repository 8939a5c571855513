"""How much a reference is to be doubted: models that have not seen it agree with it less than expected.

Plain Dice would list the hard cases first. Here each reference is compared with what is expected of its own
case, by a fit that leaves its group out: the miss of the logit of Dice, in standard deviations of all misses.
Beside it stands how unlike the other outlines its own lies in the image, which finds what is smaller than the
model's own errors; a reference is doubted for either. Where these errors are below a voxel there is nothing
smaller to find, and outlines alone would raise false doubts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.trust.features import logit
from autoseg.trust.held_out import HeldOut
from autoseg.trust.measure import cross_fitted
from autoseg.trust.outline import oddness
from autoseg.trust.structure_model import CalibrationCase, Estimate

# Standard deviations of a normal distribution to one side of the median that hold the middle half.
_QUARTILE = 0.6745
# The same from the median to the ninth tenth.
_NINE_TENTHS = 1.2816
# Outlines say nothing where the model's own are closer than this to the references, in voxels: a label is no
# sharper than half a voxel. From one voxel on they count in full.
_NO_SHARPER = 0.5
# The surface of a smooth body by the outer faces of its voxels, and the length of a smooth outline.
_BY_FACES, _BY_EDGES = 3 / 2, 4 / np.pi
# Doubt from which on a reference is worth a look.
WORTH_A_LOOK = 3.0


@dataclass(frozen=True)
class Doubt:
    """How much one training reference is to be doubted.

    Attributes:
        case: its identifier.
        score: of the structure that is doubted most, in standard deviations; more is worse.
        structure: that structure.
        dice: of that structure, of the held-out prediction against the reference.
        expected: what Dice was expected.
        reason: in words.
    """

    case: str
    score: float
    structure: str
    dice: float
    expected: float
    reason: str


def doubts_of(
    held_out: Sequence[HeldOut],
    structures: Sequence[str],
    estimates: Sequence[Mapping[str, Estimate]] | None = None,
) -> list[Doubt]:
    """The doubt of each case's reference, the most doubtful first.

    Args:
        held_out: cases of all folds, at least two groups.
        structures: names.
        estimates: of `cross_fitted`, where they are at hand.
    """
    expected = cross_fitted(held_out, structures) if estimates is None else estimates
    missed = {name: _scores(held_out, name, expected) for name in structures}
    odd = {name: _odd(held_out, name, missed[name]) for name in structures}
    scores = {name: _together(missed[name], odd[name]) for name in structures}
    found = []
    for index, each in enumerate(held_out):
        name = max(structures, key=lambda structure: scores[structure][index])
        score, case = float(scores[name][index]), each.structures[name]
        dice = expected[index][name].dice
        reason = _reason(name, case, dice, float(odd[name][index]))
        found.append(Doubt(each.case, score, name, case.dice, dice, reason))
    return sorted(found, key=lambda doubt: -doubt.score)


def _scores(held_out: Sequence[HeldOut], name: str, expected: Sequence[Mapping[str, Estimate]]) -> np.ndarray:
    """How much lower than expected each Dice is, in robust standard deviations."""
    said = logit(np.array([row[name].dice for row in expected]))
    there = logit(np.array([each.structures[name].dice for each in held_out]))
    misses = said - there
    low, middle, high = np.percentile(misses, [25, 50, 75])
    scale = max(float(high - low) / (2 * _QUARTILE), 0.05)
    return np.asarray((misses - middle) / scale)


def _odd(held_out: Sequence[HeldOut], name: str, missed: np.ndarray) -> np.ndarray:
    """How odd each outline is, as far as it counts beside the Dice.

    How far the odd ones of sound labels lie is taken from those with which the model agrees best.
    """
    found = oddness([each.outlines.get(name) for each in held_out])
    usual = float(np.percentile(found[missed <= np.median(missed)], 90)) / _NINE_TENTHS
    counts = min(max(_own_error(held_out, name) / _NO_SHARPER - 1, 0), 1)
    return np.asarray(found * counts / max(usual, 1))


def _own_error(held_out: Sequence[HeldOut], name: str) -> float:
    """How far the model's outlines are off the references, in voxels of the finest axis, median over cases.

    By the Dice and the surface: what only one of two bodies holds is a layer between their outlines.
    """
    found = [
        (1 - case.dice) * 2 * case.facts.shape.size / case.facts.shape.surface
        * (_BY_EDGES if case.facts.flat else _BY_FACES)
        / np.exp(min(value for key, value in each.inputs.items() if key.startswith("spacing")))
        for each in held_out
        if (case := each.structures[name]).facts.shape.surface
    ]  # fmt: skip
    return float(np.median(found)) if found else 0.0


def _together(missed: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Two distances as one: the root of the sum of squares of what speaks against a reference."""
    both = np.sqrt(np.maximum(missed, 0) ** 2 + np.maximum(odd, 0) ** 2)
    return np.asarray(np.where(both > 0, both, missed))


def _reason(name: str, case: CalibrationCase, expected: float, odd: float) -> str:
    found = _compared(name, case, expected)
    if odd < WORTH_A_LOOK:
        return found
    return f"{found}; the image along its outline is unlike that of other labels ({odd:.1f} SD)"


def _compared(name: str, case: CalibrationCase, expected: float) -> str:
    dice = f"a Dice of {case.dice:.2f}, where {expected:.2f} was expected"
    found = f"{name}: held-out prediction and reference have {dice}"
    if not case.reference_size and case.facts.shape.size:
        return f"{found}; the reference has none of it"
    if case.facts.shape.size and case.reference_size:
        ratio = case.reference_size / case.facts.shape.size
        if not 0.8 < ratio < 1.25:
            return f"{found}; the reference is {ratio:.2f} times as large as the prediction"
    return found
