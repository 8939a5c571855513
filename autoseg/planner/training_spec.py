"""What a plan says of the one training that it is made for; the trainer reads nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autoseg.errors import PlanError
from autoseg.planner.configuration import plain
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.plugins import PluginFile

# Of a cascade's plan, the entry of its provenance for its first training.
FIRST_STAGE = "first_stage"


@dataclass(frozen=True)
class FewCases:
    """Some of the training cases.

    Attributes:
        size: an int is a number of cases, a float (0 to 1) a fraction of them.
        seed: fixes the draw.
    """

    size: int | float
    seed: int


@dataclass(frozen=True)
class TrainingSpec:
    """How one network is trained on one data set; the fold is not part of it.

    Attributes:
        trainer: the name of its class; empty: not known.
        trainer_file: where that class is found, if it is a file of somebody's own.
        options: the options that a user gave the trainer.
        hyperparameters: hyper-parameters that replace the trainer's own.
        seed: seed of initialisation, sampling and augmentation.
        init: first weights, the fields of `autoseg.transfer.initialisation.Initialisation`; None: random.
        init_is_trained_model: whether these are the weights of a whole segmentation network. It is stored,
            because a training that is resumed may not find the file any more.
        finetune: the text of a `autoseg.transfer.policy.FineTunePolicy`; None: everything is trained.
        cases: the training cases; None: all of the fold's.
        run_s: wall clock of the run, prediction included, seconds; None: epochs decide.
        train_s: seconds of training within `run_s`, where nobody measures the prediction; None: epochs
            decide.
        changes: what differs from the published system, in words.
        configuration: the plan's configuration that is trained; None: not known.
    """

    trainer: str = ""
    trainer_file: PluginFile | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seed: int = 0
    init: Mapping[str, str] | None = None
    init_is_trained_model: bool = False
    finetune: str | None = None
    cases: FewCases | None = None
    run_s: float | None = None
    train_s: float | None = None
    changes: tuple[str, ...] = ()
    configuration: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry ``training`` of a plan on disk; the configuration stands beside it."""
        file = {} if self.trainer_file is None else {"trainer_file": self.trainer_file.to_json()}
        document: dict[str, Any] = {
            "trainer": self.trainer,
            **file,
            "options": plain(self.options),
            "hyperparameters": self.hyperparameters.given,
            "seed": self.seed,
        }
        if self.init is not None:
            document["init"] = dict(self.init)
            document["init_is_trained_model"] = self.init_is_trained_model
        if self.finetune is not None:
            document["finetune"] = self.finetune
        if self.cases is not None:
            document["cases"] = asdict(self.cases)
        document |= {"run_seconds": self.run_s, "changes": list(self.changes)}
        return document if self.train_s is None else {**document, "train_seconds": self.train_s}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], configuration: str | None = None) -> TrainingSpec:
        """Read the entry ``training`` of a plan; what it does not say is as nnU-Net has it.

        Args:
            document: the entry.
            configuration: the one that is trained.

        Raises:
            PlanError: for hyper-parameters that are not accepted.
        """
        cases, file = document.get("cases"), document.get("trainer_file")
        return cls(
            trainer=document.get("trainer", ""),
            trainer_file=None if file is None else PluginFile.from_json(file),
            options=document.get("options", {}),
            hyperparameters=Hyperparameters.from_json(document.get("hyperparameters", {})),
            seed=int(document.get("seed", 0)),
            init=document.get("init"),
            init_is_trained_model=bool(document.get("init_is_trained_model", False)),
            finetune=document.get("finetune"),
            cases=None if cases is None else FewCases(cases["size"], cases["seed"]),
            run_s=document.get("run_seconds"),
            train_s=document.get("train_seconds"),
            changes=tuple(document.get("changes", ())),
            configuration=configuration,
        )

    @classmethod
    def of_document(cls, plans: Mapping[str, Any], configuration: str | None = None) -> TrainingSpec:
        """That of a plans document, as a trainer gets it; of a plan of nnU-Net's, the defaults.

        Args:
            plans: the document.
            configuration: the one that is trained; of a cascade, the first stage has a training of its own.

        Raises:
            PlanError: for an entry that makes no sense.
        """
        provenance = plans.get("autoseg", {}).get("provenance", {})
        first = provenance.get(FIRST_STAGE, {})
        if configuration is not None and first.get("configuration") == configuration:
            provenance = first
        return cls.of_provenance(provenance) or cls()

    @classmethod
    def of_provenance(cls, provenance: Mapping[str, Any]) -> TrainingSpec | None:
        """That of the entry ``provenance`` of a plan; None: the plan is made for no training.

        Raises:
            PlanError: for an entry that makes no sense.
        """
        if "training" not in provenance:
            return None
        try:
            return cls.from_json(provenance["training"], provenance.get("configuration"))
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise PlanError(
                f"The plan's entry provenance.training cannot be read ({problem!r}). Make the plan again."
            ) from None
