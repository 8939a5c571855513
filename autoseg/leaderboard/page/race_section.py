"""What a race decided, for the page: every look with its evidence and its decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.errors import DataError
from autoseg.leaderboard import statistics
from autoseg.leaderboard.page.wording import p_words
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import group_of_each
from autoseg.leaderboard.statistics import Interval
from autoseg.system.files import read_json

FILE_NAME = "race.json"
RESAMPLES = 2000


@dataclass(frozen=True)
class Decision:
    """One trainer at one look.

    Attributes:
        trainer: the trainer spec.
        dice: mean over the held-out cases.
        interval: its 95 % interval; None for a single case or group.
        behind: difference to the leader, in Dice.
        p: p value of the paired test against the leader, after Holm, in words; empty for the leader.
        words: the decision, in words.
        stopped: whether that was its end.
    """

    trainer: str
    dice: float
    interval: Interval | None
    behind: float
    p: str
    words: str
    stopped: bool


@dataclass(frozen=True)
class Look:
    """One look at the field.

    Attributes:
        number: from 1.
        seconds: training time that every run had had; None at the end.
        decisions: best first.
        failed: the trainers that broke off on the way, with their errors.
    """

    number: int
    seconds: float | None
    decisions: tuple[Decision, ...]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RaceReport:
    """A race on the page.

    Attributes:
        dataset: the data set on which it was run.
        winner: the best at the end.
        run_s: wall clock of a run at its full time.
        spent_s: wall clock of training and prediction of all runs.
        full_s: what all runs would have had without a race.
        freed: ``share`` or ``save``.
        looks: in order.
    """

    dataset: str
    winner: str
    run_s: float
    spent_s: float
    full_s: float
    freed: str
    looks: tuple[Look, ...]


def races_of(records: Iterable[Record]) -> tuple[RaceReport, ...]:
    """The races that records come from, each once.

    Args:
        records: those that were raced lie beside their race's file, or below it.
    """
    found: dict[Path, list[Record]] = {}
    for record in records:
        if (path := _file_of(record)) is not None:
            found.setdefault(path, []).append(record)
    races = (_read(path, members) for path, members in found.items())
    return tuple(race for race in races if race is not None)


def _file_of(record: Record) -> Path | None:
    _, raced, key = record.plan.partition("_race")
    if not raced or record.source is None:
        return None
    folders = record.source.resolve().parents
    return next((path for folder in folders if (path := folder / "races" / key / FILE_NAME).is_file()), None)


def _read(path: Path, members: Sequence[Record]) -> RaceReport | None:
    """The race of a file; None for a file of another version."""
    try:
        content = read_json(path)
        looks = tuple(_look(entry, _groups(members)) for entry in content["looks"])
        runs = len(content["trainers"]) * len(content["folds"]) * len(content["seeds"])
        spent = sum(
            sum(each["spent_s"] for each in entry["trainers"].values())
            + sum(entry.get("failed_s", {}).values())
            for entry in content["looks"]
        )
        last = content["looks"][-1]["leader"]
        return RaceReport(
            content["dataset"],
            last,
            content["run_s"],
            spent,
            runs * content["run_s"],
            content["rules"]["freed"],
            looks,
        )
    except (DataError, KeyError, IndexError, TypeError):
        return None


def _groups(members: Sequence[Record]) -> tuple[str, ...] | None:
    """The group of each held-out case, in the order of the cases' names."""
    known: dict[str, str] = {}
    for record in members:
        table = record.scores
        known.update(zip(table.cases, table.groups or table.cases, strict=True))
    return group_of_each(sorted(known), known)


def _look(entry: Mapping[str, Any], groups: Sequence[str] | None) -> Look:
    ordered = sorted(entry["trainers"].items(), key=lambda item: -float(np.mean(item[1]["dice"])))
    ends = entry["stretch"]["until_s"] is None
    decisions = tuple(_decision(name, own, entry["leader"], ends, groups) for name, own in ordered)
    return Look(
        entry["stretch"]["rung"] + 1, entry["stretch"]["until_s"], decisions, tuple(entry["failed"].items())
    )


def _decision(
    name: str, own: Mapping[str, Any], leader: str, ends: bool, groups: Sequence[str] | None
) -> Decision:
    scores = np.array(own["dice"], dtype=np.float64)
    if groups is not None and len(groups) != len(scores):
        groups = None
    leads = name == leader
    if ends:
        words = "wins" if leads else "at the end"
    elif own["drop"]:
        words = "stopped: " + _why(own)
    else:
        words = "goes on" + (", leads" if leads else ", for there is time" if own.get("capped") else "")
    return Decision(
        name,
        float(scores.mean()),
        _interval(scores, groups),
        float(own["behind"]),
        "" if leads else p_words(float(own["p"])),
        words,
        bool(own["drop"]),
    )


def _why(own: Mapping[str, Any]) -> str:
    if own.get("capped"):
        return "no time left for it"
    return "not expected to come out ahead" if own["tied"] else "clearly behind"


def _interval(scores: np.ndarray[Any, np.dtype[np.float64]], groups: Sequence[str] | None) -> Interval | None:
    if len(set(groups) if groups else scores) < 2:
        return None
    weights = statistics.resample(len(scores), groups, RESAMPLES)
    return statistics.mean_intervals(scores[None], weights, groups)[0]
