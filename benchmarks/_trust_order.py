"""How well expected Dice orders cases by how bad they are, beside the mean softmax entropy and nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoseg.trust.held_out import HeldOut
from autoseg.trust.measure import cross_fitted
from autoseg.trust.risk import aurc, auroc
from autoseg.trust.structure_model import FAILURES

DRAWS = 5000
SEED = 20261129


def order_of(
    held_out: Sequence[HeldOut], structures: Sequence[str], cases: Mapping[str, Any]
) -> dict[str, Any]:
    """AURC of each score, and of the difference to entropy its bootstrap over groups."""
    estimates = cross_fitted(held_out, structures)
    risks = 1 - np.array([each.dice for each in held_out])
    scores = {
        "expected Dice": np.array([np.mean([row[name].dice for name in structures]) for row in estimates]),
        "mean softmax entropy": -np.array([cases[each.case]["exact_entropy"] for each in held_out]),
        "Dice of the probabilities": np.array(
            [
                np.mean([each.structures[name].facts.evidence["expected_dice"] for name in structures])
                for each in held_out
            ]
        ),
        "nothing": np.zeros(len(risks)),
        "the best order": -risks,
    }
    bad = risks > np.quantile(risks, 1 - FAILURES)
    return {
        "aurc": {name: aurc(risks, score) for name, score in scores.items()},
        "auroc_of_failures": {name: auroc(bad, -score) for name, score in scores.items()},
        "difference": difference(
            risks, scores["expected Dice"], scores["mean softmax entropy"], [each.group for each in held_out]
        ),
    }


def difference(
    risks: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: Sequence[str]
) -> dict[str, Any]:
    """Paired: each draw of groups gives both areas on the same cases."""
    random = np.random.default_rng(SEED)
    names = sorted(set(groups))
    members = [np.flatnonzero(np.array(groups) == name) for name in names]
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[index] for index in random.integers(0, len(names), len(names))])
        found.append(aurc(risks[drawn], ours[drawn]) - aurc(risks[drawn], theirs[drawn]))
    draws = np.array(found)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "mean": float(draws.mean()),
        "interval": [float(low), float(high)],
        # Two-sided, of the bootstrap distribution at 0; never below what so many draws can show.
        "p": float(min(1.0, 2 * (1 + min((draws >= 0).sum(), (draws <= 0).sum())) / (DRAWS + 1))),
    }
