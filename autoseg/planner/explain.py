"""Every decision of a plan in words: its rule and numbers, what else there was, and what it costs.

For the terminal, as Markdown and as JSON. Decisions that were made among alternatives carry them in their
inputs; of the rest of nnU-Net's rules the alternatives follow from the numbers here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.plan import Decision, Plan
from autoseg.planner.dimension import Alternative

# Entries of a decision's inputs that are shown in their own place.
_APART = ("alternatives", "costs", "confidence", "verdicts")
WHOLE = "Data set"


@dataclass(frozen=True)
class Explanation:
    """A decision with what else could have been decided.

    Attributes:
        decision: what, by which rule, from which numbers.
        alternatives: what was not chosen, why not, at what cost.
        costs: of what was chosen; empty where it costs nothing worth telling.
        confidence: ``clear`` or ``in doubt``.
        reasons: why each of several things was chosen.
    """

    decision: Decision
    alternatives: tuple[Alternative, ...]
    costs: Mapping[str, Any]
    confidence: str
    reasons: Mapping[str, str]

    @property
    def inputs(self) -> dict[str, Any]:
        """The numbers that the rule was applied to."""
        return {key: value for key, value in self.decision.inputs.items() if key not in _APART}

    @property
    def group(self) -> str:
        """The configuration that it is about, or the whole data set."""
        head, dot, _ = self.decision.name.partition(".")
        return head if dot else WHOLE

    def to_json(self) -> dict[str, Any]:
        """All of it, flat."""
        return {
            **self.decision.to_json(),
            "inputs": self.inputs,
            "confidence": self.confidence,
            "costs": dict(self.costs),
            "reasons": dict(self.reasons),
            "alternatives": [
                {"value": each.value, "reason": each.reason, "costs": dict(each.costs)}
                for each in self.alternatives
            ],
        }


def explain(plan: Plan, more: Iterable[Decision] = ()) -> tuple[Explanation, ...]:
    """Explain all decisions of a plan.

    Args:
        plan: of autoseg; a stock plan has no decisions.
        more: decisions beyond the plan, such as on the dimension and the trainers; shown first.
    """
    decisions = {each.name: each for each in (*more, *plan.decisions)}
    return tuple(_explained(each) for each in decisions.values())


def to_json(plan: Plan, explanations: Sequence[Explanation]) -> dict[str, Any]:
    """The explanations as a document."""
    return {
        "plan": plan.name,
        "dataset": plan.dataset,
        "decisions": [each.to_json() for each in explanations],
    }


def to_text(plan: Plan, explanations: Sequence[Explanation]) -> str:
    """The explanations for a terminal."""
    lines = [f"Decisions of {plan.name} for {plan.dataset}"]
    for group, members in _groups(explanations).items():
        lines += ["", group]
        for each in members:
            lines += [f"  {_title(each)} = {value_text(each.decision.value)}{_doubt(each)}"]
            lines += [f"    because  {each.decision.rule}"]
            lines += [f"    from     {_entries(each.inputs)}"] if each.inputs else []
            lines += [f"    chosen   {name}: {reason}" for name, reason in each.reasons.items()]
            lines += [f"    costs    {_entries(each.costs)}"] if each.costs else []
            lines += [f"    not      {_alternative(other)}" for other in each.alternatives]
            lines += [f"    source   {each.decision.source}"]
    return "\n".join(lines)


def to_markdown(plan: Plan, explanations: Sequence[Explanation], picture: str | None = None) -> str:
    """The explanations as a page.

    Args:
        plan: that they are of.
        explanations: see `explain`.
        picture: path of a picture of the patch, as seen from the page.
    """
    lines = [f"# Why {plan.name} for {plan.dataset} is as it is", ""]
    if picture:
        lines += [f"![The patch over the median case]({picture})", ""]
    for group, members in _groups(explanations).items():
        lines += [f"## {group}", ""]
        for each in members:
            lines += [f"### {_title(each)}: {value_text(each.decision.value)}{_doubt(each)}", ""]
            lines += [f"{_sentence(each.decision.rule)} *({each.decision.source})*", ""]
            rows = [*each.inputs.items(), *((f"costs: {key}", value) for key, value in each.costs.items())]
            if rows:
                lines += ["| | |", "|---|---|"]
                lines += [f"| {_words(key)} | {_cell(value_text(value))} |" for key, value in rows] + [""]
            if each.reasons:
                lines += ["Chosen:", *(f"- {name}: {why}" for name, why in each.reasons.items()), ""]
            if each.alternatives:
                lines += ["Not chosen:", *(f"- {_alternative(other)}" for other in each.alternatives), ""]
    return "\n".join(lines).rstrip() + "\n"


def value_text(value: Any) -> str:
    """A value of JSON for people."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "open"}[value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= 10_000):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return _entries(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = value and all(isinstance(item, int | float) for item in value)
        return (" x " if numbers else ", ").join(value_text(item) for item in value) or "none"
    return str(value)


def _explained(decision: Decision) -> Explanation:
    inputs = decision.inputs
    rule = _RULES.get(decision.name.rpartition(".")[2])
    alternatives, costs = rule(decision) if rule else ([], {})
    return Explanation(
        decision,
        tuple(Alternative(**each) for each in inputs.get("alternatives", ())) or tuple(alternatives),
        {**costs, **inputs.get("costs", {})},
        inputs.get("confidence", "clear"),
        {each["trainer"]: each["reason"] for each in inputs.get("verdicts", ()) if each["taken"]},
    )


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
    return [Alternative(_entries(inputs["published"]), reason, {})], costs


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


_RULES: Mapping[str, Callable[[Decision], Found]] = {
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


def _groups(explanations: Sequence[Explanation]) -> dict[str, list[Explanation]]:
    groups: dict[str, list[Explanation]] = {WHOLE: []}
    for each in explanations:
        groups.setdefault(each.group, []).append(each)
    return {name: members for name, members in groups.items() if members}


def _title(explanation: Explanation) -> str:
    return _words(explanation.decision.name.rpartition(".")[2])


def _doubt(explanation: Explanation) -> str:
    return "  (in doubt)" if explanation.confidence == "in doubt" else ""


def _alternative(other: Alternative) -> str:
    costs = f" ({_entries(other.costs)})" if other.costs else ""
    return f"{other.value}: {other.reason}{costs}"


def _entries(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{_words(key)} {value_text(value)}" for key, value in values.items())


def _words(name: str) -> str:
    return name.replace("_", " ") if not name.startswith(("3d_", "2d", "nnunet", "mednext")) else name


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
