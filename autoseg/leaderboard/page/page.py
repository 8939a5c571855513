"""The ranking as one offline HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from autoseg.drawing import axes
from autoseg.drawing.html import stylesheet, templates, unescaped
from autoseg.leaderboard.page import wording
from autoseg.leaderboard.page.overview import decided, overview
from autoseg.leaderboard.page.postprocessing_section import postprocessing_of
from autoseg.leaderboard.page.race_section import RaceReport, races_of
from autoseg.leaderboard.page.training_section import TrainingCurves, training_curves
from autoseg.leaderboard.page.view import Line, View, wanted_views
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.ranking.ranking import Leaderboard, RankedSet
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.table import cost_words, count_words, duration_words
from autoseg.system.files import write_text

if TYPE_CHECKING:
    import jinja2

    from autoseg.leaderboard.page.overlays import Overlay

# Further metrics and structures go into the page until it has this many characters.
_VIEWS_LIMIT = 11_000_000


@dataclass(frozen=True)
class Template:
    """A set by another metric or structure, rendered but not shown until a filter asks for it."""

    metric: str
    structure: str
    html: str


@dataclass(frozen=True)
class ShownSet:
    """A comparable set on the page."""

    view: View
    templates: tuple[Template, ...]

    @property
    def names(self) -> str:
        """Its rows."""
        return wording.listing([line.row.name for line in self.view.lines])


@dataclass(frozen=True)
class ByStructure:
    """Means of each structure."""

    names: tuple[str, ...]
    lines: tuple[tuple[Line, tuple[float, ...]], ...]


@dataclass(frozen=True)
class Section:
    """A data set on the page."""

    dataset: str
    facts: tuple[str, ...]
    data_warnings: tuple[str, ...]
    sets: tuple[ShownSet, ...]
    rows: tuple[Row, ...]
    unranked: tuple[Row, ...]
    changes: tuple[tuple[Row, tuple[str, ...]], ...]
    postprocessing: tuple[tuple[Row, tuple[str, ...]], ...]
    overlays: tuple[Overlay, ...]
    overlay_rule: str
    by_structure: ByStructure | None
    races: tuple[RaceReport, ...]
    trainings: tuple[TrainingCurves, ...]
    definitions: tuple[tuple[str, str], ...]
    fingerprint: str
    split: str


def write_page(leaderboard: Leaderboard, path: Path, overlays: Sequence[Overlay] = ()) -> Path:
    """Write the page as one file that needs no network, whole or not at all.

    Args:
        leaderboard: from `rank`.
        path: the HTML file to write.
        overlays: pictures, from `autoseg.leaderboard.page.page.overlays`.

    Returns:
        The path.
    """
    write_text(path, render(leaderboard, overlays))
    return path


def render(leaderboard: Leaderboard, overlays: Sequence[Overlay] = ()) -> str:
    """The page's text."""
    trainers = list(dict.fromkeys(row.name for row in leaderboard.rows))
    numbers = {name: i for i, name in enumerate(trainers)}
    environment = _environment(leaderboard)
    sections = [
        _section(leaderboard, dataset, numbers, [o for o in overlays if o.dataset == dataset])
        for dataset in leaderboard.datasets
    ]
    sections = _with_templates(sections, environment)
    shown = [(item.view.quantity.name, item.view.structure) for section in sections for item in section.sets]
    shown += [(t.metric, t.structure) for s in sections for item in s.sets for t in item.templates]
    wins = list(decided(leaderboard))
    metrics = dict.fromkeys(name for name, _ in shown)
    structures = dict.fromkeys(name for _, name in shown if name)
    return environment.get_template("page.html").render(
        title=_title(leaderboard),
        lead=_lead(leaderboard),
        css=stylesheet(),
        js=_source("page.js"),
        sections=sections,
        overview=overview(leaderboard, numbers, wins) if len(sections) > 1 else (),
        wins=wins,
        n_pairs=sum(len(item.analysis.pairs) for item in leaderboard.sets),
        trainers=trainers,
        numbers=numbers,
        metrics=[(name, quantity(name).label) for name in metrics],
        structures=list(structures),
        methods=wording.methods(leaderboard),
        n_records=len(leaderboard.records),
    )


