"""Scores made elsewhere, as a table: one line per trainer, case and label becomes records."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.errors import DataError
from autoseg.leaderboard.foreign.wide import Line, case_column, long_lines
from autoseg.leaderboard.quantities import is_score, quantity
from autoseg.leaderboard.records.files import UNKNOWN_FOLD, Record
from autoseg.leaderboard.records.scores import EMPTY, MISSED, MISSING, ScoreColumn, ScoreTable
from autoseg.names import shown, whole_number
from autoseg.system.files import read_json
from autoseg.system.tables import read_table

_NEEDED = ("trainer", "case")
_KEYS = (*_NEEDED, "fold", "seed", "label", "structure", "dataset", "configuration", "group", "definition")
_Run = tuple[str, str, str, str, int]
_Evidence = tuple[dict[tuple[str, str], set[str]], dict[tuple[str, str], set[str]]]


@dataclass
class _Gathered:
    """The cells of one run while the table is read: (metric, structure) -> case -> value."""

    cells: dict[tuple[str, str], dict[str, float | None]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    definition: str = ""


def records_from_csv(
    path: Path, dataset: str | None = None, trainer: str | None = None
) -> tuple[Record, ...]:
    """Read a table of scores; the separator is a comma, a semicolon or a tab.

    Long: one row per trainer, case and label. Columns: ``trainer`` and ``case``; ``label`` or ``structure``
    for several structures; optionally ``fold``, ``seed``, ``configuration``, ``dataset``, ``group`` and
    ``definition`` (how the metric was computed, for example ``dice.v1``; without it the rows are compared
    only with others of this kind). Every other column that is a known metric or a voxel count (tp, fp, fn,
    tn) is read. A blank cell is a score that is not defined, as nnU-Net leaves it where reference and
    prediction are both empty: it is left out of the case's mean.

    Wide: one row per case, one column per structure and metric, as MIST and MONAI write them; see
    `autoseg.leaderboard.foreign.add.wide`.

    Args:
        path: the CSV file.
        dataset: its data set's name; without it and without a column of that name, the folder's name. A
            dataset.json beside the file names the labels.
        trainer: what made the scores, for a table without a column of that name; without both, a long
            table is refused and a wide one goes by the file's name.

    Raises:
        DataError: naming the file, the line and what is wrong.
    """
    lines, columns = _read(path)
    lines, metrics = _as_long(path, lines, columns, trainer)
    names = _label_names(path.parent / "dataset.json")
    gathered: dict[_Run, _Gathered] = {}
    for number, line in lines:
        run = _run_of(line, path, number, dataset or path.resolve().parent.name)
        _gather(gathered.setdefault(run, _Gathered()), line, metrics, names, f"{path}, line {number}")
    evidence = _evidence(gathered)
    return tuple(_record(run, entry, evidence, path) for run, entry in gathered.items())


def _as_long(
    path: Path, lines: list[Line], columns: list[str], trainer: str | None
) -> tuple[list[Line], list[str]]:
    """One line per trainer, case and label, and the columns that hold scores."""
    if "trainer" in columns and trainer is not None:
        raise DataError(f"{path} has a column trainer. Add it without {trainer}= in front.")
    metrics = [name for name in columns if name not in _KEYS and is_score(name)]
    ranked = any(quantity(name).ranked for name in metrics)
    if "case" in columns and ranked and ("trainer" in columns or trainer):
        lines = [(number, {"trainer": trainer or "", **line}) for number, line in lines]
        return lines, metrics
    if "trainer" not in columns and case_column(columns):
        found = long_lines(path, lines, columns, trainer or path.stem)
        if found:
            return found, list(dict.fromkeys(name for _, line in found for name in line if is_score(name)))
    absent = [name for name in _NEEDED if name not in columns]
    if absent:
        raise DataError(
            f"{path}: there is no column {' or '.join(absent)} (columns: {', '.join(columns)}). Each line "
            f"needs a trainer, a case and a metric; or a case (id, filename) and columns such as liver_dice."
        )
    raise DataError(
        f"{path}: no column holds a known metric (columns: {', '.join(columns)}). "
        f"Name one dice, iou, nsd, hd95, ..."
    )


def _gather(
    entry: _Gathered, line: dict[str, str], metrics: list[str], names: dict[str, str], where: str
) -> None:
    entry.definition = line.get("definition") or entry.definition
    label = line.get("structure") or line.get("label") or "foreground"
    for metric in metrics:
        if metric not in line:
            continue
        cell = entry.cells.setdefault((metric, names.get(label, label)), {})
        if line["case"] in cell:
            raise DataError(
                f"{where}: case {line['case']!r}, label {label!r} of {line['trainer']!r} "
                f"is there twice. Keep one of the lines, or tell them apart by fold or seed."
            )
        cell[line["case"]] = _number(line[metric], metric, where)
    if line.get("group"):
        entry.groups[line["case"]] = line["group"]


def _evidence(gathered: dict[_Run, _Gathered]) -> _Evidence:
    """What some run of a data set shows to be there: cases of its folds, and structures with an overlap.

    A blank or absent score of another run is then no empty structure but one that it missed.
    """
    cases: dict[tuple[str, str], set[str]] = {}
    present: dict[tuple[str, str], set[str]] = {}
    for (dataset, _, _, fold, _), entry in gathered.items():
        for (metric, structure), cell in entry.cells.items():
            cases.setdefault((dataset, fold), set()).update(cell)
            if quantity(metric).worst == 0.0:
                seen = {case for case, value in cell.items() if value}
                present.setdefault((dataset, structure), set()).update(seen)
    return cases, present


def _read(path: Path) -> tuple[list[Line], list[str]]:
    columns, lines = read_table(path)
    if not lines:
        raise DataError(f"{path} has no line of scores. Give a file with a head and scores.")
    return lines, columns


def _label_names(path: Path) -> dict[str, str]:
    """Label value to name, where a dataset.json says so."""
    if not path.is_file():
        return {}
    labels = read_json(path).get("labels", {})
    return {str(value): str(name) for name, value in labels.items() if isinstance(value, int)}


def _run_of(line: dict[str, str], path: Path, number: int, dataset: str) -> _Run:
    for name in _NEEDED:
        if not line.get(name):
            raise DataError(f"{path}, line {number}: no {name}. Fill it in or remove the line.")
    given = line.get("seed") or "0"
    seed = whole_number(given)
    if seed is None:
        raise DataError(f"{path}, line {number}: seed {shown(given)} is not a whole number. Correct it.")
    configuration = line.get("configuration") or "unknown"
    return (
        line.get("dataset") or dataset,
        line["trainer"],
        configuration,
        line.get("fold") or UNKNOWN_FOLD,
        seed,
    )


def _number(text: str, metric: str, where: str) -> float | None:
    if text == "" or text.lower() in ("nan", "none", "null", "na"):
        return None
    where = f"{where}: {metric}"
    try:
        value = float(text)
    except ValueError:
        raise DataError(f"{where}: {text!r} is not a number. Correct it, or leave it blank.") from None
    if not math.isfinite(value):
        raise DataError(f"{where}: {text!r} is not finite. Leave it blank, or give the image's diagonal.")
    fraction = quantity(metric).worst == 0.0
    if value < 0 or (fraction and value > 1):
        possible = "0 to 1" if fraction else "0 and more"
        raise DataError(f"{where}: {text}, expected {possible}. Correct it, or divide per cent by 100.")
    return value


def _record(run: _Run, entry: _Gathered, evidence: _Evidence, path: Path) -> Record:
    dataset, trainer, configuration, fold, seed = run
    expected, present = evidence
    cases = sorted(expected[dataset, fold])
    columns = []
    for (metric, structure), cell in entry.cells.items():
        definition = entry.definition if entry.definition.startswith(f"{metric}.") else f"{metric}.foreign"
        values = tuple(cell.get(case) for case in cases)
        there = present.get((dataset, structure), set())
        statuses = {i: _blank(case, cell, there) for i, case in enumerate(cases) if cell.get(case) is None}
        columns.append(ScoreColumn(metric, structure, definition, values, {}, statuses))
    return Record(
        run_id=f"{path.name}/{dataset}/{trainer}__{configuration}/fold_{fold}/seed_{seed}",
        dataset=dataset,
        trainer=trainer,
        configuration=configuration,
        fold=fold if (index := whole_number(fold)) is None else index,
        seed=seed,
        status="foreign",
        reason=f"read from {path.name}; how it was made is not known here",
        scores=ScoreTable(
            tuple(cases),
            tuple(columns),
            tuple(entry.groups.get(case, case) for case in cases) if entry.groups else None,
        ),
        source=path,
    )


def _blank(case: str, cell: dict[str, float | None], present: set[str]) -> str:
    """The status of a score that is not there."""
    if case not in cell:
        return MISSING
    return MISSED if case in present else EMPTY
