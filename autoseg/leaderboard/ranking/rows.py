"""One line of the ranking."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from autoseg.leaderboard.quantities import SPECIAL
from autoseg.leaderboard.ranking.entries import Entry, case_words
from autoseg.leaderboard.records.files import Status
from autoseg.leaderboard.statistics import Interval


@dataclass(frozen=True)
class Row:
    """One line of the ranking: a trainer on a data set, its folds and seeds pooled.

    Attributes:
        rank: by the mean, within its comparable set; None without scores or without anyone to compare with.
        tied_with_best: the adjusted test does not tell it from the set's best; None where there is no rank.
        dataset, trainer, configuration: what was trained; `trainer` with its options.
        name: what the page calls it: the trainer, and whatever tells it from another row.
        folds, seeds: folds and seeds that have scores.
        status, reason: see `Record`.
        comparable_set: rows with the same number may be compared; 1 is the data set's first.
        n_cases, n_missing, n_empty: cases, cases without a prediction, cases with a rightly empty structure.
        means: metric to its mean over cases.
        intervals: metric to the interval of its mean; always there for the ranked metric.
        entry: the records behind it.
        leads_in: share of the bootstrap draws of the cases in which it leads; None without anyone to compare.
        rank_interval: the central 95 % of its ranks in these draws.
    """

    rank: int | None
    tied_with_best: bool | None
    dataset: str
    trainer: str
    configuration: str
    name: str
    folds: tuple[int | str, ...]
    seeds: tuple[int, ...]
    status: Status
    reason: str
    comparable_set: int | None
    n_cases: int
    n_missing: int
    n_empty: int
    means: dict[str, float]
    intervals: dict[str, Interval]
    entry: Entry
    leads_in: float | None = None
    rank_interval: Interval | None = None

    @property
    def changes(self) -> tuple[str, ...]:
        """What a budget changed in the published system, over all runs."""
        runs = (*self.entry.records, *self.entry.without)
        return tuple(dict.fromkeys(change for record in runs for change in record.changes))

    @property
    def data_warnings(self) -> tuple[str, ...]:
        """What verification found in the data that may spoil a model, over all runs."""
        runs = (*self.entry.records, *self.entry.without)
        return tuple(dict.fromkeys(line for record in runs for line in record.data_warnings))

    @property
    def training_cases(self) -> float | None:
        """How many cases it was trained on, over all runs; None where that is not known."""
        return self.entry.training_cases

    @property
    def case_words(self) -> str:
        """The same in words."""
        return case_words(self.training_cases)

    @property
    def foreign(self) -> bool:
        """Whether some of its scores were made elsewhere."""
        return any(record.status == "foreign" for record in self.entry.records)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where foreign scores come from, in words."""
        foreign = (record.reason for record in self.entry.records if record.status == "foreign")
        return tuple(dict.fromkeys(foreign))

    def cost(self, name: str) -> float | None:
        """A cost, as its mean over the row's runs; None where no run measured it."""
        return mean_cost(self.entry, name)

    @property
    def energy_how(self) -> str | None:
        """Whether all its runs read counters (``measured``) or some ``estimated``; None: neither."""
        hows = {record.cost.energy_how for record in (*self.entry.records, *self.entry.without)} - {None}
        return None if not hows else "measured" if hows == {"measured"} else "estimated"

    def to_json(self) -> dict[str, Any]:
        """The row as the command line's ``--json`` gives it."""
        dice = self.intervals.get("dice")
        return {
            "rank": self.rank,
            "tied_with_best": self.tied_with_best,
            "dataset": self.dataset,
            "trainer": self.trainer,
            "configuration": self.configuration,
            "folds": list(self.folds),
            "seed": self.seeds[0] if len(self.seeds) == 1 else list(self.seeds),
            "status": self.status,
            "n_cases": self.n_cases,
            "n_missing": self.n_missing,
            "dice": self.means.get("dice"),
            "dice_ci": [dice.low, dice.high] if dice else None,
            "iou": self.means.get("iou"),
            "nsd": self.means.get("nsd"),
            "hd95_mm": self._in_mm("hd95"),
            **{
                name: self.cost(name)
                for name in ("parameters", "checkpoint_mb", "train_s", "budget_s", "inference_s_per_case")
            },
            **{name: self.cost(name) for name in ("energy_kwh", "g_co2")},
            "energy_how": self.energy_how,
            "leads_in": self.leads_in,
            "rank_ci": [self.rank_interval.low, self.rank_interval.high] if self.rank_interval else None,
            "changes": list(self.changes),
            "reason": self.reason,
            "data_warnings": list(self.data_warnings),
            "comparable_set": self.comparable_set,
            "training_cases": self.training_cases,
            **{f"{name}_mm": self._in_mm(name) for name in SPECIAL},
        }

    def _in_mm(self, metric: str) -> float | None:
        """A length; None where it is in pixels."""
        return self.means.get(metric) if self.entry.length_unit == "mm" else None


def mean_cost(entry: Entry, name: str) -> float | None:
    """Mean of a cost over the runs that measured it; parameters stay whole numbers."""
    values = [getattr(record.cost, name) for record in (*entry.records, *entry.without)]
    known = [value for value in values if value is not None]
    if not known:
        return None
    mean = fmean(known)
    return round(mean) if isinstance(known[0], int) and mean == round(mean) else mean
