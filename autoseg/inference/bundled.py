"""A bundle in the place of a model folder: predicted by onnxruntime, handled as any model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.bundle.segment import Segmenter
from autoseg.data.image import Image
from autoseg.decoding.decoded import Saved
from autoseg.planner.configuration import plain
from autoseg.trust.evidence import Evidence


@dataclass(frozen=True)
class BundledModel:
    """A bundle for `predict_cases`.

    Attributes:
        path: the bundle.
        segmenter: its networks, loaded.
    """

    path: Path
    segmenter: Segmenter

    @classmethod
    def load(
        cls,
        path: Path,
        mirroring: bool = True,
        step_size: float | None = None,
        postprocessing: bool = True,
    ) -> BundledModel:
        """Open a bundle and load its networks; see `Segmenter.load`."""
        loaded = Segmenter.load(path, mirroring=mirroring, step_size=step_size, postprocessing=postprocessing)
        return cls(path, loaded)

    @property
    def dataset_json(self) -> Mapping[str, Any]:
        """As the data set had it: channels, labels and the ending of the files."""
        about = self.segmenter.description
        return {
            "channel_names": {str(number): name for number, name in enumerate(about.channels)},
            "labels": plain(about.labels.names),
            "regions_class_order": plain(about.labels.region_order),
            "file_ending": about.file_ending,
            "codes": dict(about.codes),
        }

    @property
    def reader(self) -> str:
        """nnU-Net's reader class."""
        return self.segmenter.description.reader

    @property
    def orientation(self) -> Mapping[str, Any]:
        """How its images are stored."""
        return self.segmenter.description.orientation

    @property
    def hash(self) -> str:
        """Of all its files."""
        return self.segmenter.hash

    def segment_image(
        self, raw: Image, evidence: Evidence | None = None, saved: Saved | None = None
    ) -> np.ndarray[Any, Any]:
        """The segmentation (z, y, x) of a raw image, on its own grid."""
        return self.segmenter.segment_image(raw, evidence, saved)
