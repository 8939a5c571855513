"""Prediction with one trained model: of preprocessed cases, and of images that nobody has seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autoseg.data import readers as images
from autoseg.data.dataset import Case
from autoseg.system import progress

log = logging.getLogger(__name__)


class Predictor(Protocol):
    """A model or an ensemble, see `predict_cases`."""

    @property
    def dataset_json(self) -> Mapping[str, Any]:
        """Of the data set that it was trained on."""

    @property
    def reader(self) -> str:
        """nnU-Net's reader class."""

    def segment_image(self, raw: images.Image) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid."""


def predict_cases(
    model: Predictor, cases: Sequence[Case], output: Path, *, overwrite: bool = False
) -> list[Path]:
    """Predict raw cases and write one segmentation each, on the case's own grid.

    Args:
        model: see `load_model`, and `load_ensemble` for several.
        cases: with images in the channel order of the model's data set.
        output: folder; created if need be.
        overwrite: predict again what is there.

    Returns:
        The files, in the order of the cases.
    """
    ending = model.dataset_json["file_ending"]
    written = []
    with progress.stage("Predict", total=len(cases)) as advance:
        for case in cases:
            target = output / f"{case.identifier}{ending}"
            if overwrite or not target.is_file():
                raw = images.read_images(case.images, model.reader)
                segmentation = model.segment_image(raw)
                images.write_segmentation(segmentation, target, raw.properties, model.reader)
            written.append(target)
            advance(detail=case.identifier)
    return written
