"""Every decision of a plan in words: its rule and numbers, what else there was, and what it costs.

For the terminal, as Markdown and as JSON. Decisions that were made among alternatives carry them in their
inputs; of the rest of nnU-Net's rules the alternatives follow from the numbers here.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.planner.dimension import Alternative
from autoseg.planner.explain.alternatives import RULES
from autoseg.planner.explain.value_words import entries, value_text, words
from autoseg.planner.plan import Decision, Plan

# Entries of a decision's inputs that are shown in their own place.
_APART = ("alternatives", "costs", "confidence", "verdicts", "second_look")
WHOLE = "Data set"
# Columns of the explanation in a terminal.
WIDTH = 110


@dataclass(frozen=True)
class Explanation:
    """A decision with what else could have been decided.

    Attributes:
        decision: what, by which rule, from which numbers.
        alternatives: what was not chosen, why not, at what cost.
        costs: what the choice costs; empty where that is negligible.
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

    @property
    def kept(self) -> Decision:
        """The decision with alternatives, costs and confidence in its inputs, as a plan keeps it."""
        inputs = {**self.decision.inputs, "confidence": self.confidence}
        if self.costs:
            inputs["costs"] = dict(self.costs)
        if self.alternatives:
            inputs["alternatives"] = [dataclasses.asdict(each) for each in self.alternatives]
        return dataclasses.replace(self.decision, inputs=inputs)

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
        plan: a plan made by autoseg; a stock plan has no decisions.
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
            lines += _wrapped("because", each.decision.rule)
            lines += _wrapped("from", entries(each.inputs))
            for name, reason in each.reasons.items():
                lines += _wrapped("chosen", f"{name}: {reason}")
            lines += _wrapped("costs", entries(each.costs))
            for text in _not_chosen(each):
                lines += _wrapped("not", text)
            lines += _wrapped("source", each.decision.source)
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> list[str]:
    """A labelled paragraph for a terminal; nothing where there is nothing to say."""
    indent = " " * 13
    return textwrap.wrap(text, WIDTH, initial_indent=f"    {head:<9}", subsequent_indent=indent)


def _not_chosen(explanation: Explanation) -> list[str]:
    """What was not chosen, those with one reason together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for other in explanation.alternatives:
        costs = f" ({entries(other.costs)})" if other.costs else ""
        groups.setdefault((other.reason, costs), []).append(other.value)
    return [f"{', '.join(values)}: {reason}{costs}" for (reason, costs), values in groups.items()]


def to_markdown(plan: Plan, explanations: Sequence[Explanation], picture: str | None = None) -> str:
    """The explanations as a page.

    Args:
        plan: the plan that they explain.
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
                lines += [f"| {words(key)} | {_cell(value_text(value))} |" for key, value in rows] + [""]
            if each.reasons:
                lines += ["Chosen:", *(f"- {name}: {why}" for name, why in each.reasons.items()), ""]
            if each.alternatives:
                lines += ["Not chosen:", *(f"- {text}" for text in _not_chosen(each)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _explained(decision: Decision) -> Explanation:
    inputs = decision.inputs
    rule = RULES.get(decision.name.rpartition(".")[2])
    alternatives, costs = rule(decision) if rule else ([], {})
    return Explanation(
        decision,
        tuple(Alternative(**each) for each in inputs.get("alternatives", ())) or tuple(alternatives),
        {**costs, **inputs.get("costs", {})},
        inputs.get("confidence", "clear"),
        _reasons(decision),
    )


def _reasons(decision: Decision) -> dict[str, str]:
    """Why each of several things was chosen, in the order of the choice."""
    reasons = {
        each["trainer"]: each["reason"] for each in decision.inputs.get("verdicts", ()) if each["taken"]
    }
    return {name: reasons[name] for name in decision.value} if reasons else {}


def _groups(explanations: Sequence[Explanation]) -> dict[str, list[Explanation]]:
    groups: dict[str, list[Explanation]] = {WHOLE: []}
    for each in explanations:
        groups.setdefault(each.group, []).append(each)
    return {name: members for name, members in groups.items() if members}


def _title(explanation: Explanation) -> str:
    return words(explanation.decision.name.rpartition(".")[2])


def _doubt(explanation: Explanation) -> str:
    return "  (in doubt)" if explanation.confidence == "in doubt" else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
