"""All that is needed to say how good the predictions of a model will be: a JSON document beside the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.image import Image
from autoseg.errors import RunError
from autoseg.system.files import read_json, write_json
from autoseg.trust.features import Facts
from autoseg.trust.inputs import is_constant, quantities_of
from autoseg.trust.reasons import far_input, far_shape, undecided
from autoseg.trust.shape import steps_of
from autoseg.trust.spread import Spread, distances, spreads_from_json
from autoseg.trust.structure_model import REVIEW_CHANCE, Estimate, StructureModel

FILE_NAME = "quality.json"
FORMAT = 1
# A case is unlike the training data from here on, in robust standard deviations ...
LEAST_LIMIT = 4.0
# ... or from where so many of the training cases lie that their own fold had not seen.
USUAL = 0.98

OK, REVIEW, UNLIKE = "ok", "review", "unlike the training data"


@dataclass(frozen=True)
class Quality:
    """What is expected of one case.

    Attributes:
        case: its identifier.
        flag: ``ok``, ``review`` or ``unlike the training data``.
        reasons: why, in words; empty where it is ok.
        structures: by name.
        facts: by name of the structure.
        inputs: quantities of the image.
        entropy: mean entropy of the voxels, nats.
        unit: of sizes.
    """

    case: str
    flag: str
    reasons: tuple[str, ...]
    structures: Mapping[str, Estimate]
    facts: Mapping[str, Facts]
    inputs: Mapping[str, float]
    entropy: float
    unit: str

    @property
    def dice(self) -> float:
        """Expected mean Dice over the structures."""
        return float(np.mean([each.dice for each in self.structures.values()]))

    @property
    def failure(self) -> float:
        """The largest chance of a failure of any structure."""
        return max(each.failure for each in self.structures.values())


@dataclass(frozen=True)
class QualityModel:
    """Fitted on the out-of-fold cases of a model.

    Attributes:
        structures: by name.
        inputs: spreads of the training images' quantities.
        input_limit, shape_limit: distances from which on a case is unlike the training data.
        channels: names, in the order of the model's input.
        unit: of sizes: mm^3, mm^2 or pixels.
        cases: number of calibration cases.
        about: data set, model, folds, for whoever reads it.
        measured: how well it works, see `autoseg.trust.measure`.
    """

    structures: Mapping[str, StructureModel]
    inputs: Mapping[str, Spread]
    input_limit: float
    shape_limit: float
    channels: tuple[str, ...]
    unit: str
    cases: int
    about: Mapping[str, Any]
    measured: Mapping[str, Any]

    def assess(self, case: str, image: Image, facts: Mapping[str, Facts], entropy: float) -> Quality:
        """What is expected of a new case.

        Args:
            case: its identifier.
            image: as the model took it.
            facts: by name of the structure.
            entropy: mean over its voxels.
        """
        constant = [
            f"{name} has one value everywhere"
            for name, channel in zip(self.channels, image.array, strict=True)
            if is_constant(channel)
        ]
        inputs = {} if constant else quantities_of(image, self.channels)
        quality = self.assess_facts(case, inputs, facts, entropy, constant)
        whole = math.prod(image.array.shape[1:]) * math.prod(steps_of(image)[0])
        return replace(
            quality, structures={name: each.at_most(whole) for name, each in quality.structures.items()}
        )

    def assess_facts(
        self,
        case: str,
        inputs: Mapping[str, float],
        facts: Mapping[str, Facts],
        entropy: float,
        constant: Sequence[str] = (),
    ) -> Quality:
        """The same from numbers."""
        estimates = {name: self.structures[name].estimate(each) for name, each in facts.items()}
        strange = [*constant, *self._far_inputs(inputs), *self._far_shapes(facts)]
        doubtful = [
            undecided(name, estimates[name], self.structures[name], facts[name])
            for name in facts
            if estimates[name].failure >= REVIEW_CHANCE
        ]
        flag = UNLIKE if strange else REVIEW if doubtful else OK
        return Quality(case, flag, (*strange, *doubtful), estimates, facts, inputs, entropy, self.unit)

    def _far_inputs(self, inputs: Mapping[str, float]) -> list[str]:
        found = distances(inputs, self.inputs)
        far = sorted(
            (name for name in found if abs(found[name]) > self.input_limit), key=lambda n: -abs(found[n])
        )
        return [far_input(name, inputs[name], self.inputs[name]) for name in far]

    def _far_shapes(self, facts: Mapping[str, Facts]) -> list[str]:
        reasons = []
        for structure, each in facts.items():
            known = self.structures[structure].known
            quantities = each.shape.quantities(each.flat)
            if not quantities and self.structures[structure].always:
                reasons.append(f"{structure} was not found; every training case has it")
            # Far from the references, and far from what this model usually makes of such cases.
            odd = distances(quantities, self.structures[structure].usual)
            for name, distance in distances(quantities, known).items():
                if abs(distance) > self.shape_limit and abs(odd.get(name, 0.0)) > LEAST_LIMIT:
                    reasons.append(far_shape(structure, name, quantities[name], known[name], self.unit))
        return reasons

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "format": FORMAT,
            "about": dict(self.about),
            "channels": list(self.channels),
            "unit": self.unit,
            "cases": self.cases,
            "input_limit": self.input_limit,
            "shape_limit": self.shape_limit,
            "measured": dict(self.measured),
            "inputs": {name: spread.to_json() for name, spread in self.inputs.items()},
            "structures": {name: each.to_json() for name, each in self.structures.items()},
        }

    @classmethod
    def from_json(cls, content: Any) -> QualityModel:
        """Read the document.

        Raises:
            RunError: if it is something else.
        """
        try:
            if content["format"] != FORMAT:
                raise RunError(
                    f"{FILE_NAME} has the format {content['format']!r}; this program reads {FORMAT}. Fit it "
                    f"again with this version of autoseg."
                )
            return cls(
                structures={
                    str(name): StructureModel.from_json(each) for name, each in content["structures"].items()
                },
                inputs=spreads_from_json(content["inputs"]),
                input_limit=float(content["input_limit"]),
                shape_limit=float(content["shape_limit"]),
                channels=tuple(map(str, content["channels"])),
                unit=str(content["unit"]),
                cases=int(content["cases"]),
                about=dict(content["about"]),
                measured=dict(content["measured"]),
            )
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise RunError(
                f"{FILE_NAME} is not valid ({problem!r}). Fit it again, or predict with --no-quality."
            ) from None

    def save(self, path: Path) -> None:
        """Write the document, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> QualityModel:
        """Read the document.

        Raises:
            RunError: if it is missing or something else.
        """
        return cls.from_json(read_json(path, RunError))


def limit_of(distances_of_cases: Sequence[float]) -> float:
    """From where on a case is unlike the training data.

    Args:
        distances_of_cases: of each training case the largest distance of any quantity, to the cases of the
            other folds.
    """
    usual = float(np.quantile(distances_of_cases, USUAL)) if len(distances_of_cases) else 0.0
    return max(LEAST_LIMIT, usual)
