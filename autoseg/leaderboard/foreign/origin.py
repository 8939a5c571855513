"""Where scores made elsewhere come from: which trainer, data set and fold, as far as paths and names say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Dataset
from autoseg.data.folds import Fold
from autoseg.errors import UsageError
from autoseg.leaderboard.records.files import UNKNOWN_FOLD, Record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.names import whole_number

UNKNOWN = "unknown"
# nnU-Net's folders, and ours of several seeds.
_FOLD = r"fold_(\d+|all)(?:_seed_(\d+))?"


@dataclass(frozen=True)
class RawData:
    """A data set at hand, with its folds if it has been split.

    Attributes:
        dataset: the raw data set.
        folds: its folds; empty: it has not been split.
        pixel_sizes: mm by case, as its own runs are measured, for images of formats without a size.
    """

    dataset: Dataset
    folds: tuple[Fold, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, str]:
        """Case to group, where there are groups."""
        return self.dataset.groups


@dataclass(frozen=True)
class Origin:
    """Whose scores these are.

    Attributes:
        trainer, dataset, configuration, plan: names.
        fold: index or ``all``; None where neither the path nor the caller says.
        seed: the training's seed.
    """

    trainer: str
    dataset: str
    configuration: str = UNKNOWN
    plan: str = ""
    fold: int | str | None = None
    seed: int = 0

    @classmethod
    def of(cls, path: Path, trainer: str | None, dataset: str | None) -> Origin:
        """Read it off a path; nnU-Net's layout is DATASET/TRAINER__PLAN__CONFIGURATION/fold_0/...

        Args:
            path: a file or folder.
            trainer: its name, if the path's is not wanted.
            dataset: its name, if known.

        Raises:
            UsageError: if the data set is not known.
        """
        parts = path.resolve().parts
        run = next((match for part in parts if (match := re.fullmatch(r"(.+?)__(.+)__(.+)", part))), None)
        within = next((match for part in parts if (match := re.fullmatch(_FOLD, part))), None)
        fold = within[1] if within else None
        dataset = dataset or next((part for part in parts if re.fullmatch(r"Dataset\d+_.+", part)), None)
        if dataset is None:
            raise UsageError(
                f"The data set of {path} is not known. Name it: autoseg leaderboard DATASET --add {path}"
            )
        return cls(
            trainer=trainer or (run[1] if run else _own_name(path)),
            dataset=dataset,
            configuration=run[3] if run else UNKNOWN,
            plan=run[2] if run else "",
            fold=fold if (index := whole_number(fold)) is None else index,
            seed=(within and whole_number(within[2])) or 0,
        )

    def by_fold(self, cases: Iterable[str], raw: RawData | None) -> list[tuple[int | str, tuple[str, ...]]]:
        """Every fold that some of the cases belong to, with all cases that were to be predicted in it.

        A case of such a fold that is not among `cases` is missing. Where the data set has no folds, the fold
        is not known.
        """
        given = tuple(dict.fromkeys(cases))
        touched = [fold for fold in (raw.folds if raw else ()) if set(given) & set(fold.validation)]
        if self.fold is not None:
            expected = (fold.validation for fold in touched if fold.index == self.fold)
            return [(self.fold, next(expected, given))]
        return [(fold.index, fold.validation) for fold in touched] or [(UNKNOWN_FOLD, given)]

    def record(
        self, fold: int | str, scores: ScoreTable, settings: Mapping[str, Any], reason: str, source: Path
    ) -> Record:
        """A record of one fold."""
        return Record(
            run_id=f"{source.name}/{self.dataset}/{self.trainer}__{self.configuration}/fold_{fold}/{self.seed}",
            dataset=self.dataset,
            trainer=self.trainer,
            configuration=self.configuration,
            plan=self.plan,
            fold=fold,
            seed=self.seed,
            status="foreign",
            reason=reason,
            settings=settings,
            scores=scores,
            source=source,
        )


def _own_name(path: Path) -> str:
    """The last name in a path that says more than its place in a layout."""
    layout = r"fold_.+|validation|predictions?|labels?|summary|results?|postprocessed"
    names = [path.stem if path.is_file() else path.name, *(part.name for part in path.resolve().parents)]
    return next((name for name in names if name and not re.fullmatch(layout, name.lower())), path.name)
