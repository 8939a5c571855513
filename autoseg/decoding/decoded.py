"""Probabilities of a whole case on its raw grid, and what a model's decoding makes of them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.labels import Labels
from autoseg.decoding.rules import Decoding
from autoseg.evaluation.probability_file import ENTRY
from autoseg.preprocessing.restore import segment_probabilities
from autoseg.system.files import atomic_path
from autoseg.trust.evidence import Evidence

Floats = NDArray[Any]

ENDING = ".npz"


@dataclass
class Saved:
    """Filled by a prediction that is to leave its probabilities.

    Attributes:
        probabilities: (heads, z, y, x) on the raw grid, float32, calibrated where the model is.
    """

    probabilities: Floats | None = None


def activated(logits: Floats, labels: Labels) -> Floats:
    """Probabilities of logits (heads, z, y, x) that were restored: outside of the crop, at 0, of background.

    Args:
        logits: overwritten.
        labels: regions or labels that exclude each other.
    """
    for index in range(logits.shape[1]):
        slab = logits[:, index]
        outside = ~slab.any(axis=0)
        if labels.has_regions:
            small = np.exp(-np.abs(slab))
            slab[...] = np.where(slab >= 0, 1, small) / (1 + small)
        else:
            slab -= slab.max(axis=0)
            np.exp(slab, out=slab)
            slab /= slab.sum(axis=0)
        slab[:, outside] = 0
    return logits


def decoded(
    probabilities: Floats,
    decoding: Decoding,
    labels: Labels,
    evidence: Evidence | None = None,
    saved: Saved | None = None,
) -> Floats:
    """The segmentation (z, y, x) of probabilities (heads, z, y, x) on the raw grid.

    Args:
        probabilities: as the networks make them; 0 outside of the crop.
        decoding: of the model.
        labels: what the heads stand for.
        evidence: takes in the probabilities where they decide otherwise than by the largest.
        saved: takes them, calibrated.
    """
    if saved is None and not decoding.changes_segmentations:
        return segment_probabilities(probabilities, labels)
    calibrated = decoding.calibrated(probabilities, labels)
    if saved is not None:
        saved.probabilities = calibrated
    if not decoding.changes_segmentations:
        return segment_probabilities(probabilities, labels)
    segmentation = decoding.segmentation(calibrated, labels)
    if evidence is not None:
        evidence.add_decided(calibrated, segmentation, labels)
    return segmentation


def write_probabilities(probabilities: Floats, path: Path) -> None:
    """Write nnU-Net's form (CASE.npz, entry ``probabilities``), whole or not at all.

    The bytes depend on the values alone: numpy would write the time into the archive.
    """
    entry = zipfile.ZipInfo(f"{ENTRY}.npy", (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    values = np.ascontiguousarray(probabilities, np.float32)
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open(entry, "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array(file, values, allow_pickle=False)
