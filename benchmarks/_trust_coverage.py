"""How often intervals hold: over random divisions of groups into calibration and new cases."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.trust.conformal import interval
from autoseg.trust.features import logit
from autoseg.trust.held_out import HeldOut
from autoseg.trust.regression import group_parts
from autoseg.trust.structure_model import PARTS, fit_structure

SPLITS = 100
SEED = 20261129


def by_splits(held_out: Sequence[HeldOut], structures: Sequence[str]) -> dict[str, Any]:
    """Half of the groups calibrate, the other half is new; `SPLITS` times."""
    groups = list(dict.fromkeys(each.group for each in held_out))
    random = np.random.default_rng(SEED)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in structures}
    for _ in range(SPLITS):
        calibrating = set(random.permutation(groups)[: len(groups) // 2].tolist())
        old = [each for each in held_out if each.group in calibrating]
        new = [each for each in held_out if each.group not in calibrating]
        random.shuffle(old)  # type: ignore[arg-type]
        for name in structures:
            for key, value in _once(old, new, name).items():
                found[name].setdefault(key, []).append(value)
    return {
        name: {key: [float(np.mean(values)), float(np.std(values))] for key, values in rows.items()}
        for name, rows in found.items()
    }


def _once(old: Sequence[HeldOut], new: Sequence[HeldOut], name: str) -> dict[str, float]:
    model = fit_structure([each.structures[name] for each in old], ())
    dice, sizes, widths, errors = [], [], [], []
    for each in new:
        case = each.structures[name]
        found = model.estimate(case.facts, case.known)
        errors.append(abs(found.dice - case.dice))
        if found.dice_interval is not None:
            low, high = found.dice_interval
            dice.append(low <= case.dice <= high)
            widths.append(high - low)
        if found.size_interval is not None:
            sizes.append(found.size_interval[0] <= case.reference_size <= found.size_interval[1])
    return {
        "dice": float(np.mean(dice)),
        "size": float(np.mean(sizes)),
        "width": float(np.mean(widths)),
        "error": float(np.mean(errors)),
    }


def without_features(folder: Path) -> list[dict[str, Any]]:
    """The statistics alone on published scores: intervals from nothing but the Dice of other cases."""
    found = []
    for path in sorted(folder.glob("*/dice_per_case.csv")):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for trainer, label in sorted({(row["trainer"], row["label"]) for row in rows}):
            values = [row["dice"] for row in rows if (row["trainer"], row["label"]) == (trainer, label)]
            dice = np.array([float(value) for value in values if value])
            held, width = zip(*(_plain(dice, seed) for seed in range(SPLITS)), strict=True)
            found.append(
                {
                    "task": path.parent.name,
                    "trainer": trainer,
                    "label": label,
                    "cases": len(dice),
                    "coverage": [float(np.mean(held)), float(np.std(held))],
                    "width": float(np.mean(width)),
                }
            )
    return found


def _plain(dice: np.ndarray, seed: int) -> tuple[float, float]:
    """Cross-validation+ of a constant: of each part the median of the other parts."""
    order = np.random.default_rng([SEED, seed]).permutation(len(dice))
    old, new = logit(dice[order[: len(dice) // 2]]), dice[order[len(dice) // 2 :]]
    parts = np.array(group_parts([str(index) for index in range(len(old))], PARTS))
    said = np.array([np.median(old[parts != part]) for part in parts])
    low, high = interval(said, old - said, np.ones(len(old)))
    low, high = (1 / (1 + np.exp(-end)) for end in (low, high))
    ends = (0.0 if low <= 0.0101 else low, 1.0 if high >= 0.9899 else high)
    return float(np.mean((new >= ends[0]) & (new <= ends[1]))), float(ends[1] - ends[0])
