"""The page's sentences: what the numbers mean, in plain words, and a methods paragraph for a paper."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.leaderboard import statistics
from autoseg.leaderboard.quantities import Quantity, quantity
from autoseg.leaderboard.ranking.analysis import Analysis
from autoseg.leaderboard.ranking.entries import fold_words
from autoseg.leaderboard.ranking.ranking import Leaderboard, RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.table import count_words, duration_words
from autoseg.metrics import COUNTS
from autoseg.system.amounts import counted


def listing(names: Sequence[str], most: int = 6) -> str:
    """``a``, ``a and b``, ``a, b and c``; after `most` names the rest is counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def verdict(item: RankedSet) -> str:
    """The answer in a sentence or two: who leads, who cannot be told from it, who is behind."""
    rows, facts = item.rows, item.analysis.quantity
    best = rows[0]
    value = with_unit(facts, best.means[facts.name])
    if len(rows) == 1:
        sentence = f"{best.name} is the only one with scores on these cases: mean {facts.label} {value}."
        return f"{sentence} Nothing to compare."
    tied = [row.name for row in rows[1:] if row.tied_with_best]
    behind = [row.name for row in rows[1:] if not row.tied_with_best]
    if not item.analysis.testable:
        return _untested(item, f"{best.name} has the best mean {facts.label} ({value})", tied, behind)
    if not tied:
        return (
            f"{best.name} is ahead of all others: mean {facts.label} {value}, and the test confirms it."
            + _small_lead(item)
        )
    text = f"{best.name} has the best mean {facts.label} ({value}), but "
    if not behind:
        return text + f"no trainer can be told from it: {listing(tied)} may be as good."
    return text + f"{listing(tied)} cannot be told from it. {_others(behind)} measurably worse."


def _untested(item: RankedSet, start: str, tied: Sequence[str], behind: Sequence[str]) -> str:
    """The answer where no test could tell anybody apart."""
    units = "groups" if item.comparable.groups else "cases"
    text = f"{start}. Differences cannot be tested with so few {units}."
    if behind:
        text += f" By the interval of the paired difference, {listing(behind)} {_lie(behind)} behind it."
    if tied:
        text += f" {listing(tied)} may be as good."
    return text


def _lie(names: Sequence[str]) -> str:
    return "lies" if len(names) == 1 else "lie"


def _small_lead(item: RankedSet) -> str:
    """That a lead, though measurable, is too small to matter by the stated margin; else empty."""
    analysis = item.analysis
    first, *others = analysis.order
    behind = zip(others, item.rows[1:], strict=True)
    small = [row.name for other, row in behind if analysis.negligible(analysis.pair(first, other))]
    if not small:
        return ""
    whom = "the others" if len(small) == len(others) > 1 else listing(small)
    return (
        f" Its lead over {whom} is measurable but small: the interval lies within {margin_words(analysis)}."
    )


