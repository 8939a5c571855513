"""The leaderboard as files for other programs and for papers."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from autoseg.errors import UsageError
from autoseg.evaluation.result import CaseScore, Evaluation
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.ranking.entries import fold_words
from autoseg.leaderboard.ranking.ranking import Leaderboard, RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.records.files import Record, write_records
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.leaderboard.table import count_words, duration_words
from autoseg.metrics import COUNTS
from autoseg.system.files import write_text
from autoseg.system.named_outputs import named_output, named_outputs
from autoseg.system.tables import table_text

log = logging.getLogger(__name__)

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "\N{MIDDLE DOT}": r"$\cdot$", "\N{EN DASH}": "--"}


def write_exports(
    leaderboard: Leaderboard,
    csv: Path | None = None,
    files: Sequence[Path] = (),
    challenger: Path | None = None,
    nnunet_summary: Path | None = None,
) -> None:
    """Write what the command line asks for.

    Args:
        leaderboard: from `rank`.
        csv: for the rows.
        files: by ending a Markdown (.md) or LaTeX (.tex) table, or all records (.jsonl), which ``--add``
            reads elsewhere.
        challenger: for every case's score, in challengeR's columns.
        nnunet_summary: folder for nnU-Net's summaries.

    Raises:
        UsageError: for another ending, or a file that this program did not write, see
            `autoseg.system.named_outputs`.
    """
    check_endings(files)
    for path in files:
        with named_output(path) as made:
            if path.suffix == ".jsonl":
                write_records(made, leaderboard.records)
            else:
                write_text(made, (markdown if path.suffix == ".md" else latex)(leaderboard))
    if csv is not None:
        with named_output(csv) as made:
            write_csv(leaderboard, made)
    if challenger is not None:
        with named_output(challenger) as made:
            write_scores(leaderboard, made)
    if nnunet_summary is not None:
        _export_summaries(leaderboard, nnunet_summary)


def check_endings(files: Sequence[Path]) -> None:
    """See that it is known what is to be written into files.

    Raises:
        UsageError: for another ending than .md, .tex and .jsonl.
    """
    for path in files:
        if path.suffix not in (".md", ".tex", ".jsonl"):
            raise UsageError(f"{path}: the ending {path.suffix!r} is not known. Give .md, .tex or .jsonl.")


def _export_summaries(leaderboard: Leaderboard, folder: Path) -> None:
    with named_outputs(folder) as made:
        if not write_nnunet_summaries(leaderboard, made):
            raise UsageError(
                "No row has the voxel counts that nnU-Net's summary.json needs. Nothing is written."
            )


def write_csv(leaderboard: Leaderboard, path: Path) -> Path:
    """Write one line per row, with the columns of ``--json``; lists joined by blanks. Returns the path."""
    return _write_csv(path, _lines([row.to_json() for row in leaderboard.rows]))


def write_scores(leaderboard: Leaderboard, path: Path) -> Path:
    """Write every case's score in the columns that challengeR reads.

    Columns: Task (data set, with the structure if one is ranked), TestCase, Algorithm, MetricValue. Only the
    first comparable set of each data set: challengeR compares whatever it is given.
    """
    lines: list[Sequence[object]] = [("Task", "TestCase", "Algorithm", "MetricValue")]
    for item in leaderboard.sets:
        if item.number != 1:
            continue
        chosen = item.comparable
        task = chosen.dataset + (f"/{leaderboard.structure}" if leaderboard.structure else "")
        for entry, scores in zip(chosen.entries, item.analysis.scores, strict=True):
            lines += [
                (task, case, entry.name, f"{value:.9g}")
                for case, value in zip(chosen.cases, scores, strict=True)
            ]
    return _write_csv(path, lines)


def _write_csv(path: Path, lines: Iterable[Sequence[object]]) -> Path:
    write_text(path, table_text(lines))
    return path


def _lines(objects: Sequence[dict[str, Any]]) -> list[list[object]]:
    head: list[list[object]] = [list(objects[0])] if objects else []
    return [*head, *([_cell(value) for value in item.values()] for item in objects)]


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = ("; " if value and isinstance(value[0], str) else " ").join(str(item) for item in value)
    return "" if value is None else value


def markdown(leaderboard: Leaderboard) -> str:
    """The ranking as Markdown tables, one per comparable set."""
    parts = []
    for item in leaderboard.sets:
        head, *lines = _table(item)
        title = f"**{_caption(item)}**".replace("|", r"\|")
        rows = [
            "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in (head, *lines)
        ]
        rule = "|---|---|" + "---:|" * (len(head) - 2)
        parts.append("\n".join([title, "", rows[0], rule, *rows[1:], ""]))
    parts += [f"- {row.name} on {row.dataset}: {row.status}. {row.reason}" for row in leaderboard.unranked]
    return "\n".join(parts) + "\n"


def latex(leaderboard: Leaderboard) -> str:
    """The ranking as LaTeX tables with booktabs; the best and those tied with it in bold."""
    parts = ["% needs \\usepackage{booktabs}"]
    for item in leaderboard.sets:
        head, *lines = _table(item)
        body = []
        for row, line in zip(item.rows, lines, strict=True):
            cells = [_tex(cell) for cell in line]
            if row.tied_with_best:
                cells[1] = rf"\textbf{{{cells[1]}}}"
            body.append(" & ".join(cells) + r" \\")
        parts += [
            r"\begin{table}",
            rf"\caption{{{_tex(_caption(item))}. Bold: {_bold_words(item)}.}}",
            rf"\begin{{tabular}}{{rl{'r' * (len(head) - 2)}}}",
            r"\toprule",
            " & ".join(_tex(cell) for cell in head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}~^\\<>·–]", lambda match: _LATEX[match.group()], text)  # noqa: RUF001


def _caption(item: RankedSet) -> str:
    chosen = item.comparable
    text = f"{chosen.dataset}: mean over {len(chosen.cases)} cases, {fold_words(item.rows[0].folds)}"
    if chosen.difference:
        text += f"; not comparable with the first table ({chosen.difference})"
    return text


def _table(item: RankedSet) -> list[list[str]]:
    ranked = item.analysis.quantity
    others = [
        item.comparable.quantity(name)
        for name in ("dice", "nsd", "hd95")
        if name in item.rows[0].means and name != ranked.name
    ]
    titles = [ranked.title, "95 % interval", *(other.title for other in others)]
    head = ["Rank", "Trainer", *titles, "Missing", "Parameters", "Training", "Per case"]
    return [head, *(_line(row, item, [other.name for other in others]) for row in item.rows)]


def _line(row: Row, item: RankedSet, others: Sequence[str]) -> list[str]:
    ranked = item.analysis.quantity
    interval = row.intervals[ranked.name]
    mark = " =" if row.tied_with_best and row.rank != 1 else ""
    return [
        "" if row.rank is None else f"{row.rank}{mark}",
        row.name if row.status in ("ok", "foreign") else f"{row.name} ({row.status})",
        ranked.text(row.means[ranked.name]),
        f"{ranked.text(interval.low)} to {ranked.text(interval.high)}",
        *(quantity(name).text(row.means[name]) for name in others),
        str(row.n_missing),
        count_words(row.cost("parameters")),
        duration_words(row.cost("train_s")),
        duration_words(row.cost("inference_s_per_case")),
    ]


def write_nnunet_summaries(leaderboard: Leaderboard, folder: Path) -> tuple[Path, ...]:
    """Write nnU-Net's summary.json for each run that has voxel counts, and for each row with all folds.

    Returns:
        The files: ``folder/DATASET/ROW/summary.json`` with all folds pooled (of the first seed), and
        ``folder/DATASET/ROW/fold_K/summary.json`` of each run, with ``_seed_N`` where there are several.
    """
    written = []
    for row in leaderboard.rows:
        home = folder / _file_name(row.dataset) / _file_name(row.name)
        runs = {home / _run_name(record, row): [record] for record in row.entry.records}
        first = [record for record in row.entry.records if record.seed == row.seeds[0]]
        for place, records in {home: first, **runs}.items():
            evaluation = _evaluation(records)
            if evaluation is None:
                log.warning("%s on %s has no voxel counts: no summary.json.", row.name, row.dataset)
                break
            evaluation.save_nnunet_summary(place / "summary.json")
            written.append(place / "summary.json")
    return tuple(written)


def _run_name(record: Record, row: Row) -> str:
    return f"fold_{record.fold}" + (f"_seed_{record.seed}" if len(row.seeds) > 1 else "")


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.=,-]+", "_", name) or "_"


def _evaluation(records: Sequence[Record]) -> Evaluation | None:
    """What records say, as one evaluation; None without counts or labels."""
    if not records or not all(set(COUNTS) <= set(r.scores.metrics) for r in records):
        return None
    settings = records[0].settings
    if "structures" not in settings:
        return None
    scores = [score for record in records for score in _scores(record.scores)]
    cases = [case for record in records for case in record.scores.cases]
    missing = [case for record in records for case in record.scores.missing]
    # A record knows no files; names are what a reader tells the cases by.
    files = {case: (case, None if case in missing else case) for case in cases}
    return Evaluation(tuple(scores), tuple(cases), tuple(missing), settings, files)


def _scores(table: ScoreTable) -> Iterable[CaseScore]:
    for column in table.columns:
        for i, (case, value) in enumerate(zip(table.cases, column.values, strict=True)):
            if value is not None:
                status = column.statuses.get(i, "ok")
                yield CaseScore(
                    column.structure,
                    column.metric,
                    column.definition,
                    value,
                    column.raw.get(i, value),
                    status,  # type: ignore[arg-type]
                    case,
                )


def _bold_words(item: RankedSet) -> str:
    """What a bold row has in common with the best."""
    if item.analysis.testable:
        return r"not told apart from the best (Wilcoxon signed rank, Holm, $p \geq 0.05$)"
    return "the best, and those whose interval of the difference to it holds 0 (too few for a test)"
