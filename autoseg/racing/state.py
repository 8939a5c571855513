"""A race on disk: its rules, and every rung that is decided. A race that was killed goes on after them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.errors import AutosegError
from autoseg.racing.race import Rules, Rung, Seen, Stretch
from autoseg.racing.verdict import Verdict
from autoseg.system.files import digest, read_json, write_json

FILE_NAME = "race.json"
SCHEMA = 1


@dataclass(frozen=True)
class RaceFile:
    """The file of a race.

    Attributes:
        path: its place, in the race's folder.
        about: what makes it this race: data set, trainers, folds, seeds, time, rules.
    """

    path: Path
    about: Mapping[str, Any]

    @classmethod
    def of(cls, results: Path, about: Mapping[str, Any]) -> RaceFile:
        """The file of a race among a data set's results; the same race, the same file."""
        return cls(results / "races" / digest(about)[:8] / FILE_NAME, about)

    @property
    def key(self) -> str:
        """Tells it from other races on the same data."""
        return self.path.parent.name

    @property
    def folder(self) -> Path:
        """Where the models of the rungs lie."""
        return self.path.parent

    def save(self, rungs: Sequence[Rung]) -> None:
        """Write the rungs, whole or not at all."""
        content = {"schema": SCHEMA, **self.about, "looks": [rung_to_json(rung) for rung in rungs]}
        write_json(self.path, content)

    def load(self) -> tuple[Rung, ...]:
        """The rungs that are decided; none where there is no file, or one of another version."""
        with contextlib.suppress(AutosegError, KeyError, TypeError):
            content = read_json(self.path)
            if content["schema"] == SCHEMA:
                return tuple(rung_from_json(entry) for entry in content["looks"])
        return ()


def about_race(
    dataset: str,
    fingerprint: str,
    split: str,
    trainers: Sequence[str],
    folds: Sequence[int],
    rules: Rules,
    **more: Any,
) -> dict[str, Any]:
    """What makes a race this race, in JSON."""
    return {
        "dataset": dataset,
        "fingerprint": fingerprint,
        "split": split,
        "trainers": list(trainers),
        "folds": list(folds),
        # A rule that is not used is left out: a new rule makes no new race of an old one.
        "rules": {
            **{
                key: value
                for key, value in asdict(rules).items()
                if value is not None and (key, value) != ("spend", False)
            },
            "rungs": list(rules.rungs),
        },
        **more,
    }


def rung_to_json(rung: Rung) -> dict[str, Any]:
    """A rung without infinities, which JSON does not have."""
    stretch = {key: _finite(value) for key, value in asdict(rung.stretch).items()}
    trainers = {
        name: {
            **asdict(rung.verdicts[name]),
            "spent_s": seen.spent_s,
            "dice": [float(value) for value in seen.scores],
        }
        for name, seen in rung.seen.items()
    }
    return {
        "stretch": stretch,
        "leader": rung.leader,
        "trainers": trainers,
        "failed": dict(rung.failed),
        "failed_s": dict(rung.failed_s),
    }


def rung_from_json(content: Mapping[str, Any]) -> Rung:
    """The other way."""
    stretch = Stretch(**{key: _infinite(value) for key, value in content["stretch"].items()})
    verdicts, seen = {}, {}
    for name, entry in content["trainers"].items():
        own = dict(entry)
        seen[name] = Seen(np.array(own.pop("dice"), dtype=np.float64), own.pop("spent_s"))
        verdicts[name] = Verdict(**own)
    # Older races do not tell what failures took.
    return Rung(stretch, content["leader"], verdicts, seen, content["failed"], content.get("failed_s", {}))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else value


def _infinite(value: Any) -> Any:
    return math.inf if value is None else value
