"""Which configuration of a plan a trainer takes: 2D or 3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg.errors import PlanError
from autoseg.planner.cascade import CASCADE
from autoseg.planner.plan import Decision, Plan

if TYPE_CHECKING:
    from autoseg.planner.dimension import DimensionChoice
    from autoseg.training.trainer import Trainer


def choose_configuration(
    plan: Plan,
    trainer: type[Trainer],
    requested: str,
    dimension: DimensionChoice | None = None,
    cascade: bool = False,
) -> tuple[str, tuple[Decision, ...]]:
    """The configuration that a trainer takes, with the reason.

    Args:
        plan: a plan with all configurations.
        trainer: its class; a documented system has a dimension of its own.
        requested: ``auto`` or a name.
        dimension: what was decided from the data; None: 3D where there are volumes.
        cascade: whether both stages of a cascade can be trained; else full resolution stands for it.

    Raises:
        PlanError: if the requested one is not there or has a dimension that the trainer cannot train.
    """
    if requested == CASCADE:
        _refuse_cascade(plan, cascade)
    if requested != "auto":
        if plan.configuration(requested).dimensions not in trainer.dimensions:
            raise PlanError(
                f"{trainer.__name__} trains in {_dimensions(trainer)}, and {requested} is "
                f"{plan.configuration(requested).dimensions}D. Choose another configuration or trainer."
            )
        return requested, (_decision(plan, trainer, requested, "requested"),)
    if trainer.preferred_dimension is None and dimension is not None:
        name = dimension.value if cascade else trained_configuration(dimension.value)
        if plan.configuration(name).dimensions in trainer.dimensions:
            rule = "as decided from the data" + ("" if cascade else "; of a cascade the full resolution")
            return name, (dimension.decision, _decision(plan, trainer, name, rule))
    return _usual(plan, trainer)


def trained_configuration(name: str) -> str:
    """What is trained, where no cascade can be, for a configuration that was decided on.

    Full resolution, a cascade's second stage, stands for it.
    """
    return "3d_fullres" if name == CASCADE else name


def _refuse_cascade(plan: Plan, possible: bool) -> None:
    """Refuse a requested cascade that there is not, or that cannot be trained here.

    Raises:
        PlanError: with what to request instead.
    """
    if CASCADE not in plan.configurations:
        raise PlanError(
            f"{plan.dataset} has no {CASCADE}: a patch at full resolution sees enough of a case, or low "
            f"resolution would save little (autoseg plan --explain has the numbers). Request one of "
            f"{', '.join(plan.configurations)}."
        )
    if not possible:
        raise PlanError(
            f"{CASCADE} can be trained by plan-and-train and train, and not in a race or a suite: its first "
            f"stage has to be trained on all folds before. Request 3d_fullres or 3d_lowres here."
        )


def _usual(plan: Plan, trainer: type[Trainer]) -> tuple[str, tuple[Decision, ...]]:
    """The documented system's dimension, else 3D before 2D."""
    preferred = trainer.preferred_dimension
    wanted = [preferred] if preferred else [3, 2]
    order = [d for d in (*wanted, *trainer.dimensions) if d in trainer.dimensions]
    names = ["3d_fullres" if d == 3 else "2d" for d in order]
    name = next((n for n in names if n in plan.configurations), "")
    if not name:
        raise PlanError(
            f"{trainer.__name__} trains in {_dimensions(trainer)}, and {plan.dataset} has "
            f"{', '.join(plan.configurations)}. Choose another trainer."
        )
    documented = f"the documented system is {preferred}D"
    rule = documented if preferred else "3D at full resolution where the data are volumes, else 2D"
    return name, (_decision(plan, trainer, name, rule),)


def _decision(plan: Plan, trainer: type[Trainer], name: str, rule: str) -> Decision:
    dimensions = list(trainer.dimensions)
    inputs = {
        "planned": list(plan.configurations),
        "trainer": trainer.__name__,
        "dimensions": dimensions,
    }
    return Decision("configuration", name, rule, inputs, "autoseg")


def _dimensions(trainer: type[Trainer]) -> str:
    return " and ".join(f"{n}D" for n in trainer.dimensions)
