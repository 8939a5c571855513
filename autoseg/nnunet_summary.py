"""nnU-Net's summary.json, for tools that read it.

Facts of the format from nnunetv2 2.8 (`nnunetv2/evaluation/evaluate_predictions.py`): per case and label TP,
FP, FN, TN, n_pred, n_ref, Dice and IoU; means over cases without the undefined; the foreground mean over
labels. Keys are labels, or regions as tuples in words. What is undefined there (NaN, which JSON does not
have) is null here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoseg.errors import UsageError

if TYPE_CHECKING:
    from autoseg.evaluation import Evaluation

Row = dict[str, float | int | None]

COUNTS = ("tp", "fp", "fn", "tn")


def nnunet_summary(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation in the format of nnU-Net's summary.json.

    A missing prediction counts as an empty one, so that leaving out cases does not improve the means.

    Raises:
        UsageError: if the evaluation does not have the voxel counts.
    """
    keys = {name: _key(values) for name, values in evaluation.settings["structures"].items()}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for score in evaluation.scores:
        if score.metric in COUNTS:
            counts.setdefault((score.case, score.structure), {})[score.metric] = int(score.value)
    if not all(row.keys() >= set(COUNTS) for row in counts.values()) or not counts:
        raise UsageError(f"The summary needs the metrics {', '.join(COUNTS)}. Evaluate with them.")
    rows = {case: {key: _row(counts[case, name]) for name, key in keys.items()} for case in evaluation.cases}
    means = {key: _means([row[key] for row in rows.values()]) for key in keys.values()}
    return {
        "foreground_mean": _means(list(means.values())),
        "mean": means,
        "metric_per_case": [
            {
                "metrics": rows[case],
                "prediction_file": evaluation.files.get(case, (None, None))[1],
                "reference_file": evaluation.files.get(case, (None, None))[0],
            }
            for case in evaluation.cases
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
