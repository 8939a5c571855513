"""Which windows `--fast` gives mirrored copies, and how many: measured on a model's held-out cases and kept.

How much mirrored copies matter differs from model to model, and no first pass says it. So of a few rules the
cheapest is taken that changes the Dice of held-out cases by little; without such cases the most careful one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from autoseg.inference.window_passes import Certainty
from autoseg.system.model_document import ModelDocument

FORMAT = 1
# Mean Dice that may be lost, a standard error included.
MOST_LOST = 0.002


@dataclass(frozen=True)
class FastRule(ModelDocument):
    """Of one model.

    Attributes:
        share: of a window's voxels, weighted as in the prediction, that may be in doubt for it to have no
            mirrored copies; with 1 none has.
        copies: that are averaged where more are in doubt, the first pass included; None: all.
        evidence: what it rests on, see `autoseg.pipeline.fast_prediction`; empty where nothing was measured.
    """

    file_name: ClassVar[str] = "fast.json"
    made_by: ClassVar[str] = "Predict with --fast again"

    share: float = 1e-3
    copies: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def certainty(self) -> Certainty:
        """A new count of windows by this rule."""
        return Certainty(share=self.share, copies=self.copies)

    @property
    def how(self) -> dict[str, Any]:
        """What predictions depend on."""
        return {"share": self.share, "copies": self.copies}

    @property
    def words(self) -> str:
        """The rule for a reader."""
        if self.share >= 1:
            return "no window has mirrored copies"
        many = "all mirrored copies" if self.copies is None else f"{self.copies} copies"
        return f"a window with more than {self.share:.1%} of its voxels in doubt has {many}, others none"

    @property
    def change_in_words(self) -> str:
        """What it changes, as measured."""
        if not self.evidence:
            return "What this changes in Dice is not known: no held-out cases of the model are at hand."
        about = self.evidence
        return (
            f"On {about['cases']} held-out cases it changes the mean Dice by {about['change']:+.4f} "
            f"(standard error {about['standard_error']:.4f}; measured once, kept in {self.file_name})."
        )

    def to_json(self) -> dict[str, Any]:
        """fast.json."""
        return {"format": FORMAT, **self.how, "evidence": dict(self.evidence)}

    @classmethod
    def from_json(cls, content: Any) -> FastRule:
        """Read what `to_json` gave.

        Raises:
            ValueError: if it is something else.
        """
        try:
            share, copies, evidence = content["share"], content["copies"], dict(content["evidence"])
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            if evidence:
                numbers = (evidence["change"], evidence["standard_error"], evidence["cases"])
                if not all(math.isfinite(each) for each in numbers):
                    raise ValueError(f"the numbers {numbers}")
        except (KeyError, TypeError) as problem:
            raise ValueError(f"no rule of fast prediction ({problem!r})") from None
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise ValueError(f"share {share!r}, expected a number from 0 to 1")
        if copies is not None and (type(copies) is not int or copies < 2):
            raise ValueError(f"copies {copies!r}, expected null or a whole number from 2")
        return cls(float(share), copies, evidence)


# From the cheapest to the most careful, which is taken unmeasured too.
RULES = (FastRule(share=1.0), FastRule(copies=2), FastRule(copies=4), FastRule())
