"""Invented records: known qualities in, so that tests know what must come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoseg.leaderboard.records.files import Cost, Record
from autoseg.leaderboard.records.scores import MISSING, ScoreColumn, ScoreTable

DEFINITIONS = {
    "dice": "dice.v1",
    "iou": "iou.v1",
    "nsd": "nsd.surfel.v1",
    "hd95": "hd95.voxel.v1",
}


def record(trainer: str = "nnunet", fold: int | str = 0, **fields: Any) -> Record:
    """A record with an identity; whatever a test cares about is given by name."""
    defaults = {
        "run_id": f"{trainer}/{fold}/{fields.get('seed', 0)}",
        "dataset": "Dataset900_Made",
        "configuration": "3d_fullres",
        "fingerprint_hash": "f" * 64,
        "split_hash": "5" * 64,
        "code_version": "0.1.0",
        "device": "a device",
        "created": "2026-01-01T00:00:00+00:00",
        "settings": {"tolerance_mm": 2.0, "length_unit": "mm", "structures": {"organ": [1]}},
    }
    return Record(trainer=trainer, fold=fold, **(defaults | fields))


def table(cases: Sequence[str], dice: Mapping[str, Sequence[float | None]], **more: Any) -> ScoreTable:
    """A table of Dice by structure; IoU, NSD and HD95 follow from it."""
    columns = []
    for structure, values in dice.items():
        for metric, formula in _FORMULAS.items():
            scores = tuple(None if value is None else round(formula(value), 6) for value in values)
            columns.append(ScoreColumn(metric, structure, DEFINITIONS[metric], scores))
    return ScoreTable(tuple(cases), tuple(columns), **more)


_FORMULAS = {
    "dice": lambda d: d,
    "iou": lambda d: d / (2 - d),
    "nsd": lambda d: d**0.5,
    "hd95": lambda d: 1 + 20 * (1 - d),
}


def experiment(
    qualities: Mapping[str, float],
    n_cases: int = 60,
    n_folds: int = 5,
    structures: Sequence[str] = ("front", "back"),
    seeds: Sequence[int] = (0,),
    noise: float = 0.01,
    missing: Sequence[tuple[str, str]] = (),
    groups: Mapping[str, str] | None = None,
    **fields: Any,
) -> list[Record]:
    """Trainers of known mean quality on the same cases, in folds; every case has its own difficulty."""
    generator = np.random.default_rng(len(qualities) * 1000 + n_cases)
    cases = [f"case_{i:03d}" for i in range(n_cases)]
    difficulty = generator.beta(2, 5, n_cases) * 0.15
    records = []
    for number, (trainer, quality) in enumerate(qualities.items()):
        cost = Cost(
            parameters=1_000_000 * (number + 1),
            trainable_parameters=1_000_000 * (number + 1),
            checkpoint_mb=4.0 * (number + 1),
            train_s=100.0 * (len(qualities) - number),
            budget_s=600.0,
            inference_s_per_case=0.1 + 0.2 * number,
        )
        for seed in seeds:
            for fold in range(n_folds):
                own = [i for i in range(n_cases) if i % n_folds == fold]
                dice = {
                    name: np.clip(quality - difficulty[own] + generator.normal(0, noise, len(own)), 0.01, 1)
                    for name in structures
                }
                scores = table(
                    [cases[i] for i in own],
                    {name: values.round(6).tolist() for name, values in dice.items()},
                    groups=tuple(groups[cases[i]] for i in own) if groups else None,
                )
                records.append(
                    record(
                        trainer,
                        fold,
                        seed=seed,
                        plan="plans",
                        plan_hash=f"{number:x}" * 64,
                        cost=cost,
                        scores=_without(scores, [case for name, case in missing if name == trainer]),
                        **fields,
                    )
                )
    return records


def _without(scores: ScoreTable, cases: Sequence[str]) -> ScoreTable:
    """Mark cases as not predicted, with the worst values."""
    worst = {"hd95": 80.0}
    columns = []
    for column in scores.columns:
        lost = {i: MISSING for i, case in enumerate(scores.cases) if case in cases}
        values = tuple(
            worst.get(column.metric, 0.0) if i in lost else value for i, value in enumerate(column.values)
        )
        raw = dict.fromkeys(lost)
        columns.append(ScoreColumn(column.metric, column.structure, column.definition, values, raw, lost))
    return ScoreTable(scores.cases, tuple(columns), scores.groups)
