"""What a training tells of the next: how long its steps took beside what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg.planner.plan import Plan
from autoseg.system.files import read_json
from autoseg.tailoring.fit_to_resources import budget_of
from autoseg.tailoring.machine.kept import learn

if TYPE_CHECKING:
    import torch

    from autoseg.pipeline.trial_record import Member

# Steps from which their mean says something.
FEWEST = 20


def learn_from(member: Member, device: torch.device) -> None:
    """Let the machine model know what a finished training took, where its plan predicted it.

    Args:
        member: the training.
        device: where it ran.
    """
    decision = budget_of(member.plan)
    cost = read_json(member.run.cost)
    made_s = cost.get("computed_step_s")
    if decision is None or not made_s or cost["steps"] < FEWEST or "computed_step_s" not in decision.inputs:
        return
    planned = member.plan.configuration(member.run.configuration)
    trained = Plan.load(member.run.model_folder / "plans.json").configuration(member.run.configuration)
    if (planned.batch_size, planned.patch_size) != (trained.batch_size, trained.patch_size):
        return  # memory or a second look changed the step that was predicted
    dimensions = member.plan.configuration(member.run.configuration).dimensions
    kind = f"{member.plan.require_training().trainer} {dimensions}D"
    learn(device, kind, decision.inputs["computed_step_s"], made_s)