def _others(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"The other {len(names)} are"
    return f"{listing(names)} {'is' if len(names) == 1 else 'are'}"


def thrifty(item: RankedSet) -> str:
    """Which of the tied is the fastest and which the smallest, where that is not the leader; else empty."""
    tied = [row for row in item.rows if row.tied_with_best]
    praise: dict[str, list[str]] = {}
    for cost, words, say in (
        ("inference_s_per_case", "the fastest", _per_case),
        ("parameters", "the smallest", _parameters),
    ):
        known = {row.name: row.cost(cost) or 0.0 for row in tied if row.cost(cost) is not None}
        least = min(known, key=lambda name: known[name], default="")
        if len(known) > 1 and least != item.rows[0].name:
            praise.setdefault(least, []).append(f"{words} ({say(known[least])})")
    parts = [f"{name} is {' and '.join(words)}" for name, words in praise.items()]
    return f"Of those that share the lead, {', '.join(parts)}." if parts else ""


def _per_case(seconds: float) -> str:
    return f"{duration_words(seconds)} a case"


def _parameters(count: float) -> str:
    return f"{count_words(count)} parameters"


def with_unit(facts: Quantity, value: float) -> str:
    """A value with its unit."""
    return f"{facts.text(value)} {facts.unit}".strip()


def p_words(p: float) -> str:
    """A p value as papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def facts_line(item: RankedSet) -> list[str]:
    """What was compared, in a few words each."""
    chosen, row = item.comparable, item.rows[0]
    seeds = sorted({len(entry.seeds) for entry in chosen.entries})
    found = [counted(len(chosen.cases), "case"), fold_words(row.folds)]
    if chosen.groups:
        found.append(counted(len(set(chosen.groups)), "group"))
    found.append(counted(len(chosen.structures), "structure"))
    if seeds != [1]:
        found.append(f"{seeds[0]} seeds" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds")
    return found


def methods(board: Leaderboard) -> str:
    """A paragraph that a paper can take over: what was computed, and how."""
    facts = board.quantity
    first = board.sets[0] if board.sets else None
    if first is None:
        return "No scores to describe."
    analysis = first.analysis
    sentences = [
        _scoring(facts, first, board),
        "Out-of-fold predictions of all folds were pooled, and seeds were averaged within each case."
        if _pooled(board)
        else "",
        "Cases without a prediction were given the worst possible score.",
        f"All pairs of models were compared with the two-sided Wilcoxon signed-rank test (zeros after Pratt)"
        f"{' on group means' if any(item.comparable.groups for item in board.sets) else ''}; "
        f"p values were adjusted after Holm within each data set and metric, at a level of "
        f"{statistics.ALPHA:g}.",
        f"Intervals are 95 % bias-corrected and accelerated (BCa) bootstrap intervals of the mean"
        f"{_draws(board, analysis)}.",
        f"Two models were called equivalent if the 95 % interval of their mean difference lay within "
        f"{margin_words(analysis)}.",
        "The stability of the ranking was assessed on the same resamples, as the share of resamples that "
        "each model led, the central 95 % of its ranks, and Kendall's tau between the resampled and the "
        "reported ranking.",
        _versions(board),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _scoring(facts: Quantity, item: RankedSet, board: Leaderboard) -> str:
    absent = "was left out" if _left_out(board) else "counted as perfect"
    absent = f"a structure absent from reference and prediction alike {absent}."
    if all(row.foreign for row in item.rows):
        sources = "; ".join(dict.fromkeys(source for row in item.rows for source in row.sources))
        return f"The {facts.label} of each case and structure was made elsewhere ({sources}); {absent}"
    definitions = sorted(
        {name for entry in item.comparable.entries for name in entry.definitions(facts.name)}
    )
    over = f"of {board.structure}" if board.structure else "averaged over structures"
    return (
        f"Each case was scored with {facts.label} ({', '.join(definitions)}) on the original image grid, "
        f"{over} within the case; {absent}"
    )


def _left_out(board: Leaderboard) -> bool:
    """Whether scores that are not defined came as blanks, as in tables made elsewhere."""
    columns = (column for record in board.records for column in record.scores.columns)
    return any(column.values[i] is None for column in columns for i in column.statuses)


def _pooled(board: Leaderboard) -> bool:
    return any(len(row.folds) > 1 or len(row.seeds) > 1 for row in board.rows)


def _draws(board: Leaderboard, analysis: Analysis) -> str:
    unit = "groups of cases" if any(item.comparable.groups for item in board.sets) else "cases"
    return f" from {analysis.resamples:,} resamples of the {unit}".replace(",", " ")


def margin_words(analysis: Analysis) -> str:
    """The margin of equivalence with its unit."""
    facts = analysis.quantity
    return f"±{analysis.margin:g} {facts.unit}".strip()


def _versions(board: Leaderboard) -> str:
    versions = sorted({record.code_version for record in board.records if record.code_version})
    return f"Evaluation and ranking: autoseg {', '.join(versions)}." if versions else ""


def explain(facts: Quantity) -> str:
    """A metric in one sentence, with its direction."""
    direction = "Higher is better." if facts.higher_is_better else "Lower is better."
    return f"{facts.label} is the {facts.explanation[0].lower()}{facts.explanation[1:]} {direction}"


def changes(rows: Sequence[Row]) -> list[tuple[Row, tuple[str, ...]]]:
    """Rows whose budget changed the published system, with what it changed."""
    return [(row, row.changes) for row in rows if row.changes]


def definitions_of(item: RankedSet) -> list[tuple[str, str]]:
    """Each metric's label and the identifier of its definition."""
    entry = item.comparable.entries[0]
    names = [name for name in item.comparable.metrics if name not in COUNTS]
    return [(quantity(name).label, ", ".join(entry.definitions(name))) for name in names]
