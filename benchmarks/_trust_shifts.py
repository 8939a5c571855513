"""What becomes of intervals under shifts that calibration has not seen, and how many failures are flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.trust.features import Facts
from autoseg.trust.fit import fitted
from autoseg.trust.held_out import HeldOut
from autoseg.trust.profiles import Profile
from autoseg.trust.quality_model import OK, UNLIKE, QualityModel
from autoseg.trust.structure_model import FAILURES


def under_shifts(
    by_fold: Sequence[Sequence[HeldOut]],
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    cases: Mapping[str, Any],
) -> dict[str, Any]:
    """By shift; each case is assessed by a quality model of the other folds' cases and images alone."""
    threshold = float(np.quantile([each.dice for fold in by_fold for each in fold], FAILURES))
    rows: dict[str, list[dict[str, Any]]] = {}
    for index, fold in enumerate(by_fold):
        rest = [each for other, held in enumerate(by_fold) if other != index for each in held]
        own = {each.case for each in fold}
        known = {case: profile for case, profile in profiles.items() if case not in own}
        model = fitted(rest, dataset, known, {}, measure=False)
        for each in fold:
            for shift, seen in cases[each.case].get("shifts", {}).items():
                rows.setdefault(shift, []).append(
                    _one(model, each.case, seen, list(dataset.labels.structures))
                )
    return {
        "threshold": threshold,
        "shifts": {name: _summed(found, threshold) for name, found in rows.items()},
    }


def _one(
    model: QualityModel, case: str, seen: Mapping[str, Any], structures: Sequence[str]
) -> dict[str, Any]:
    facts = {name: Facts.from_json(each) for name, each in seen["facts"].items()}
    quality = model.assess_facts(case, seen["inputs"], facts, seen["entropy"])
    inside = []
    for name, dice in zip(structures, seen["dice"], strict=True):
        ends = quality.structures[name].dice_interval
        if ends is not None:
            inside.append(ends[0] <= dice <= ends[1])
    return {
        "dice": float(np.mean(seen["dice"])),
        "expected": quality.dice,
        "inside": float(np.mean(inside)),
        "missed": len(inside) - sum(inside),
        "flag": quality.flag,
        "reason": quality.reasons[0] if quality.reasons else "",
    }


def _summed(rows: Sequence[Mapping[str, Any]], threshold: float) -> dict[str, Any]:
    failed = [row for row in rows if row["dice"] < threshold]
    fine = [row for row in rows if row["dice"] >= threshold]
    return {
        "cases": len(rows),
        "dice": float(np.mean([row["dice"] for row in rows])),
        "expected": float(np.mean([row["expected"] for row in rows])),
        "coverage": float(np.mean([row["inside"] for row in rows])),
        "failures": len(failed),
        "flagged_failures": sum(row["flag"] != OK for row in failed),
        "unlike": sum(row["flag"] == UNLIKE for row in rows),
        "flagged_others": sum(row["flag"] != OK for row in fine),
        "others": len(fine),
        "coverage_unflagged": (
            float(np.mean([row["inside"] for row in rows if row["flag"] == OK]))
            if any(row["flag"] == OK for row in rows)
            else None
        ),
        "missed": sum(row["missed"] for row in rows),
        "missed_flagged": sum(row["missed"] for row in rows if row["flag"] != OK),
        "unflagged": sum(row["flag"] == OK for row in rows),
    }
