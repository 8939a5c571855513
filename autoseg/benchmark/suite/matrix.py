"""The cells of a suite: every data set with every trainer, fold and seed that it asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.benchmark.suite.model import Budget
from autoseg.benchmark.suite.suite import Axes, DatasetEntry, Pattern, Suite
from autoseg.errors import UsageError
from autoseg.system.files import digest

if TYPE_CHECKING:
    import torch

    from autoseg.tailoring.request import Request
    from autoseg.tailoring.trainer_spec import Choice


# ``all``, a number or a part such as ``10%``.
CaseCount = str | int
# From a data set's entry to its name and its number of folds.
DatasetFacts = Callable[[DatasetEntry], tuple[str, int]]


@dataclass(frozen=True)
class MatrixCell:
    """One run of a suite, as text and numbers: what it takes to name it, not to run it.

    Attributes:
        dataset: the data set's name.
        source: what the workspace finds it by: the name, an id or a path.
        groups: path of the table of case and group, or empty.
        trainer: trainer spec, as the command line takes it.
        fold: the fold's index.
        seed: seed of initialisation, sampling and augmentation.
        init: ``random``, ``imagenet`` or a checkpoint.
        finetune: strategy, or empty.
        cases: number or part of the training cases, or ``all``.
        run_s: wall clock of the run; None: epochs or steps decide.
        epochs: instead of the trainer's own.
        configuration: ``auto`` or a name.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        memory_gb: the planner's target.
        steps: length of the training, instead of a budget or epochs.
        small: whether batch, width and patch are the smallest.
        accept: findings of the verification that are intended, with commas between.
    """

    dataset: str
    source: str
    groups: str
    trainer: str
    fold: int
    seed: int = 0
    init: str = "random"
    finetune: str = ""
    cases: CaseCount = "all"
    run_s: float | None = None
    epochs: int | None = None
    configuration: str = "auto"
    device: str = "auto"
    memory_gb: float | None = None
    steps: int | None = None
    small: bool = False
    accept: str = ""

    @property
    def variant(self) -> MatrixCell:
        """What all folds share: the plan is fitted to this."""
        return replace(self, fold=-1)

    @property
    def name(self) -> str:
        """Trainer and, where they are not the usual ones, seed, initialisation and number of cases."""
        own, *options = self.trainer.split(":")
        parts = [":".join([trainer_label(own), *options])]
        if self.seed:
            parts.append(f"seed {self.seed}")
        if self.init != "random":
            parts.append(f"from {Path(self.init).name}")
        if self.finetune:
            parts.append(self.finetune)
        if self.cases != "all":
            parts.append(f"{self.cases} cases")
        if self.configuration != "auto":
            parts.append(self.configuration)
        return ", ".join(parts)

    @property
    def key(self) -> str:
        """Eight letters that no other cell of a benchmark has."""
        named = self.to_json()
        if not self.accept:  # came later: a benchmark that began without it keeps its names
            del named["accept"]
        return digest(named)[:8]

    def to_json(self) -> dict[str, Any]:
        """All fields; the time of a run has the name there that records have for it."""
        named = asdict(self)
        return {("budget_s" if name == "run_s" else name): value for name, value in named.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MatrixCell:
        """What `to_json` gave."""
        return cls(**{("run_s" if name == "budget_s" else name): value for name, value in document.items()})


def cells(suite: Suite, facts_of: DatasetFacts) -> tuple[MatrixCell, ...]:
    """All cells of a suite, data set by data set, each once; shares of a budget for all are fixed here.

    Args:
        suite: the suite, as read from its file.
        facts_of: the name and the number of folds of a data set.

    Raises:
        UsageError: if nothing is left, or a fold does not exist.
    """
    found: dict[MatrixCell, None] = {}
    for matrix in (suite, *suite.include):
        crossed = [cell for cell in _crossed(matrix, suite, facts_of) if not _excluded(cell, suite.exclude)]
        if matrix.budget is not None and matrix.budget.for_all is not None and crossed:
            share = matrix.budget.for_all / len(crossed)
            crossed = [replace(cell, run_s=share) for cell in crossed]
        found.update(dict.fromkeys(crossed))
    if not found:
        raise UsageError(f"The suite {suite.name} has no cell left. Exclude less.")
    order = {name: i for i, name in enumerate(dict.fromkeys(cell.dataset for cell in found))}
    return tuple(sorted(found, key=lambda cell: order[cell.dataset]))


def _crossed(matrix: Axes, suite: Suite, facts_of: DatasetFacts) -> Iterator[MatrixCell]:
    budget = matrix.budget or Budget.model_construct()
    for entry in matrix.datasets:
        name, number = facts_of(entry)
        axes = (
            matrix.trainers,
            matrix.init,
            matrix.finetune,
            matrix.cases,
            matrix.seeds,
            _folds(matrix, name, number),
        )
        for trainer, init, finetune, count, seed, fold in itertools.product(*axes):
            yield MatrixCell(
                dataset=name,
                source=entry.dataset,
                groups=str(entry.groups or ""),
                trainer=trainer,
                fold=fold,
                seed=seed,
                init=init,
                finetune="" if finetune == "none" else finetune,
                cases=count,
                run_s=budget.per_run,
                epochs=matrix.epochs,
                configuration=matrix.configuration,
                device=suite.device,
                memory_gb=suite.memory,
                steps=budget.steps,
                small=budget.small,
                accept=",".join(suite.accept),
            )


def _folds(matrix: Axes, name: str, number: int) -> Sequence[int]:
    if matrix.folds == "all":
        return range(number)
    if beyond := [fold for fold in matrix.folds if fold >= number]:
        raise UsageError(
            f"There is no fold {', '.join(map(str, beyond))}; {name} has folds 0 to {number - 1}. "
            f"Write folds: all, or leave the data set out."
        )
    return matrix.folds


def _excluded(cell: MatrixCell, patterns: Sequence[Pattern]) -> bool:
    return any(_fits(cell, pattern) for pattern in patterns)


def _fits(cell: MatrixCell, pattern: Pattern) -> bool:
    """Whether a cell fits every key of a pattern; a trainer without options stands for all its variants."""
    name = trainer_label(cell.trainer)
    tests = (
        (pattern.datasets, lambda text: fnmatchcase(cell.dataset, text) or cell.source == text),
        (pattern.trainers, lambda text: fnmatchcase(cell.trainer, text) or fnmatchcase(name, text)),
        (pattern.init, lambda text: fnmatchcase(cell.init, text)),
        (pattern.folds, lambda value: cell.fold == value),
        (pattern.seeds, lambda value: cell.seed == value),
        (pattern.cases, lambda value: cell.cases == value),
    )
    return all(any(map(test, wanted)) for wanted, test in tests if wanted is not None)


def trainer_label(text: str) -> str:
    """The trainer's name without options; of a file the file's, which nothing has to be read for."""
    name = text.partition(":")[0]
    return Path(name).stem if name.endswith(".py") else name


def choice_of(cell: MatrixCell) -> Choice:
    """The trainer with its options and with what it starts from."""
    from autoseg.tailoring.trainer_spec import Choice

    return Choice.parse(cell.trainer).starting(
        init=None if cell.init == "random" else cell.init,
        finetune=cell.finetune or None,
        cases=None if cell.cases == "all" else str(cell.cases),
    )


def request_of(cell: MatrixCell, device: torch.device) -> Request:
    """What a run has to keep to."""
    from autoseg.tailoring.request import Request

    return Request(
        device,
        cell.memory_gb,
        cell.run_s,
        cell.epochs,
        cell.configuration,
        cell.seed,
        steps=cell.steps,
        small=cell.small,
    )
