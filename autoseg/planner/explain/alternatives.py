"""What else could have been decided, of each of nnU-Net's rules, from the numbers in its decision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from autoseg.planner.dimension import Alternative
from autoseg.planner.explain.value_words import entries, value_text
from autoseg.planner.plan import Decision

Found = tuple[list[Alternative], dict[str, Any]]


def _patch(decision: Decision) -> Found:
    inputs = decision.inputs
    share = inputs["feature_map_values"] / inputs["reference_values"]
    found = []
    if inputs["steps"]:
        reason = "its feature maps do not fit the memory target"
        size = {"voxels": round(math.prod(inputs["start"]))}
        found.append(Alternative(value_text([round(n) for n in inputs["start"]]), reason, size))
    return found, {"voxels": math.prod(decision.value), "share_of_reference_values": round(share, 3)}


def _batch(decision: Decision) -> Found:
    options = (
        ("by_memory", "so many fit the memory, and would be too large a part of the data"),
        ("by_data", "so large a part of the data is allowed, and does not fit the memory"),
    )
    found = [(decision.inputs[name], reason) for name, reason in options]
    return [Alternative(str(n), reason, {}) for n, reason in found if n > decision.value], {}


def _spacing(decision: Decision) -> Found:
    median = decision.inputs.get("median_spacing")
    costs: dict[str, Any] = {}
    if not median or list(median) == list(decision.value):
        return [], costs
    factor = math.prod(median) / math.prod(decision.value)
    costs = {"voxels_compared_with_the_median_spacing": round(factor, 3)}
    return [Alternative(value_text(median), "the median of each axis, not of the rule above", {})], costs


def _lowres(decision: Decision) -> Found:
    planned = str(decision.value).startswith("planned")
    other = "not planned" if planned else "planned, with a cascade"
    reason = "context would be missing" if planned else "the patch sees enough, or little would be saved"
    return [Alternative(other, reason, {})], {"trainings_if_used": 2} if planned else {}


def _budget(decision: Decision) -> Found:
    inputs = decision.inputs
    costs = {"seconds_per_step": inputs["predicted_step_s"], "steps": inputs["predicted_steps"]}
    if inputs["published"] == decision.value:
        return [], costs
    reason = "as published, too few steps would fit the time"
    return [Alternative(entries(inputs["published"]), reason, {})], costs


def _order(decision: Decision) -> Found:
    if list(decision.value) == sorted(decision.value):
        return [], {}
    reason = "2D slices would not lie in the finest plane"
    return [Alternative("axes as they are", reason, {})], {}


def _opposite(decision: Decision) -> Found:
    return [Alternative(value_text(not decision.value), "the rule says otherwise", {})], {}


def _configuration(decision: Decision) -> Found:
    others = [name for name in decision.inputs.get("planned", ()) if name != decision.value]
    return [Alternative(name, "planned, and not trained by this trainer now", {}) for name in others], {}


def _trainers(decision: Decision) -> Found:
    verdicts = decision.inputs["verdicts"]
    left = [Alternative(each["trainer"], each["reason"], {}) for each in verdicts if not each["taken"]]
    return left, {}


RULES: Mapping[str, Callable[[Decision], Found]] = {
    "patch_size": _patch,
    "batch_size": _batch,
    "target_spacing": _spacing,
    "3d_lowres": _lowres,
    "transpose": _order,
    "budget": _budget,
    "mirroring": _opposite,
    "configuration": _configuration,
    "trainers": _trainers,
}
