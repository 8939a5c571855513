"""nnU-Net's summary.json, for tools that read it.

Facts of the format from nnunetv2 2.8 (`nnunetv2/evaluation/evaluate_predictions.py`): per case and label TP,
FP, FN, TN, n_pred, n_ref, Dice and IoU; means over cases without the undefined; the foreground mean over
labels. Keys are labels, or regions as tuples in words. What is undefined there (NaN, which JSON does not
have) is null here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.errors import UsageError
from autoseg.metrics import COUNTS

Row = dict[str, float | int | None]
Files = tuple[str, str | None]


def nnunet_summary(
    structures: Mapping[str, Sequence[int]],
    counts: Mapping[tuple[str, str], Mapping[str, int]],
    files: Mapping[str, Files],
) -> dict[str, Any]:
    """Scores in the format of nnU-Net's summary.json.

    A missing prediction counts as an empty one, so that leaving out cases does not improve the means.

    Args:
        structures: labels of each structure by name.
        counts: voxels by case and structure: tp, fp, fn, tn.
        files: reference and prediction, by case.

    Raises:
        UsageError: if voxel counts are missing.
    """
    if not counts or not all(row.keys() >= set(COUNTS) for row in counts.values()):
        raise UsageError(f"The summary needs the metrics {', '.join(COUNTS)}. Evaluate with them.")
    keys = {name: _key(values) for name, values in structures.items()}
    cases = dict.fromkeys(case for case, _ in counts)
    rows = {case: {key: _row(counts[case, name]) for name, key in keys.items()} for case in cases}
    means = {key: _means([row[key] for row in rows.values()]) for key in keys.values()}
    return {
        "foreground_mean": _means(list(means.values())),
        "mean": means,
        "metric_per_case": [
            {
                "metrics": row,
                "prediction_file": files.get(case, ("", None))[1],
                "reference_file": files.get(case, ("", None))[0],
            }
            for case, row in rows.items()
        ],
    }


def _key(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else str(tuple(values))


def _row(counts: Mapping[str, int]) -> Row:
    tp, fp, fn, tn = (counts[name] for name in COUNTS)
    union = tp + fp + fn
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if union else None,
        "FN": fn,
        "FP": fp,
        "IoU": tp / union if union else None,
        "TN": tn,
        "TP": tp,
        "n_pred": fp + tp,
        "n_ref": fn + tp,
    }


def _means(rows: Sequence[Row]) -> Row:
    means: Row = {}
    for name in rows[0]:
        defined = [value for row in rows if (value := row[name]) is not None]
        means[name] = sum(defined) / len(defined) if defined else None
    return means
