"""What is reviewed: cases in an order that matters, with their images, references and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autoseg.data.image import Array
from autoseg.data.labels import Labels
from autoseg.errors import DataError

# Whether the references of a data set are reviewed, or predictions that have none.
Kind = Literal["labels", "predictions"]


@dataclass(frozen=True)
class ReviewCase:
    """One case.

    Attributes:
        case: its identifier.
        images: one file for each channel, or one with several.
        reference: its label file, if it has one.
        prediction: a segmentation of a model that has not seen it, if there is one.
        mark: one or a few words; empty for nothing.
        reasons: in words.
        numbers: what is known of it, name to words.
    """

    case: str
    images: tuple[Path, ...]
    reference: Path | None = None
    prediction: Path | None = None
    mark: str = ""
    reasons: tuple[str, ...] = ()
    numbers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Review:
    """All that a review is about.

    Attributes:
        title: of the page.
        kind: what is judged and corrected, references or predictions.
        cases: the worst first.
        labels: of the data set or the model.
        channels: their names.
        reader: nnU-Net's name of the reader.
        file_ending: of images and segmentations.
        folder: where decisions and corrections are stored.
        order: by what the cases are ordered, in a sentence.
        dataset_json: of the data set or the model.
        root: the raw data set, where there is one.
        as_written: what `predict` would write of a held-out prediction, which is stored without the model's
            postprocessing; given (z, y, x) and its spacing.
    """

    title: str
    kind: Kind
    cases: tuple[ReviewCase, ...]
    labels: Labels
    channels: tuple[str, ...]
    reader: str
    file_ending: str
    folder: Path
    order: str
    dataset_json: Mapping[str, Any]
    root: Path | None = None
    as_written: Callable[[Array, Sequence[float]], Array] | None = None

    def judged(self, case: ReviewCase) -> Path | None:
        """The file of a case that is accepted, rejected or corrected."""
        return case.reference if self.kind == "labels" else case.prediction

    def named(self, identifier: str) -> ReviewCase:
        """The case of that name.

        Raises:
            DataError: if there is none.
        """
        for case in self.cases:
            if case.case == identifier:
                return case
        raise DataError(
            f"There is no case {identifier!r} in this review. Give one of its {len(self.cases)} cases."
        )
