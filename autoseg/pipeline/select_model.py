"""Which model to use: the cheapest among those that are as good as the best, as far as the cases can tell.

The rule of one standard error (Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3):
of all candidates whose mean out-of-fold Dice lies within one standard error of the best one's, the simplest.
Here a single model is simpler than two together, and of two the one that segments a case faster. nnU-Net's
``nnUNetv2_find_best_configuration`` takes the highest mean over single models and pairs, however small its
lead and whatever it costs; that choice is reported as well.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.errors import UsageError
from autoseg.leaderboard.ranking.comparable import Floats
from autoseg.leaderboard.ranking.ranking import RankedSet, rank
from autoseg.leaderboard.ranking.rows import Row
from autoseg.leaderboard.records.files import Record, load_records
from autoseg.leaderboard.trust_of_rows import trust_of
from autoseg.pipeline.model_pairs import Candidate
from autoseg.run import ENSEMBLE
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Selection:
    """Which models were chosen, among which, on which cases.

    Attributes:
        dataset: its name.
        cases: out-of-fold cases that all candidates predicted.
        groups: their groups, where there are any; a group counts as one observation.
        folds: the folds of these cases.
        candidates: best first.
        notes: what could not be considered, in sentences.
        areas: by candidate the area under the risk-coverage curve of its expected Dice, where it is known.
    """

    dataset: str
    cases: tuple[str, ...]
    groups: tuple[str, ...] | None
    folds: tuple[int | str, ...]
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()
    areas: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The highest mean, which is nnU-Net's choice."""
        return self.candidates[0]

    @property
    def standard_error(self) -> float:
        """Of the best one's mean."""
        return standard_error(self.best.scores, self.groups)

    @property
    def within(self) -> tuple[Candidate, ...]:
        """Those within one standard error of the best."""
        least = self.best.dice - self.standard_error
        return tuple(each for each in self.candidates if each.dice >= least - 1e-12)

    @property
    def chosen(self) -> Candidate:
        """The simplest of them."""
        return min(self.within, key=lambda each: each.simplicity)

    @property
    def command(self) -> str:
        """What segments new images with it."""
        first, *more = self.chosen.models
        parts = ["autoseg", "predict", str(first), "INPUT", "OUTPUT"]
        return shlex.join(parts + [part for model in more for part in ("--model", str(model))])

    @property
    def why(self) -> tuple[str, ...]:
        """The reasons, in sentences."""
        best, chosen, error = self.best, self.chosen, self.standard_error
        units = f"{len(set(self.groups))} groups" if self.groups else f"{len(self.cases)} cases"
        said = [
            f"The highest mean out-of-fold Dice is {best.dice:.4f} ({best.name}); its standard error over "
            f"{units} is {error:.4f}.",
            f"{len(self.within)} of {len(self.candidates)} candidates lie within it, at "
            f"{best.dice - error:.4f} or above.",
        ]
        if chosen is best:
            said.append(f"{best.name} is also the simplest of them.")
        else:
            gap = best.scores - chosen.scores
            paired = standard_error(gap, self.groups)
            said.append(
                f"{chosen.name} is the simplest of them: {_cost(chosen)} against {_cost(best)}. On the same "
                f"cases it is behind by {gap.mean():.4f} (standard error of the difference {paired:.4f})."
            )
            said.append(f"nnU-Net's rule, the highest mean, would take {best.name}.")
        said += self._knows_better()
        said.append("It was chosen by these very cases: expect a little less on new ones.")
        return tuple(said)

    def _knows_better(self) -> list[str]:
        """Whether another one within the standard error says better which of its predictions to distrust."""
        mine = self.areas.get(self.chosen.name)
        known = [each for each in self.within if each.name in self.areas]
        if mine is None or not known:
            return []
        other = min(known, key=lambda each: self.areas[each.name])
        if self.areas[other.name] >= mine:
            return []
        return [
            f"{other.name} knows better when it is wrong: a risk-coverage area of "
            f"{self.areas[other.name]:.4f} against {mine:.4f}, at a Dice of {other.dice:.4f} against "
            f"{self.chosen.dice:.4f}. Where the cases that it flags are looked at, it can be preferred."
        ]

    def to_json(self) -> dict[str, Any]:
        """What ``autoseg select --json`` prints."""
        return {
            "dataset": self.dataset,
            "chosen": self.chosen.name,
            "models": [str(model) for model in self.chosen.models],
            "command": self.command,
            "best": self.best.name,
            "standard_error": self.standard_error,
            "folds": list(self.folds),
            "n_cases": len(self.cases),
            "why": list(self.why),
            "notes": list(self.notes),
            "candidates": [
                {
                    "name": each.name,
                    "models": [str(model) for model in each.models],
                    "dice": each.dice,
                    "within_one_standard_error": each in self.within,
                    "inference_s_per_case": each.seconds,
                    "parameters": each.parameters,
                    "risk_coverage_area": self.areas.get(each.name),
                }
                for each in self.candidates
            ],
        }


