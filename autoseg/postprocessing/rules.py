"""Rules of postprocessing: what is done to each structure after the network, as JSON beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from autoseg.data.labels import Labels
from autoseg.run import POSTPROCESSING
from autoseg.system.model_document import ModelDocument

FORMAT = 1
ML, PIXELS = "ml", "pixels"
_LARGEST_LABEL = 2**31 - 1


@dataclass(frozen=True)
class Rule:
    """What is done to one structure: small components go, holes are filled, in this order.

    Attributes:
        structure: its name.
        values: the labels that make it up.
        inside: the label of a filled hole.
        outside: the label that a removed voxel gets and a hole has: background, or for a region within
            another what that one is without it.
        largest: whether only the largest component stays; of several of that size all do.
        smallest: size below which a component is removed, in the unit of the set; None: none is.
        fill: whether holes are filled, as far as they are `outside`.
    """

    structure: str
    values: tuple[int, ...]
    inside: int
    outside: int = 0
    largest: bool = False
    smallest: float | None = None
    fill: bool = False

    def words(self, unit: str) -> str:
        """The rule for a reader."""
        parts = []
        if self.largest:
            parts.append("largest component")
        if self.smallest is not None:
            parts.append(f"components from {self.smallest:g} {unit}")
        if self.fill:
            parts.append("holes filled")
        return f"{self.structure}: {', '.join(parts)}"


@dataclass(frozen=True)
class Postprocessing(ModelDocument):
    """The rules of a model, in the order in which they are applied, and why they are there.

    Attributes:
        rules: none: segmentations stay as the network makes them.
        unit: of `Rule.smallest`: ml, or for pictures pixels.
        evidence: what the decision rests on, see `autoseg.postprocessing.decide`.
    """

    file_name: ClassVar[str] = POSTPROCESSING
    made_by: ClassVar[str] = "Decide again (autoseg postprocess)"

    rules: tuple[Rule, ...] = ()
    unit: str = ML
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """One line for each rule."""
        return tuple(rule.words(self.unit) for rule in self.rules)

    def to_json(self) -> dict[str, Any]:
        """postprocessing.json."""
        rules = [
            {
                "structure": rule.structure,
                "values": list(rule.values),
                "inside": rule.inside,
                "outside": rule.outside,
                "largest": rule.largest,
                "smallest": rule.smallest,
                "fill": rule.fill,
            }
            for rule in self.rules
        ]
        return {"format": FORMAT, "unit": self.unit, "rules": rules, "evidence": dict(self.evidence)}

    @classmethod
    def from_json(cls, content: Any) -> Postprocessing:
        """Read what `to_json` gave.

        Raises:
            ValueError: if it is something else.
        """
        try:
            if content["format"] != FORMAT or content["unit"] not in (ML, PIXELS):
                raise ValueError(f"format {content['format']!r}, unit {content['unit']!r}")
            rules = tuple(_rule(each) for each in content["rules"])
            return cls(rules, content["unit"], dict(content["evidence"]))
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"no rules of postprocessing ({problem!r})") from None


def plain_rules(labels: Labels) -> tuple[Rule, ...]:
    """A rule that does nothing for each structure, regions that hold others first.

    A voxel that leaves a region becomes what the last region that holds it, and is not within the first,
    writes; background where there is none.
    """
    structures = labels.structures
    if not labels.has_regions:
        return tuple(Rule(name, values, inside=values[0]) for name, values in structures.items())
    written = dict(zip(structures, labels.region_order or (), strict=True))
    rules = []
    for name, values in structures.items():
        around = [
            written[other]
            for other, theirs in structures.items()
            if set(values) < set(theirs) and written[other] not in values
        ]
        rules.append(Rule(name, values, inside=written[name], outside=around[-1] if around else 0))
    return tuple(sorted(rules, key=lambda rule: -len(rule.values)))


def _rule(content: Mapping[str, Any]) -> Rule:
    smallest = content["smallest"]
    rule = Rule(
        structure=str(content["structure"]),
        values=tuple(map(int, content["values"])),
        inside=int(content["inside"]),
        outside=int(content["outside"]),
        largest=content["largest"] is True,
        smallest=None if smallest is None else float(smallest),
        fill=content["fill"] is True,
    )
    labels = (*rule.values, rule.inside)
    if not rule.values or min(labels) < 1 or rule.outside < 0 or max(*labels, rule.outside) > _LARGEST_LABEL:
        raise ValueError(f"{rule.structure} has the labels {rule.values}, {rule.inside}, {rule.outside}")
    if rule.outside in rule.values or (rule.smallest is not None and not rule.smallest > 0):
        raise ValueError(f"{rule.structure}: outside {rule.outside}, smallest {rule.smallest}")
    return rule
