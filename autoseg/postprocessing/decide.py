"""Rules for a model, from its predictions of the cases that it did not learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.formats import WITHOUT_SPACING
from autoseg.data.image import Image
from autoseg.data.labels import Labels
from autoseg.data.readers import read_segmentation
from autoseg.errors import DataError
from autoseg.leaderboard.statistics import mean_intervals, resample
from autoseg.postprocessing.apply import postprocess, voxel_size
from autoseg.postprocessing.choose import Chosen, best, confirm, confirm_without, parts_of
from autoseg.postprocessing.measure import candidates, dices, gains
from autoseg.postprocessing.rules import ML, PIXELS, Postprocessing, Rule, plain_rules
from autoseg.system.files import digest

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OutOfFold:
    """A case that a fold's networks did not learn from, and what they made of it.

    Attributes:
        case: its identifier.
        fold: the fold that held it out.
        group: its group; a case without one is its own.
        prediction: the file as the network made it.
        reference: the file to compare it with.
    """

    case: str
    fold: int | str
    group: str
    prediction: Path
    reference: Path


@dataclass(frozen=True)
class _Set:
    """What is the same for all cases of a decision."""

    cases: Sequence[OutOfFold]
    labels: Labels
    reader: str

    @property
    def unit(self) -> str:
        return PIXELS if self.reader == WITHOUT_SPACING else ML

    @property
    def rules(self) -> tuple[Rule, ...]:
        return plain_rules(self.labels)

    def read(self, each: OutOfFold) -> tuple[Image, Array]:
        prediction = read_segmentation(each.prediction, self.reader)
        reference = read_segmentation(each.reference, self.reader).array[0]
        if prediction.array[0].shape != reference.shape:
            raise DataError(
                f"{each.prediction} has the shape {prediction.array[0].shape}, its reference "
                f"{reference.shape}. Predict this case again."
            )
        return prediction, reference

    def gains(self, each: OutOfFold) -> Floats:
        prediction, reference = self.read(each)
        voxel = voxel_size(prediction.spacing, self.unit)
        return gains(prediction.array[0], reference, self.rules, voxel, self.unit, self.labels.ignore)

    def gain_of(self, chosen: Chosen, each: OutOfFold) -> float:
        """What rules change in a case, applied together."""
        if not chosen:
            return 0.0
        prediction, reference = self.read(each)
        after = postprocess(prediction.array[0], self.chosen(chosen), prediction.spacing)
        scored = [
            dices(array, reference, self.rules, self.labels.ignore) for array in (prediction.array[0], after)
        ]
        return float((scored[1] - scored[0]).mean())

    def chosen(self, chosen: Chosen) -> Postprocessing:
        rules = [candidates(self.rules[s], self.unit)[c] for s, c in sorted(chosen.items())]
        return Postprocessing(tuple(rules), self.unit)


def decide_postprocessing(cases: Sequence[OutOfFold], labels: Labels, reader: str) -> Postprocessing:
    """Decide which rules the out-of-fold predictions of a model confirm, by Dice.

    Args:
        cases: all that the model's trained folds held out.
        labels: of the data set.
        reader: nnU-Net's reader class.

    Returns:
        The rules, with in the evidence: ``gain``, the change of the mean Dice on cases that had no part in
        choosing (see `autoseg.postprocessing.choose`) with its 95 % interval; ``apparent_gain``, what the
        best candidates change on the cases that chose them; and each structure's p value.

    Raises:
        DataError: if there is no case, or a file cannot be read or compared.
    """
    if not cases:
        raise DataError("There is no out-of-fold prediction to decide from. Finish a fold of this model.")
    about = _Set(cases, labels, reader)
    table = np.stack([about.gains(each) for each in cases], axis=-1)
    groups = [each.group for each in cases]
    parts = parts_of([each.fold for each in cases], groups)
    found = confirm(table, groups)
    without = confirm_without(table, parts, groups)
    honest = np.array(
        [about.gain_of(without[int(part)], each) for part, each in zip(parts, cases, strict=True)]
    )
    naive = sum(table[s, c].mean() for s, c in best(table).items())
    rules = about.chosen(found.chosen)
    evidence: dict[str, Any] = {
        "metric": "dice",
        "n_cases": len(cases),
        "n_groups": len(set(groups)),
        "folds": sorted({str(each.fold) for each in cases}),
        "gain": float(honest.mean()),
        "interval": _interval(honest, groups),
        "apparent_gain": float(naive),
        "parts_that_retain": sum(bool(chosen) for chosen in without.values()),
        "parts": len(without),
        "structures": {rule.structure: {"p": float(p)} for rule, p in zip(about.rules, found.p, strict=True)},
        "inputs": inputs_of(cases, labels),
    }
    evidence["in_words"] = _in_words(rules, evidence)
    return Postprocessing(rules.rules, rules.unit, evidence)


def inputs_of(cases: Sequence[OutOfFold], labels: Labels) -> str:
    """A hash of all that a decision depends on."""
    files = [
        [each.case, str(each.fold), each.group, _sha256(each.prediction), _sha256(each.reference)]
        for each in cases
    ]
    return digest([files, {name: repr(value) for name, value in labels.names.items()}, labels.ignore])


def _in_words(rules: Postprocessing, about: Mapping[str, Any]) -> list[str]:
    """What was decided and why, in sentences."""
    where = f"{about['n_cases']} out-of-fold cases"
    if about["n_groups"] < about["n_cases"]:
        where += f" in {about['n_groups']} groups"
    seems = f"{about['apparent_gain']:+.4f}"
    if not rules.rules:
        return [
            f"None: {where} confirm no candidate. On the cases that choose, the best change Dice by {seems}."
        ]
    low, high = about["interval"]
    return [
        *rules.words,
        f"Dice {about['gain']:+.4f} (95 % {low:+.4f} to {high:+.4f}) on {where}, by rules that were chosen "
        f"and tested without a case's part. On the cases that choose, the best change it by {seems}.",
    ]


def _interval(scores: Floats, groups: Sequence[str]) -> list[float]:
    weights = resample(len(scores), groups)
    (found,) = mean_intervals(scores[None], weights, groups)
    return [found.low, found.high]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
