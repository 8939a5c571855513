"""A bundle beside the model that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from autoseg.bundle.images import read_case
from autoseg.bundle.segment import Segmenter
from autoseg.inference.ensemble import load_ensemble

# Blocks what a bundle must do without, and says what was loaded all the same.
ALONE = """
import sys, runpy
class Blocked:
    def find_spec(self, name, path=None, target=None):
        missing = "torch nnunetv2 lazy_loader pydantic cc3d nibabel imageio blosc2 edt skimage tifffile PIL"
        if name.split(".")[0] in missing.split():
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocked())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def compare(model: Path, bundle: Path, images: list[Path]) -> float:
    """The share of voxels with equal labels, of a model and of its bundle."""
    predicting, segmenter = load_ensemble([model], torch.device("cpu")), Segmenter.load(bundle, threads=1)
    raw = read_case(images, segmenter.description.reader)
    ours, bundled = predicting.segment_image(raw), segmenter.segment(raw)
    assert len(np.unique(ours)) > 1 and ours.dtype == bundled.dtype
    return float(np.mean(ours == bundled))
