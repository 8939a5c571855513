"""Rules beside a model are applied wherever it predicts new images, and leave the workspace with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_folders import model_folder, write_volume

from autoseg.bundle.images import read_case
from autoseg.bundle.segment import Segmenter
from autoseg.errors import RunError
from autoseg.export import export_bundle, export_nnunet
from autoseg.inference import load_model
from autoseg.inference.ensemble import load_ensemble
from autoseg.pipeline.single_stages import predict_folder
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing, Rule

RULES = Postprocessing((Rule("head", (1,), 1, largest=True), Rule("body", (2,), 2, smallest=0.05, fill=True)))
pytestmark = pytest.mark.usefixtures("float32")


def read(path: Path) -> np.ndarray:
    array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array


def test_every_way_of_predicting_applies_them(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d")
    path = write_volume(tmp_path / "images" / "a_0000.nii.gz")
    plain = predict_folder(model, path.parent, tmp_path / "out", device="cpu").files[0]
    before = read(plain)
    RULES.save(model)
    raw = read_case([path], "SimpleITKIO")
    expected = postprocess(before, RULES, raw.spacing)
    assert (expected != before).any() and len(np.unique(expected)) == 3
    # What was made without the rules is not what would be made now.
    done = predict_folder(model, path.parent, tmp_path / "out", device="cpu")
    assert not done.retained and np.array_equal(read(done.files[0]), expected)
    bare = predict_folder(model, path.parent, tmp_path / "bare", device="cpu", postprocessing=False)
    assert np.array_equal(read(bare.files[0]), before)
    assert np.array_equal(load_model(model, device="cpu").segment_image(raw), expected)
    # Of two models together nothing was decided.
    assert not load_ensemble([model, model], torch.device("cpu")).postprocessing.rules


def test_a_bundle_takes_them_along(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = model_folder(tmp_path, configuration="2d")
    RULES.save(model)
    bundle = export_bundle(model, tmp_path / "bundle")
    raw = read_case([write_volume(tmp_path / "images" / "a_0000.nii.gz")], "SimpleITKIO")
    with_rules, without = (
        Segmenter.load(bundle, threads=1, postprocessing=wanted).segment(raw) for wanted in (True, False)
    )
    assert (with_rules != without).any()
    assert np.array_equal(with_rules, postprocess(without, RULES, raw.spacing))


def test_stock_gets_what_it_knows_and_the_rest_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = model_folder(tmp_path, folds=(0, 1))
    RULES.save(model)
    exported = export_nnunet(model, tmp_path / "exported")
    functions, arguments = pickle.loads(  # as nnU-Net reads it
        (exported / "crossval_results_folds_0_1" / "postprocessing.pkl").read_bytes()
    )
    array = np.zeros((4, 8, 8), np.uint8)
    array[0, 0, :3], array[3, 3, 3] = 1, 1
    found = functions[0](array, **arguments[0])
    assert len(functions) == 1 and found.sum() == 3
    assert "body: components from 0.05 ml" in caplog.text and "head" not in caplog.text


def test_a_file_that_is_no_decision_is_refused(tmp_path: Path) -> None:
    model = model_folder(tmp_path)
    (model / "postprocessing.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match="autoseg postprocess"):
        load_model(model, device="cpu")
