"""What a run is requested to keep to: budget, memory, device, seed. The name of its plan says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner.plan import Decision
from autoseg.system.files import digest
from autoseg.tailoring.machine.kept import given_key
from autoseg.tailoring.spec_text import write_spec
from autoseg.tailoring.trainer_spec import START, Choice, Start

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Request:
    """What a run has to keep to.

    Attributes:
        device: where it trains.
        memory_gb: memory target of the planner; None: the preset's.
        run_s: wall clock of one run, prediction included, of an ensemble of all members together; None:
            epochs decide.
        epochs: instead of the trainer's own; None: the trainer's.
        configuration: ``auto`` or a configuration's name.
        seed: the run's seed.
        axis: array axis that slices are cut along, for a member of an ensemble; None: the planner's choice.
        run_fraction: fraction of `run_s` that a member of an ensemble has.
        race: the key of the race that may stop it on the way; its plan is the one that it has otherwise.
        steps: length of the training, instead of a budget or epochs.
        small: whether network, batch and patch are small, so that a step takes a moment.
        dimension: what a pilot found for trainers that follow the data; None: the rules decide.
        first_stages: of a cascade, first trainings for each second one: a cascade trains its first stage on
            all folds, however few are reported; 0: no cascade can be trained.
    """

    device: torch.device
    memory_gb: float | None = None
    run_s: float | None = None
    epochs: int | None = None
    configuration: str = "auto"
    seed: int = 0
    axis: int | None = None
    run_fraction: float = 1.0
    race: str | None = None
    steps: int | None = None
    small: bool = False
    dimension: Decision | None = None
    first_stages: float = 0.0

    @property
    def member_s(self) -> float | None:
        """Wall clock of this training and its prediction: of a member of an ensemble, its fraction."""
        return None if self.run_s is None else self.run_s * self.run_fraction


def plan_name(choice: Choice, request: Request, fingerprint: Fingerprint) -> str:
    """The name of the plan that is made for a request: the same request, the same name."""
    machine = given_key()
    own = {key: value for key, value in choice.options.items() if key not in START}
    key = digest(
        {
            **Start.of(choice).key,
            "trainer": write_spec(choice.identity, own),
            "device": request.device.type,
            "memory_gb": request.memory_gb,
            "run_seconds": request.run_s,
            "epochs": request.epochs,
            "configuration": request.configuration,
            "seed": request.seed,
            "fingerprint": fingerprint.hash,
            **({} if request.steps is None else {"steps": request.steps}),
            **({"small": True} if request.small else {}),
            **({} if not request.first_stages else {"first_stages": stages_key(request)}),
            **({} if request.dimension is None else {"dimension": request.dimension.value}),
            **({} if request.run_s is None or machine is None else {"machine": machine}),
        }
    )
    member = "" if request.axis is None else f"_axis{request.axis}"
    return f"autosegPlans_{key[:8]}{member}{raced(request)}"


def stages_key(request: Request) -> float:
    """What of a cascade's first trainings makes plans differ: how they share the time, where there is any."""
    return 1.0 if request.run_s is None else request.first_stages


def raced(request: Request) -> str:
    """The end of the name of a plan whose run is raced."""
    return "" if request.race is None else f"_race{request.race}"
