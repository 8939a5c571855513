"""A second look at the steps of a training: after its first twentieth, what its time allows is planned anew.

A training that goes on after an interruption keeps what a look before has changed, and has another look: the
machine may have become another.

A plan is made from a few steps on a machine that may do other things by the time the training runs. Where a
step then takes more than a quarter longer or shorter than planned, batch and patch are chosen again among
those that the same network bears, and the time for the prediction is measured again. The schedule goes by
the clock in any case.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import RunError
from autoseg.planner.budget import AS_GOOD
from autoseg.planner.learning import gap, patch_loss
from autoseg.planner.plan import Plan
from autoseg.system.files import read_json, write_json

log = logging.getLogger(__name__)

# Part of a training after which its steps are looked at; later, where fewer steps were timed by then.
AFTER, FEWEST = 0.05, 3
# By how much a step has to be off.
OFF = 0.25
# The decision of a plan that a budget made, and its entry that says what may change.
DECISION, ENTRY = "budget", "second_look"
# In a run's folder.
FILE = "second_look.json"


@dataclass(frozen=True)
class Option:
    """A step that the network bears.

    Attributes:
        batch_size: samples.
        patch_size: voxels along each axis.
        loss: what is expected to be lacking in the end, in Dice.
    """

    batch_size: int
    patch_size: tuple[int, ...]
    loss: float


def planned_step_s(plan: Plan, name: str) -> float | None:
    """Seconds that were planned for a step of the batch and patch of now; None where a plan does not say."""
    inputs, now = _inputs(plan), plan.configuration(name)
    if inputs is None or ENTRY not in inputs:
        return None
    return _step_s(inputs[ENTRY], now.batch_size, now.patch_size)


def keep(folder: Path, plan: Plan, name: str, changes: Sequence[str]) -> None:
    """Write what was changed into a run's folder, so that a restart goes on with it."""
    now = plan.configuration(name)
    about = {"batch_size": now.batch_size, "patch_size": list(now.patch_size), "changes": list(changes)}
    write_json(folder / FILE, about)


def kept(folder: Path, plan: Plan, name: str) -> tuple[Plan, list[str]]:
    """A plan as an earlier look in a run's folder changed it, and the changes in words.

    Raises:
        RunError: if the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return plan, []
    about = read_json(path, RunError)
    patch = tuple(about["patch_size"])
    now = dataclasses.replace(plan.configuration(name), batch_size=about["batch_size"], patch_size=patch)
    changed = dataclasses.replace(plan, configurations={**plan.configurations, name: now})
    return changed, list(about["changes"])


def is_off(ratio: float) -> bool:
    """Whether steps that take `ratio` times as long as planned are worth a new plan."""
    return ratio > 1 + OFF or ratio < 1 / (1 + OFF)


def planned_anew(
    plan: Plan, name: str, ratio: float, left_s: float, reserved_s: float | None = None
) -> Plan | None:
    """The plan with a batch and a patch for the time that a step really takes; None: they stay.

    Args:
        plan: as it is trained now.
        name: the configuration.
        ratio: seconds of a step over those that were planned.
        left_s: seconds that are left, prediction included.
        reserved_s: seconds of the prediction with the patch of now, as measured; None: as planned.
    """
    inputs, now = _inputs(plan), plan.configuration(name)
    if inputs is None or ENTRY not in inputs:
        return None
    planned_s = [each["prediction_seconds"] for each in inputs[ENTRY]["patches"] if _is(each, now.patch_size)]
    scale = 1.0 if reserved_s is None or not planned_s else reserved_s / max(planned_s[0], 1e-9)
    options = list(_options(inputs[ENTRY], ratio, left_s, scale))
    best = min(options, key=lambda each: each.loss, default=None)
    here = [each for each in options if _size(each) == (now.batch_size, now.patch_size)]
    # Where memory has changed the step, it is not planned again.
    if best is None or not here or here[0].loss <= best.loss + AS_GOOD:
        return None
    changed = dataclasses.replace(now, batch_size=best.batch_size, patch_size=best.patch_size)
    return dataclasses.replace(plan, configurations={**plan.configurations, name: changed})


def words(before: Plan, after: Plan, name: str, ratio: float) -> list[str]:
    """What a second look changed, for the row."""
    old, new = before.configuration(name), after.configuration(name)
    why = f"(a step took {ratio:.2g} of the planned time)"
    found = []
    if old.batch_size != new.batch_size:
        found.append(f"batch {old.batch_size} -> {new.batch_size} {why}")
    if old.patch_size != new.patch_size:
        sizes = " -> ".join("x".join(map(str, each.patch_size)) for each in (old, new))
        found.append(f"patch {sizes} {why}")
    return found


def _inputs(plan: Plan) -> Mapping[str, Any] | None:
    return next((each.inputs for each in plan.decisions if each.name == DECISION), None)


def _size(option: Option) -> tuple[int, tuple[int, ...]]:
    return option.batch_size, option.patch_size


def _is(entry: Mapping[str, Any], patch: tuple[int, ...]) -> bool:
    return tuple(entry["patch_size"]) == tuple(patch)


def _options(entry: Mapping[str, Any], ratio: float, left_s: float, scale: float) -> Iterator[Option]:
    """Every batch and patch, with what it is expected to lack.

    Args:
        entry: what may change, with the times that were planned.
        ratio: made over planned seconds of a step.
        left_s: seconds that are left.
        scale: measured over planned seconds of the prediction.
    """
    for each in entry["patches"]:
        patch = tuple(each["patch_size"])
        for batch in entry["batches"]:
            step_s = ratio * _step_s(entry, batch, patch)
            steps = (left_s - scale * each["prediction_seconds"]) / step_s
            # A plan from before there was a loss has the share of the planned patch.
            loss = each["loss"] if "loss" in each else patch_loss(each["share"])
            yield Option(batch, patch, gap(steps, batch) + loss)


def _step_s(entry: Mapping[str, Any], batch: int, patch: Sequence[int]) -> float:
    """Seconds of a step as planned."""
    voxel_s: float = entry["voxel_s"] * batch * math.prod(patch)
    return float(entry["fixed_s"] + entry["sample_s"] * batch + voxel_s)
