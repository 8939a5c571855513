"""Scores made elsewhere, as nnU-Net's summary.json: its voxel counts become scores under our definitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoseg.data.dataset import labels_from_json
from autoseg.errors import DataError
from autoseg.evaluation.pair_files import ending_of
from autoseg.evaluation.result import CaseScore, Evaluation
from autoseg.leaderboard.foreign.origin import Origin, RawData
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.metrics import COUNTS, Score, score_counts
from autoseg.metrics.comparison import Counts
from autoseg.names import whole_number
from autoseg.system.files import read_json

_Structures = dict[tuple[int, ...], str]


def records_from_summary(path: Path, origin: Origin, raw: RawData | None = None) -> tuple[Record, ...]:
    """Read nnU-Net's summary.json (version 2), one record per fold.

    The voxel counts in it give Dice, IoU, sensitivity and precision by the same formulas as ours, so that
    these rows can be compared with our own; other metrics are not in the file.

    Args:
        path: the file to read.
        origin: which trainer, data set and fold.
        raw: the data set, which names the labels and the cases of each fold; without it a dataset.json in
            one of the folders above names the labels.

    Raises:
        DataError: naming what is wrong with the file.
    """
    entries = _entries(path)
    names = _structures(path, raw)
    by_case: dict[str, list[Score]] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}, case {number}"
        case = _case(entry, where)
        by_case[case] = _scores(entry["metrics"], names, where)
    keys = {key: names.get(key, _text(key)) for entry in entries for key in map(_values, entry["metrics"])}
    settings = {"structures": {name: list(key) for key, name in keys.items()}}
    reason = f"voxel counts read from nnU-Net's {path.name}; how it was made is not known here"
    return tuple(
        origin.record(fold, _table(cases, by_case, raw), settings, reason, path)
        for fold, cases in origin.by_fold(by_case, raw)
    )


def _entries(path: Path) -> list[Any]:
    content = read_json(path, finite=False)
    entries = content.get("metric_per_case") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{path} has no metric_per_case, which nnU-Net's summary.json (version 2) has. Give that file, "
            f"or the folder of the predictions, which are then evaluated here."
        )
    return entries


def _structures(path: Path, raw: RawData | None) -> _Structures:
    if raw is not None:
        return {values: name for name, values in raw.dataset.labels.structures.items()}
    for folder in path.resolve().parents[:4]:
        if (folder / "dataset.json").is_file():
            labels = labels_from_json(read_json(folder / "dataset.json"))
            return {values: name for name, values in labels.structures.items()}
    return {}


def _case(entry: Any, where: str) -> str:
    file = entry.get("reference_file") or entry.get("prediction_file") if isinstance(entry, dict) else None
    if not isinstance(file, str) or not isinstance(entry.get("metrics"), dict):
        raise DataError(f"{where}: expected reference_file and metrics. Give nnU-Net's own file.")
    name = re.split(r"[/\\]", file)[-1]
    return name[: len(name) - len(ending_of(name))]


def _scores(metrics: Mapping[str, Any], names: _Structures, where: str) -> list[Score]:
    found = []
    for key, row in metrics.items():
        try:
            counts = Counts(*(int(row[name.upper()]) for name in COUNTS))
        except (KeyError, TypeError, ValueError, OverflowError):  # the last: infinity
            raise DataError(
                f"{where}, label {key}: expected the voxel counts TP, FP, FN and TN. Give the file as "
                f"nnU-Net wrote it."
            ) from None
        found += score_counts(names.get(_values(key), _text(_values(key))), counts)
    return found


def _values(key: str) -> tuple[int, ...]:
    """``1`` or ``(1, 2)`` as label values."""
    found = map(whole_number, re.findall(r"[0-9]+", key))
    return tuple(number for number in found if number is not None)


def _text(values: tuple[int, ...]) -> str:
    return "+".join(map(str, values))


def _table(cases: tuple[str, ...], by_case: Mapping[str, list[Score]], raw: RawData | None) -> ScoreTable:
    there = [case for case in cases if case in by_case]
    scores = tuple(CaseScore(**asdict(score), case=case) for case in there for score in by_case[case])
    missing = tuple(case for case in cases if case not in by_case)
    return ScoreTable.from_evaluation(Evaluation(scores, cases, missing), raw.groups if raw else None)
