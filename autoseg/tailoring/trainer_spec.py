"""The trainer spec: a trainer with its options, initial weights, fine-tuning and number of cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.data.few_cases import parse_cases
from autoseg.errors import UsageError
from autoseg.planner.training_spec import FewCases, TrainingSpec
from autoseg.system.option_values import Anything
from autoseg.tailoring.plan_of_model import PlanOfModel, plan_of_model
from autoseg.tailoring.spec_text import NORMALIZATION, START, check_options, read_spec, write_spec
from autoseg.transfer.initialisation import IMAGENET, RANDOM, Initialisation
from autoseg.transfer.policy import FineTunePolicy

__all__ = ["NORMALIZATION", "START", "Choice", "Start"]


@dataclass(frozen=True)
class Choice:
    """A trainer with the options that a user gave it: ``brainunet:width=16``.

    Raises:
        UsageError: for an option that the trainer does not have, or a value that is not accepted.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.options:
            check_options(self.name, self.options)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read ``NAME`` or ``NAME:option=value:option=value``.

        Raises:
            UsageError: for an unknown trainer or option, one that is given twice, or a value that is not
                accepted; see `autoseg.tailoring.spec_text`.
        """
        return cls(*read_spec(text))

    def starting(self, **start: str | None) -> Choice:
        """The same with what it starts from, where that is given and it has none of its own."""
        given = {key: Anything().read(value) for key, value in start.items() if value is not None}
        return Choice(self.name, {**given, **self.options})

    @property
    def trainer(self) -> str:
        """The name of the trainer's class, by which runs and rows go; `name` may be the path of its file.

        Raises:
            UsageError: if it is a file without a trainer.
        """
        return plugins.trainer_name(self.name)

    @property
    def identity(self) -> str:
        """The name with, of what are files, their contents: what makes two trainers the same."""
        if not self.name.endswith(".py"):
            return self.name
        network = plugins.trainer_class(self.name).architecture or ""
        files = [self.name, *([network] if network.endswith(".py") else [])]
        return "@".join([self.trainer, *(plugins.PluginFile.of(file).sha256 for file in files)])

    @property
    def row_options(self) -> dict[str, Any]:
        """The options as a leaderboard's row has them: of a file of weights its name and content."""
        options = dict(self.options)
        start = Start.of(self)
        source = start.init
        if "init" in options and Path(source.source).exists():
            options["init"] = f"{Path(source.source).name}@{source.identity()['source'][:8]}"
        if start.plan_from is not None and options["plan_from"] != "init":
            options["plan_from"] = f"{start.plan_from.model}@{start.plan_from.identity[:8]}"
        return options

    @property
    def row_name(self) -> str:
        """Trainer and options, without the folder that a trainer's file lies in."""
        return write_spec(self.trainer, self.options)

    def __str__(self) -> str:
        return write_spec(self.name, self.options)


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Attributes:
        init: where the first weights come from.
        finetune: what is frozen; None: nothing.
        cases: number (int) or part (float) of the training cases; None: all.
        plan_from: the model whose plan is taken over; None: the plan is made for the data set.
    """

    init: Initialisation = field(default_factory=Initialisation)
    finetune: FineTunePolicy | None = None
    cases: int | float | None = None
    plan_from: PlanOfModel | None = None

    @classmethod
    def of(cls, choice: Choice) -> Start:
        """Read the options of a choice: ``init=FILE:finetune=ft_decoder+frozen_norm=eval:cases=10%``.

        The plan is that of the model that ``plan_from`` names; ``plan_from=init`` is the one of `init`.

        Raises:
            PlanError: if there is no plan where `plan_from` says.
            RunError: if there are no weights where `init` says.
            UsageError: for an unknown strategy, or what is not a number of cases.
        """
        options = choice.options
        init = Initialisation.parse(str(options.get("init", RANDOM)))
        return cls(
            init,
            # Within an option, its own options are joined by a plus: the colon divides the choice's.
            FineTunePolicy.parse(str(options["finetune"]).replace("+", ":"))
            if "finetune" in options
            else None,
            parse_cases(str(options["cases"])) if "cases" in options else None,
            _plan_from(str(options["plan_from"]), init) if "plan_from" in options else None,
        )

    @property
    def key(self) -> dict[str, Any]:
        """What makes two starts the same; empty for random weights, all of them trained, on all cases."""
        found: dict[str, Any] = {} if self.init == Initialisation() else {"init": self.init.identity()}
        found |= {} if self.finetune is None else {"finetune": str(self.finetune)}
        found |= {} if self.plan_from is None else {"plan_from": self.plan_from.identity}
        return found if self.cases is None else {**found, "cases": self.cases}

    def applied(self, spec: TrainingSpec) -> TrainingSpec:
        """The same training with this start; its seed draws the cases."""
        if self.init != Initialisation():
            spec = replace(spec, init=self.init.to_json(), init_is_trained_model=self.init.is_trained_model)
        return replace(
            spec,
            finetune=None if self.finetune is None else str(self.finetune),
            cases=None if self.cases is None else FewCases(self.cases, spec.seed),
        )

    @property
    def words(self) -> list[str]:
        """For the row of a leaderboard."""
        words = [] if self.init == Initialisation() else [f"weights from {Path(self.init.source).name}"]
        words += [] if self.finetune is None else [f"fine-tuned {self.finetune}"]
        if self.cases is not None:
            few = f"{100 * self.cases:g} %" if isinstance(self.cases, float) else str(self.cases)
            words.append(f"{few} of the training cases")
        return words


def _plan_from(text: str, init: Initialisation) -> PlanOfModel:
    if text != "init":
        return plan_of_model(Path(text).absolute())
    if init.source in (RANDOM, IMAGENET):
        raise UsageError(
            f"The plan is to come from init, and init is {init.source}, which has none. Give a model to "
            f"start from (init=MODEL), or name the model whose plan is meant: plan_from=MODEL."
        )
    return plan_of_model(Path(init.source))
