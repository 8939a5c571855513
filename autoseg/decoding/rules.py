"""How a model's probabilities become a segmentation, as JSON beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoseg.data.labels import Labels
from autoseg.decoding.expected_dice import segment_for_dice
from autoseg.decoding.temperature import COLDEST, HOTTEST, STRONGEST, Calibration, calibrated
from autoseg.preprocessing.restore import segment_probabilities
from autoseg.run import DECODING
from autoseg.system.model_document import ModelDocument

FORMAT = 1
LARGEST, CALIBRATED, BEST_DICE = "largest", "calibrated", "best_dice"
# Ways that a model decides by where held-out cases confirm it, the simpler one first, in words.
WAYS = {
    CALIBRATED: "by the likeliest label of the calibrated probabilities",
    BEST_DICE: "for the best expected Dice",
}


def segment_by(way: str, calibrated: NDArray[Any], labels: Labels) -> NDArray[Any]:
    """The segmentation (z, y, x) of calibrated probabilities (heads, z, y, x) by one of `WAYS`."""
    if way == BEST_DICE:
        return segment_for_dice(calibrated, labels)
    return segment_probabilities(calibrated, labels)


@dataclass(frozen=True)
class Decoding(ModelDocument):
    """Of one model.

    Attributes:
        calibration: of its probabilities.
        decide: ``largest``: each voxel has the label of the largest probability as the network makes it;
            ``calibrated``: of the largest calibrated one, which a bias can make another; ``best_dice``: the
            whole is what the calibrated probabilities expect the best Dice of.
        evidence: what both rest on, see `autoseg.decoding.decide`.
    """

    file_name: ClassVar[str] = DECODING
    made_by: ClassVar[str] = "Calibrate again (autoseg calibrate)"

    calibration: Calibration = field(default_factory=Calibration)
    decide: str = LARGEST
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changes_segmentations(self) -> bool:
        """Whether segmentations are others than those of the largest probability."""
        return self.decide != LARGEST

    @property
    def way(self) -> str:
        """How segmentations are decided, to be read after "decided"; empty by the largest probability."""
        return WAYS.get(self.decide, "")

    def calibrated(self, probabilities: NDArray[Any], labels: Labels) -> NDArray[Any]:
        """Probabilities (heads, z, y, x) as calibrated; where there are none, background has all."""
        return calibrated(probabilities, self.calibration, labels.has_regions)

    def segmentation(self, calibrated: NDArray[Any], labels: Labels) -> NDArray[Any]:
        """The segmentation (z, y, x) of calibrated probabilities, by the way that is decided on."""
        return segment_by(self.decide, calibrated, labels)

    def to_json(self) -> dict[str, Any]:
        """decoding.json."""
        return {
            "format": FORMAT,
            "temperature": self.calibration.temperature,
            "bias": list(self.calibration.bias),
            "decide": self.decide,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, content: Any) -> Decoding:
        """Read what `to_json` gave.

        Raises:
            ValueError: if it is something else.
        """
        try:
            if content["format"] != FORMAT or content["decide"] not in (LARGEST, *WAYS):
                raise ValueError(f"format {content['format']!r}, decide {content['decide']!r}")
            temperature = float(content["temperature"])
            if not (np.isfinite(temperature) and COLDEST / 2 < temperature < HOTTEST * 2):
                raise ValueError(f"temperature {temperature}")
            bias = tuple(float(value) for value in content["bias"])
            if not all(abs(value) <= 2 * STRONGEST for value in bias):
                raise ValueError(f"bias {bias}")
            return cls(Calibration(temperature, bias), content["decide"], dict(content["evidence"]))
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"no decoding ({problem!r})") from None

    def plain(self) -> Decoding:
        """The same probabilities, each voxel of the likeliest label."""
        return replace(self, decide=LARGEST)