def _environment(board: Leaderboard) -> jinja2.Environment:
    environment = templates(Path(__file__).parent)
    environment.globals.update(
        board=board,
        zone=axes.ZONE,
        count_words=count_words,
        duration_words=duration_words,
        cost_words=cost_words,
        p_words=wording.p_words,
        verdict=wording.verdict,
        thrifty=wording.thrifty,
        explain=wording.explain,
    )
    return environment


def _source(name: str) -> Markup:
    return unescaped(Path(__file__).parent / name)


def _section(
    board: Leaderboard, dataset: str, numbers: Mapping[str, int], overlays: Sequence[Overlay]
) -> Section:
    sets = board.of(dataset)
    rows = tuple(row for row in board.rows if row.dataset == dataset)
    first = rows[0].entry.first
    return Section(
        dataset=dataset,
        facts=tuple(wording.facts_line(sets[0])) if sets else (),
        data_warnings=data_warnings(rows),
        sets=tuple(ShownSet(View(item, numbers), ()) for item in sets),
        rows=rows,
        unranked=tuple(row for row in board.unranked if row.dataset == dataset),
        changes=tuple(wording.changes(rows)),
        postprocessing=postprocessing_of(rows),
        overlays=tuple(overlays),
        overlay_rule=overlays[0].rule if overlays else "",
        by_structure=_by_structure(sets[0], numbers) if sets else None,
        races=races_of(record for record in board.records if record.dataset == dataset),
        trainings=training_curves(rows, numbers),
        definitions=tuple(wording.definitions_of(sets[0])) if sets else (),
        fingerprint=first.fingerprint_hash or "",
        split=first.split_hash or "",
    )


def data_warnings(rows: Sequence[Row]) -> tuple[str, ...]:
    """What verification found in a data set that may spoil the models of its rows."""
    return tuple(dict.fromkeys(line for row in rows for line in row.data_warnings))


def _by_structure(item: RankedSet, numbers: Mapping[str, int]) -> ByStructure | None:
    names = item.comparable.structures
    if len(names) < 2 or item.analysis.structure is not None:
        return None
    metric = item.analysis.quantity.name
    means = [item.comparable.matrix(metric, name).mean(axis=1) for name in names]
    lines = View(item, numbers).lines
    return ByStructure(
        names, tuple((line, tuple(float(column[line.index]) for column in means)) for line in lines)
    )


def _with_templates(sections: Sequence[Section], environment: jinja2.Environment) -> list[Section]:
    """Render further metrics and structures, in turn over the data sets, while the page stays small."""
    parts: Any = environment.get_template("view.html").module

    def rendered(view: View, first: bool) -> str:
        return str(parts.full(view) if first or len(view.lines) > 1 else parts.alone(view))

    places = [(i, j) for i, section in enumerate(sections) for j in range(len(section.sets))]
    views = {(i, j): sections[i].sets[j].view for i, j in places}
    left = _VIEWS_LIMIT - sum(len(rendered(view, j == 0)) for (_, j), view in views.items())
    found: dict[tuple[int, int], list[Template]] = {place: [] for place in places}
    turns = zip_longest(*(product([place], wanted_views(view.item)[1:]) for place, view in views.items()))
    for place, (metric, structure) in (item for turn in turns for item in turn if item is not None):
        if left <= 0:
            break
        view = View(views[place].item.by(metric, structure), views[place].numbers)
        html = rendered(view, place[1] == 0)
        left -= len(html)
        if left > 0:
            found[place].append(Template(metric, structure or "", Markup(html)))
    return [
        replace(
            section, sets=tuple(ShownSet(views[i, j], tuple(found[i, j])) for j in range(len(section.sets)))
        )
        for i, section in enumerate(sections)
    ]


def _title(board: Leaderboard) -> str:
    datasets = board.datasets
    return datasets[0] if len(datasets) == 1 else f"Leaderboard over {len(datasets)} data sets"


def _lead(board: Leaderboard) -> str:
    ranked = len({row.name for row in board.rows if row.comparable_set is not None})
    by = board.quantity.label + (f" of {board.structure}" if board.structure else "")
    where = board.datasets[0] if len(board.datasets) == 1 else f"{len(board.datasets)} data sets"
    trainers = f"{ranked} trainer{'s' if ranked != 1 else ''}"
    return f"{trainers} on {where}, ranked by {by} on cases that were held out of training."
