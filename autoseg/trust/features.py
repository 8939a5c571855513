"""What the expected quality is computed from: a few numbers, each of which can only speak for a case or not.

All are oriented so that more is better, and the regression gives none a negative weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.trust.shape import Shape
from autoseg.trust.spread import Spread, distances

Floats = NDArray[np.float64]

# Dice is compared as log(d / (1 - d)), within these bounds: near 1 a small step is as hard as a large one in
# the middle.
LOWEST = 0.01
# A structure that lies farther from the references than this is as bad as one that lies here.
FARTHEST = 6.0
OF_PROBABILITIES = ("expected_dice", "uncertainty", "agreement")
OF_SHAPE = ("size", "roughness", "components", "position", "border")
# Before the name of a feature of the shape that is compared with usual predictions, not with references.
USUAL = "usual "
NAMES = OF_PROBABILITIES + OF_SHAPE + tuple(f"{USUAL}{name}" for name in OF_SHAPE)


def logit(dice: Any) -> Any:
    """log(d / (1 - d)) of a Dice."""
    inside = np.clip(dice, LOWEST, 1 - LOWEST)
    return np.log(inside / (1 - inside))


def expit(value: Any) -> Any:
    """The inverse of `logit`."""
    return 1 / (1 + np.exp(-value))


@dataclass(frozen=True)
class Facts:
    """What is known of one structure of one case before its reference is.

    Attributes:
        evidence: of the probabilities, see `Evidence.of_head`.
        shape: of the segmentation.
        flat: whether the image is a picture.
    """

    evidence: Mapping[str, float | None]
    shape: Shape
    flat: bool

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"evidence": dict(self.evidence), "shape": self.shape.to_json(), "flat": self.flat}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Facts:
        """Read what `to_json` wrote."""
        return cls(dict(content["evidence"]), Shape.from_json(content["shape"]), bool(content["flat"]))

    def features(self, references: Mapping[str, Spread], usual: Mapping[str, Spread]) -> dict[str, float]:
        """The features by name; one that does not apply is missing.

        Args:
            references: spreads of the shapes of the training references.
            usual: spreads of the shapes of usual predictions, which are rougher or smoother than what people
                draw.
        """
        found: dict[str, float] = {}
        for name in ("expected_dice", "agreement"):
            if (value := self.evidence.get(name)) is not None:
                found[name] = float(logit(value))
        # Entropy times volume over surface: how thick the layer of doubt is, in mm.
        doubt = self.evidence.get("uncertainty")
        if doubt is not None and self.shape.surface:
            found["uncertainty"] = -float(np.log(doubt * self.shape.size / self.shape.surface + 1e-4))
        quantities = self.shape.quantities(self.flat)
        found |= {name: -far for name, far in _far(quantities, references).items()}
        return found | {f"{USUAL}{name}": -far for name, far in _far(quantities, usual).items()}


def _far(quantities: Mapping[str, float], known: Mapping[str, Spread]) -> dict[str, float]:
    """How far each of `OF_SHAPE` is, at most `FARTHEST`."""
    far = {name: min(abs(z), FARTHEST) for name, z in distances(quantities, known).items()}
    found = {name: far[name] for name in OF_SHAPE if name in far}
    positions = [value for name, value in far.items() if name.startswith("centre")]
    return {**found, **({"position": max(positions)} if positions else {})}


def matrix(rows: Sequence[Mapping[str, float]], names: Sequence[str], neutral: Sequence[float]) -> Floats:
    """Features as (cases, names), with a neutral value where one does not apply."""
    return np.array(
        [[row.get(name, other) for name, other in zip(names, neutral, strict=True)] for row in rows],
        dtype=np.float64,
    ).reshape(len(rows), len(names))
