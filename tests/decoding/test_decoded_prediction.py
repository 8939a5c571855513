"""Wherever a model predicts, its decoding holds, and its probabilities can be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_folders import REGIONS, model_folder, write_volume

from autoseg.bundle.images import read_case
from autoseg.bundle.segment import Segmenter
from autoseg.data.dataset import labels_from_json
from autoseg.decoding.decoded import Saved
from autoseg.decoding.expected_dice import segment_for_dice
from autoseg.decoding.rules import BEST_DICE, Decoding
from autoseg.decoding.temperature import Calibration, calibrated
from autoseg.evaluation.probability_file import read_probabilities
from autoseg.export import export_bundle
from autoseg.inference import load_model
from autoseg.inference.ensemble import load_ensemble
from autoseg.pipeline.single_stages import predict_folder

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("float32")


def read(path: Path) -> np.ndarray:
    array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array


@pytest.mark.parametrize("regions", [False, True])
def test_every_way_of_predicting_decodes(tmp_path: Path, regions: bool) -> None:
    model = model_folder(tmp_path, configuration="2d", **({"about": REGIONS} if regions else {}))
    bias = (0.2, -0.1) if regions else (0.0, 0.2, -0.1)
    path = write_volume(tmp_path / "images" / "a_0000.nii.gz")
    before = read(predict_folder(model, path.parent, tmp_path / "out", device="cpu").files[0])
    raw, saved = read_case([path], "SimpleITKIO"), Saved()
    load_ensemble([model], CPU).segment_image(raw, None, saved)
    assert saved.probabilities is not None
    labels = labels_from_json(load_ensemble([model], CPU).dataset_json)
    expected = segment_for_dice(calibrated(saved.probabilities, Calibration(1.6, bias), regions), labels)
    assert (expected != before).any()

    Decoding(Calibration(1.6, bias), BEST_DICE).save(model)
    # What was made without it is not what would be made now.
    done = predict_folder(model, path.parent, tmp_path / "out", device="cpu")
    assert not done.retained and np.mean(read(done.files[0]) != expected) < 1e-3
    assert np.mean(load_model(model, device="cpu").segment_image(raw) != expected) < 1e-3
    bare = predict_folder(model, path.parent, tmp_path / "bare", device="cpu", postprocessing=False)
    assert np.array_equal(read(bare.files[0]), before)
    # Of two models together nothing was decided.
    assert load_ensemble([model, model], CPU).decoding == Decoding()


def test_a_bundle_decides_as_its_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = model_folder(tmp_path, configuration="2d")
    Decoding(Calibration(1.4, (0.0, 0.3, -0.2)), BEST_DICE, {"n_cases": 5}).save(model)
    bundle = Segmenter.load(export_bundle(model, tmp_path / "bundle"), threads=1)
    raw, saved, theirs = (
        read_case([write_volume(tmp_path / "a_0000.nii.gz")], "SimpleITKIO"),
        Saved(),
        Saved(),
    )
    ours = load_ensemble([model], CPU).segment_image(raw, None, theirs)
    found = bundle.segment_image(raw, None, saved)
    assert np.mean(found != ours) < 1e-3
    assert saved.probabilities is not None and theirs.probabilities is not None
    assert np.allclose(saved.probabilities, theirs.probabilities, atol=2e-3)
    plain = Segmenter.load(tmp_path / "bundle", threads=1, postprocessing=False).segment_image(raw)
    assert (plain != found).any()


def test_probabilities_lie_beside_their_segmentation(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d")
    path = write_volume(tmp_path / "images" / "a_0000.nii.gz")
    plain = predict_folder(model, path.parent, tmp_path / "plain", device="cpu").files[0]
    done = predict_folder(model, path.parent, tmp_path / "out", device="cpu", probabilities=True)
    array = tmp_path / "out" / "a.npz"
    found, segmentation = read_probabilities(array, 3, read(plain).size), read(done.files[0])
    assert found.shape == (3, *segmentation.shape) and found.dtype == np.float32
    assert np.allclose(found.sum(axis=0), 1, atol=1e-4)
    assert np.mean(segmentation != read(plain)) < 1e-3
    assert np.array_equal(found.argmax(axis=0), segmentation)
    # A second call leaves both as they are; without the one both are made again, to the byte.
    state = {each: each.stat().st_mtime_ns for each in (array, done.files[0])}
    again = predict_folder(model, path.parent, tmp_path / "out", device="cpu", probabilities=True)
    assert again.retained and {each: each.stat().st_mtime_ns for each in state} == state
    content = array.read_bytes()
    array.unlink()
    assert not predict_folder(model, path.parent, tmp_path / "out", device="cpu", probabilities=True).retained
    assert array.read_bytes() == content

    Decoding(Calibration(2.0)).save(model)
    warm = predict_folder(model, path.parent, tmp_path / "warm", device="cpu", probabilities=True)
    softer = read_probabilities(tmp_path / "warm" / "a.npz", 3, segmentation.size)
    assert np.allclose(softer, calibrated(found, Calibration(2.0), False), atol=1e-4)
    assert np.array_equal(read(warm.files[0]), segmentation)
