"""Labels that are whole numbers only by the slope and intercept of their NIfTI header."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_segmentation
from autoseg.intake.verification.dataset_check import verify

SHAPE = (8, 7, 6)


def write(path: Path, stored: np.ndarray, slope: float, intercept: float) -> None:
    content = bytearray(nib.Nifti1Image(stored, np.diag((-1.0, -1.0, 2.0, 1.0))).to_bytes())
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))


def labelled() -> np.ndarray:
    label = np.zeros(SHAPE, np.int16)
    label[1:5, 1:5, 1:4], label[2:4, 2:4, 2] = 1, 2
    return label


@pytest.fixture(params=[".nii", ".nii.gz"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "Dataset001_Scaled"
    for n in range(3):
        noise = np.random.default_rng(n).normal(0, 9, SHAPE).astype(np.float32)
        write(root / "imagesTr" / f"c{n}_0000{request.param}", noise, 1, 0)
    about = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1, "core": 2}}
    about |= {"numTraining": 3, "file_ending": request.param}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def verified(root: Path, stored: np.ndarray, slope: float, intercept: float) -> set[str]:
    for image in (root / "imagesTr").iterdir():
        write(root / "labelsTr" / image.name.replace("_0000", ""), stored, slope, intercept)
    return {finding.code for finding in verify(root, workers=1).errors}


@pytest.mark.parametrize(
    ("times", "plus", "slope", "intercept"),
    [
        (1, 0, 1, 0),
        (1, 0, 0, 0),
        (1, 0, np.nan, np.nan),
        (3, 0, 1 / 3, 0),
        (10, 0, 0.1, 0),
        (1, 1000, 1, -1000),
        (7, -100, 1 / 7, 100 / 7),
        (-1, 0, -1, 0),
        (127, 0, 2 / 254, 0),
    ],
)
def test_they_mean_what_they_say(root: Path, times: int, plus: int, slope: float, intercept: float) -> None:
    codes = verified(root, (labelled() * times + plus).astype(np.int16), slope, intercept)
    # Copies of one label are known as such; nothing else is wrong.
    assert codes == set()
    dataset = load_dataset(root)
    label = dataset.cases[0].label
    assert label is not None
    assert np.array_equal(read_segmentation(label, dataset.reader).array[0].T, labelled())


@pytest.mark.parametrize(
    ("slope", "intercept", "code"),
    [
        (2, 0, "label_undeclared"),
        (0.5, 0, "label_not_integer"),
        (1, 0.25, "label_not_integer"),
        (1e-42, 0, "bad_scaling"),
        (float("inf"), 0, "bad_scaling"),
        (1, float("nan"), "bad_scaling"),
    ],
)
def test_others_are_errors(root: Path, slope: float, intercept: float, code: str) -> None:
    assert code in verified(root, labelled(), slope, intercept)
