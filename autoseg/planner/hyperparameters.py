"""The hyper-parameters of a training, with the values that each may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

from autoseg.errors import PlanError, UsageError
from autoseg.system.option_values import Count, Kind, Number, OneOf, Truth, nearest, problem_of

OptimizerName = Literal["sgd", "adam", "adamw"]
Schedule = Literal["poly", "cosine", "plateau"]


@dataclass(frozen=True)
class Hyperparameters:
    """What a user, or a short training, sets in place of a trainer's own values; None: the trainer's own.

    Attributes:
        optimizer_name: ``sgd`` (with Nesterov momentum), ``adam`` or ``adamw``.
        learning_rate: at the start, after `warmup`.
        weight_decay: weight decay of the optimiser.
        momentum: momentum of SGD.
        epsilon: epsilon of Adam and AdamW.
        schedule: how the learning rate falls; see `autoseg.training.schedule`.
        epochs, steps_per_epoch: length of the published training.
        deep_supervision: whether lower resolutions have a loss of their own.
        gradient_clip: largest norm of the gradient.
        foreground_oversampling: fraction of a batch that is certain to hold foreground.
        warmup: fraction of the training in which the rate rises.
        entropy_warmup: fraction of the training over which a cross-entropy beside a Tversky loss fades out.
        mirroring: whether training samples are mirrored, and predictions averaged over mirrored copies.
        plateau_factor: what a plateau multiplies the learning rate by.
        plateau_patience, stopping_patience: epochs without a lower validation loss before the rate falls,
            and before the training ends.
        min_learning_rate: below which a plateau does not take the rate.
        stock: nnU-Net's own training, unmodified.
        ema_decay: decay of the moving average of the weights, which predicts; 0: the last weights predict.
        best_checkpoints: how many checkpoints predict together; 0: the last weights alone.
        orientations: axes that volumes are cut into slices along.

    Raises:
        UsageError: for values that are not accepted; the message names all of them.
    """

    optimizer_name: Annotated[OptimizerName | None, OneOf(("sgd", "adam", "adamw"))] = None
    learning_rate: Annotated[float | None, Number(0, without_least=True)] = None
    weight_decay: Annotated[float | None, Number(0)] = None
    momentum: Annotated[float | None, Number(0, 1, without_most=True)] = None
    epsilon: Annotated[float | None, Number(0, without_least=True)] = None
    schedule: Annotated[Schedule | None, OneOf(("poly", "cosine", "plateau"))] = None
    epochs: Annotated[int | None, Count(1)] = None
    steps_per_epoch: Annotated[int | None, Count(1)] = None
    deep_supervision: Annotated[bool | None, Truth()] = None
    gradient_clip: Annotated[float | None, Number(0, without_least=True)] = None
    foreground_oversampling: Annotated[float | None, Number(0, 1)] = None
    warmup: Annotated[float | None, Number(0, 1, without_most=True)] = None
    entropy_warmup: Annotated[float | None, Number(0, 1)] = None
    mirroring: Annotated[bool | None, Truth()] = None
    plateau_factor: Annotated[float | None, Number(0, 1, without_least=True, without_most=True)] = None
    plateau_patience: Annotated[int | None, Count(1)] = None
    stopping_patience: Annotated[int | None, Count(1)] = None
    min_learning_rate: Annotated[float | None, Number(0)] = None
    stock: Annotated[bool | None, Truth()] = None
    ema_decay: Annotated[float | None, Number(0, 1, without_most=True)] = None
    best_checkpoints: Annotated[int | None, Count(0)] = None
    orientations: Annotated[int | None, Count(1, 3)] = None

    def __post_init__(self) -> None:
        problems = [problem_of(name, value, KINDS[name]) for name, value in self.given.items()]
        if found := [problem for problem in problems if problem]:
            raise UsageError(" ".join([*found, "Correct the value, or leave the option out."]))

    @property
    def given(self) -> dict[str, Any]:
        """The values that are set, by name."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def named(cls, options: Mapping[str, Any]) -> Hyperparameters:
        """Those among the options of a trainer that are hyper-parameters.

        Raises:
            UsageError: for values that are not accepted.
        """
        return cls(**{name: value for name, value in options.items() if name in KINDS})

    @classmethod
    def of(cls, trainer: type[Any]) -> Hyperparameters:
        """All values of a trainer's class.

        Raises:
            UsageError: for values that are not accepted.
        """
        return cls(**{name: getattr(trainer, name) for name in KINDS})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Hyperparameters:
        """The hyper-parameters of a plan on disk; what `given` gives, as JSON.

        Raises:
            PlanError: for a name that there is not, or a value that is not accepted.
        """
        if unknown := sorted(set(document) - set(KINDS)):
            raise PlanError(
                f"The plan has an unknown hyper-parameter {unknown[0]!r}.{nearest(unknown[0], KINDS)} "
                f"Make the plan again."
            )
        try:
            return cls(**{name: _as_it_trained(name, value) for name, value in document.items()})
        except UsageError as problem:
            raise PlanError(f"In the plan, {problem}") from None


KINDS: Mapping[str, Kind] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Hyperparameters, include_extras=True).items()
}


def _as_it_trained(name: str, value: Any) -> Any:
    """What the trainer made of a value that plans could have before values were checked.

    An unknown optimiser was AdamW, an unknown schedule a cosine, and any text was true. The trained model of
    such a plan still predicts, and its training goes on as it began.
    """
    kind = KINDS[name]
    if kind.accepts(value):
        return value
    if isinstance(kind, Truth):
        return bool(value)
    return {"optimizer_name": "adamw", "schedule": "cosine"}.get(name, value)