def select_model(
    workspace: Workspace,
    dataset: str,
    *,
    pairs: int = 3,
    device: str = "auto",
    workers: int | None = None,
) -> Selection:
    """Choose among the models of a data set, and pairs of the best of them.

    Args:
        workspace: where the runs lie.
        dataset: a name, an id or a raw folder.
        pairs: number of best models that are also tried two by two; 0 or 1: none. Their averaged
            probabilities on the out-of-fold cases are computed once and stored.
        device: where to compute them.
        workers: processes that evaluate.

    Raises:
        UsageError: if there is no model with out-of-fold scores.
    """
    from autoseg.data.dataset import load_dataset

    loaded = load_dataset(workspace.find_raw(dataset))
    place = workspace.results_of(loaded.name)
    records = load_records(place) if place.is_dir() else ()
    ranked = rank(records).of(loaded.name) if records else ()
    if not ranked:
        raise UsageError(
            f"{loaded.name} has no run with out-of-fold scores in {place}. Train first: "
            f"autoseg plan-and-train {dataset}"
        )
    main = ranked[0]
    singles, notes = _singles(main)
    if not singles:
        raise UsageError(f"No model of {loaded.name} is there any more: {' '.join(notes)}")
    for other in ranked[1:]:
        names = ", ".join(row.name for row in other.rows)
        notes.append(f"Not compared: {names}, {other.comparable.difference}.")
    found = [candidate for candidate, _ in singles]
    if pairs > 1 and len(singles) > 1:
        from autoseg.pipeline.model_pairs import pair_candidates

        found += pair_candidates(
            loaded, workspace, singles[:pairs], main.comparable.cases, device=device, workers=workers
        )
    return Selection(
        dataset=loaded.name,
        cases=main.comparable.cases,
        groups=main.comparable.groups,
        folds=main.rows[0].folds,
        candidates=tuple(sorted(found, key=lambda each: (-round(each.dice, 12), each.simplicity))),
        notes=tuple(notes),
        areas={row.name: trust.aurc["expected"] for row in main.rows if (trust := trust_of(row.entry))},
    )


def standard_error(scores: Floats, groups: Sequence[str] | None = None) -> float:
    """Of a mean over cases; cases of one group are averaged first, since they are not independent.

    With a single observation nothing is known of the spread: 0, so that only the best itself is within it.
    """
    if groups is not None:
        names = np.array(groups)
        scores = np.array([scores[names == name].mean() for name in dict.fromkeys(groups)])
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def _singles(main: RankedSet) -> tuple[list[tuple[Candidate, tuple[Record, ...]]], list[str]]:
    """The models of the main comparable set, best first, each with one record a fold."""
    found, notes = [], []
    matrix = main.comparable.matrix("dice")
    index = {entry.name: number for number, entry in enumerate(main.comparable.entries)}
    for row in main.rows:
        folder, records = _model_of(row)
        if folder is None:
            notes.append(f"{row.name} was made elsewhere, or its model is gone: nothing to predict with.")
            continue
        if len(row.seeds) > 1:
            notes.append(f"{row.name} has {len(row.seeds)} seeds: scored by their mean, used with the first.")
        scores = np.asarray(matrix[index[row.name]], dtype=np.float64)
        cost = row.cost("inference_s_per_case"), row.cost("parameters")
        found.append((Candidate(row.name, (folder,), scores, *cost), records))
    return found, notes


def _model_of(row: Row) -> tuple[Path | None, tuple[Record, ...]]:
    """The folder to predict with, and its records."""
    seed = min(row.seeds, default=0)
    records = tuple(record for record in row.entry.records if record.seed == seed)
    sources = [record.source for record in records if record.source is not None]
    if row.foreign or not sources:
        return None, ()
    folder = sources[0].parent.parent
    there = (folder / ENSEMBLE).is_file() or any(folder.glob("fold_*/checkpoint_*.pth"))
    return (folder, records) if there else (None, ())


def _cost(candidate: Candidate) -> str:
    models = "one model" if len(candidate.models) == 1 else f"{len(candidate.models)} models"
    seconds = "" if candidate.seconds is None else f", {candidate.seconds:.3g} s a case"
    return models + seconds


def describe_selection(selection: Selection) -> RenderableType:
    """The candidates as a table, and why one of them is chosen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("candidate", "Dice", "within 1 SE", "s a case", "parameters", box=None)
    for each in selection.candidates:
        seconds = "" if each.seconds is None else f"{each.seconds:.3g}"
        size = "" if each.parameters is None else f"{each.parameters / 1e6:.1f} M"
        within = "yes" if each in selection.within else ""
        style = "bold" if each is selection.chosen else ""
        table.add_row(Text(each.name, style), f"{each.dice:.4f}", within, seconds, size)
    sentences = [Text(sentence) for sentence in (*selection.why, *selection.notes)]
    return Group(table, Text(""), Text(f"Chosen: {selection.chosen.name}", "bold"), *sentences)
