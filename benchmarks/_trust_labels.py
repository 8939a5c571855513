"""Planted label errors: how far in front they are ranked, beside plain Dice and cleanlab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _label_errors import kinds

from autoseg.data.dataset import Dataset
from autoseg.trust.doubt import doubts_of
from autoseg.trust.held_out import HeldOut
from autoseg.trust.risk import auroc

SEEDS = 5
SHARE = 0.1


def label_errors(held_out: Sequence[HeldOut], dataset: Dataset, cases: Mapping[str, Any]) -> dict[str, Any]:
    """By kind and all kinds mixed: AUROC and precision among the first tenth, mean and SD over seeds."""
    names = kinds(len(dataset.labels.structures))
    found: dict[str, Any] = {}
    for kind in [*names, "mixed"]:
        rows = [
            _once(held_out, dataset, cases, [kind] if kind != "mixed" else names, s) for s in range(SEEDS)
        ]
        found[kind] = {
            rival: {
                measure: [float(np.mean(values)), float(np.std(values))]
                for measure in ("auroc", "precision")
                for values in [[row[rival][measure] for row in rows]]
            }
            for rival in rows[0]
        }
    return found


def _once(
    held_out: Sequence[HeldOut], dataset: Dataset, cases: Mapping[str, Any], names: Sequence[str], seed: int
) -> dict[str, dict[str, float]]:
    random = np.random.default_rng([seed, 20261129])
    number = max(1, round(SHARE * len(held_out)))
    chosen = random.choice(len(held_out), number, replace=False)
    wrong = {int(index): str(names[turn % len(names)]) for turn, index in enumerate(chosen)}
    structures = list(dataset.labels.structures)
    seen, given = [], []
    for index, each in enumerate(held_out):
        stored = cases[each.case]
        there = stored["errors"][wrong[index]] if index in wrong else stored["label"]
        given.append(there)
        seen.append(
            with_reference(each, there, stored["label"]["sizes"], structures) if index in wrong else each
        )
    doubts = {doubt.case: doubt.score for doubt in doubts_of(seen, structures)}
    scores = {
        "doubt": [doubts[each.case] for each in held_out],
        "lowest Dice": [-float(np.mean(there["dice"])) for there in given],
        "cleanlab": [-there["cleanlab"] for there in given],
    }
    planted = np.array([index in wrong for index in range(len(held_out))])
    return {name: _measured(planted, np.array(score)) for name, score in scores.items()}


def with_reference(
    each: HeldOut, there: Mapping[str, Any], true: Sequence[int] | None, structures: Sequence[str]
) -> HeldOut:
    """The case as it would be with that reference; `true` are the sizes of its own one, None: sizes stay."""
    found = {}
    for index, (name, dice) in enumerate(zip(structures, there["dice"], strict=True)):
        case = each.structures[name]
        size = case.reference_size
        if true is not None:
            voxel = size / true[index] if true[index] else 1.0
            size = there["sizes"][index] * voxel
        found[name] = replace(case, dice=dice, reference_size=size)
    return replace(each, structures=found, outlines=there["outlines"])


def _measured(planted: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    first = np.argsort(-scores, kind="stable")[: int(planted.sum())]
    return {"auroc": auroc(planted, scores), "precision": float(planted[first].mean())}
