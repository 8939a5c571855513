"""Tables with one row per case and one column per structure and metric, as other systems write them.

Facts of the formats: MIST's results.csv (github.com/mist-medical/MIST) has ``id`` and columns such as
``liver_dice``, ``liver_haus95``, ``liver_surf_dice`` and ``liver_avg_surf``, and ends with rows of means and
percentiles. MONAI's handlers, and so Auto3DSeg's bundles, write ``mean_dice_raw.csv``: ``filename``, one
column per class, ``mean``; the metric stands in the file's name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from autoseg.evaluation.pair_files import ending_of

log = logging.getLogger(__name__)

Line = tuple[int, dict[str, str]]

_CASES = ("case", "case_id", "id", "subject", "patient", "filename", "file", "image")
_METRICS = {
    "dice": ("dice", "dsc", "dice_score", "mean_dice"),
    "iou": ("iou", "jaccard", "mean_iou"),
    "nsd": ("nsd", "surf_dice", "surface_dice"),
    "hd95": ("hd95", "haus95", "hausdorff95", "hausdorff_95", "hd_95"),
    "hd": ("hd", "hausdorff", "hausdorff_distance"),
    "assd": ("assd", "avg_surf"),
    "sensitivity": ("sensitivity", "recall", "tpr"),
    "precision": ("precision", "ppv"),
}
_ALIASES = {alias: name for name, aliases in _METRICS.items() for alias in aliases}
_KEPT = ("fold", "seed", "dataset", "group")
# Over structures or over cases: the ranking makes its own.
_AVERAGES = ("mean", "average", "avg", "all", "overall")
_STATISTICS = (*_AVERAGES, "std", "median", "min", "max", "sd")


def case_column(columns: Sequence[str]) -> str | None:
    """The column that names the cases; None if there is none."""
    return next((name for known in _CASES for name in columns if name.lower() == known), None)


def long_lines(path: Path, lines: Sequence[Line], columns: Sequence[str], trainer: str) -> list[Line]:
    """Turn a wide table into lines with a trainer, a case, a structure and its metrics.

    Rows of means, deviations and percentiles are left out, and so are columns of means over structures.

    Args:
        path: the table's path; its name can hold the metric.
        lines: number and cells of each line.
        columns: the table's head.
        trainer: what made the scores.

    Returns:
        No line if no column holds a score.
    """
    key = case_column(columns)
    scores = _score_columns(path, [name for name in columns if name != key])
    if key is None or not scores:
        return []
    log.info(
        "%s: read %s; not read: %s",
        path,
        ", ".join(f"{column} as {metric} of {structure}" for column, (structure, metric) in scores.items()),
        ", ".join(name for name in columns if name != key and name not in scores) or "nothing",
    )
    found = []
    for number, line in lines:
        if _is_statistic(line[key]):
            continue
        by_structure: dict[str, dict[str, str]] = {}
        for column, (structure, metric) in scores.items():
            by_structure.setdefault(structure, {})[metric] = line[column]
        kept: dict[str, str] = {name: line[name] for name in _KEPT if name in line}
        common: dict[str, str] = {"trainer": trainer, "case": _case_name(line[key]), **kept}
        found += [(number, {**common, "structure": name, **cells}) for name, cells in by_structure.items()]
    return found


def _score_columns(path: Path, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Column to structure and metric."""
    found = {name: split for name in columns if (split := _split(name))}
    if not found and (metric := _metric_of_file(path)):
        found = {name: (name, metric) for name in columns}
    return {name: split for name, split in found.items() if split[0].lower() not in _AVERAGES}


def _split(column: str) -> tuple[str, str] | None:
    """``liver_dice``, ``dice_liver`` or ``Dice`` as structure and metric; None for anything else."""
    plain = re.sub(r"[ .\-/]+", "_", column.strip()).lower()
    for alias in sorted(_ALIASES, key=len, reverse=True):
        if plain == alias:
            return "foreground", _ALIASES[alias]
        if plain.endswith(f"_{alias}"):
            return column.strip()[: -len(alias) - 1], _ALIASES[alias]
        if plain.startswith(f"{alias}_"):
            return column.strip()[len(alias) + 1 :], _ALIASES[alias]
    return None


def _metric_of_file(path: Path) -> str | None:
    """``dice`` for ``val_mean_dice_raw.csv``."""
    stem = path.stem.lower()
    if not stem.endswith("_raw"):
        return None
    split = _split(stem.removesuffix("_raw"))
    return split[1] if split else None


def _is_statistic(case: str) -> bool:
    return case.strip().lower() in _STATISTICS or case.strip().lower().endswith("percentile")


def _case_name(text: str) -> str:
    """The case of a file name or path; anything else stays as it is."""
    name = re.split(r"[/\\]", text.strip())[-1]
    ending = ending_of(name)
    # Images are named CASE_0000.ending, segmentations CASE.ending.
    return re.sub(r"_\d{4}$", "", name[: -len(ending)]) if ending else name
