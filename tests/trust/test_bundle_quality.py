"""A bundle says how good its segmentations will be, without torch."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series
from held_out_cases import DATASET, LABELS, held_out, profiles

from autoseg.bundle.description import Description, Member
from autoseg.bundle.folder import Request, segment_folder
from autoseg.bundle.segment import Segmenter
from autoseg.data.dicom_objects.result import read_series
from autoseg.data.dicom_objects.series_inputs import series_in
from autoseg.trust.fit import fitted


def bundle() -> Segmenter:
    """Bright voxels are the organ; one network, mirrored along z."""
    member = Member.from_json(
        {
            "preprocessing": {
                "transpose": [0, 1, 2],
                "spacing": [1.0, 1.0, 1.0],
                "normalization": [{"scheme": "NoNormalization", "within_nonzero": False, "intensities": {}}],
                "resampling": {
                    "resampling_fn_data": "resample_data_or_seg_to_shape",
                    "resampling_fn_data_kwargs": {"order": 3},
                    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                    "resampling_fn_probabilities_kwargs": {"order": 1},
                },
            },
            "window": {"patch_size": [16, 16, 16], "step_size": 0.5, "mirror_axes": [0]},
            "networks": ["networks/a.onnx"],
            "mean_of": "logits",
        }
    )
    quality = fitted(held_out(40), DATASET, profiles(40), {})
    about = Description("m", ("MR",), ".nii.gz", "SimpleITKIO", LABELS, (member,), quality=quality)
    again = Description.from_json(json.loads(json.dumps(about.to_json(), allow_nan=False)))
    assert again.to_json() == about.to_json()

    def network(batch: np.ndarray) -> np.ndarray:
        return np.concatenate([-batch, batch], axis=1) * np.float32(4)

    return Segmenter(again, {"networks/a.onnx": network})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    ball = ((np.indices((20, 20, 20)) - 9.5) ** 2).sum(0) < 39
    random = np.random.default_rng(0)
    for name, contrast in (("clear", 1.0), ("faint", 0.02)):
        array = np.where(ball, contrast, -contrast) + 0.001 * random.normal(size=ball.shape)
        sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.float32)), str(folder / f"{name}_0000.nii.gz"))
    return folder


def test_both_files_are_written_beside_the_segmentations(images: Path, tmp_path: Path) -> None:
    written, left_out = segment_folder(bundle(), images, tmp_path / "out")
    assert len(written) == 2 and not left_out
    cases = json.loads((tmp_path / "out" / "quality.json").read_text())["cases"]
    clear, faint = (cases[name]["structures"]["organ"] for name in ("clear", "faint"))
    assert clear["expected_dice"] > faint["expected_dice"]
    # The network does not care for sides.
    assert clear["evidence"]["agreement"] == pytest.approx(1.0)
    assert (tmp_path / "out" / "quality.csv").read_text().count("\n") == 3


def test_without_quality_the_segmentations_are_the_same(images: Path, tmp_path: Path) -> None:
    segment_folder(bundle(), images, tmp_path / "out")
    segment_folder(bundle(), images, tmp_path / "plain", Request(quality=False))
    unaware = bundle()
    unaware = replace(unaware, description=replace(unaware.description, quality=None))
    segment_folder(unaware, images, tmp_path / "unaware")
    for place in ("plain", "unaware"):
        assert {path.name for path in (tmp_path / place).iterdir()} == {"clear.nii.gz", "faint.nii.gz"}
        for path in (tmp_path / place).iterdir():
            assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_a_series_and_a_file_of_the_same_voxels_have_the_same_quality(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    # Spacings that NIfTI's 32 bits hold exactly.
    series = write_series(tmp_path / "series", "axial", spacing=(0.75, 0.5), step=2.5, modality="MR")
    (case,) = series_in(series.folder, ("MR",), "SimpleITKIO", False).cases
    image = read_series(case.stack, "MR")
    volume = sitk.GetImageFromArray(image.array[0])
    volume.SetSpacing(tuple(image.spacing[::-1]))
    (tmp_path / "files").mkdir()
    sitk.WriteImage(volume, str(tmp_path / "files" / "same_0000.nii.gz"))
    rows = []
    for source in ("series", "files"):
        written, left_out = segment_folder(bundle(), tmp_path / source, tmp_path / f"of_{source}")
        assert len(written) == 1 and not left_out
        with (tmp_path / f"of_{source}" / "quality.csv").open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file))
    first, second = rows
    assert first.pop("case") == case.name and second.pop("case") == "same"
    assert first == second and float(first["size"]) > 0 and 0 < float(first["expected_dice"]) < 1
