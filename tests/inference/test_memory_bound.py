"""Strips that keep the logits small, and what a prediction takes at most."""

from __future__ import annotations

import itertools
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series
from model_folders import ABOUT, REGIONS, cascade_folder, model_folder

from autoseg.data.dataset import labels_from_json
from autoseg.data.readers import Image
from autoseg.export import export_bundle
from autoseg.inference import memory_bound
from autoseg.inference.ensemble import Ensemble
from autoseg.inference.memory_bound import strips
from autoseg.inference.model import Model, load_model
from autoseg.inference.say_memory import say_bound, sizes_of
from autoseg.trust.evidence import Evidence

MANY = {**ABOUT, "labels": {"background": 0, **{f"s{number}": number for number in range(1, 8)}}}


def test_strips_cover_all_rows_and_share_one() -> None:
    assert strips((300, 400, 400), (128, 128, 128), 2, 2**40) == [(0, 400)]
    found = strips((300, 400, 400), (128, 128, 128), 117, 2**33)
    assert len(found) > 1 and found[0][0] == 0 and found[-1][1] == 400
    assert all(one[1] == other[0] + 1 for one, other in itertools.pairwise(found))
    assert all(8 * 117 * 128 * 400 * (last - first) <= 2**33 for first, last in found)
    # However little there is, a strip is a quarter of a patch high; slices need none.
    assert min(last - first for first, last in strips((300, 400, 400), (128, 128, 128), 117, 1)) >= 31
    assert strips((300, 512, 512), (512, 512), 117, 2**30) == [(0, 512)]


def segmented(
    model: Model, raw: Image, limit: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, Evidence]:
    monkeypatch.setattr(memory_bound, "logits_limit", lambda: limit)
    evidence = Evidence.of(labels_from_json(model.dataset_json))
    return model.segment(*model.preprocess(raw), evidence), evidence


@pytest.mark.parametrize("about", [MANY, REGIONS])
@pytest.mark.parametrize("spacing", [(1.3, 0.8, 1.1), (1.0, 1.4, 1.0)])
def test_strips_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, about: dict[str, object], spacing: tuple[float, ...]
) -> None:
    model = load_model(model_folder(tmp_path, about=about), device="cpu")
    array = np.random.default_rng(0).normal(100, 20, (1, 14, 50, 26)).astype(np.float32)
    raw = Image(array, spacing, {"spacing": spacing})
    whole, seen = segmented(model, raw, 2**40, monkeypatch)
    parted, seen_in_parts = segmented(model, raw, 1, monkeypatch)
    assert len(np.unique(whole)) > 1
    assert np.mean(whole == parted) >= 0.9999
    assert seen.voxels == seen_in_parts.voxels
    np.testing.assert_allclose(seen_in_parts.heads, seen.heads, rtol=1e-3, atol=2)
    np.testing.assert_allclose(seen_in_parts.copies, seen.copies, rtol=1e-3, atol=2)


_CHILD = """
import logging, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO)
from autoseg.inference import memory_bound
memory_bound.logits_limit = lambda: int(sys.argv[1])
from autoseg.pipeline.single_stages import predict_folder
images, output, model, *more = map(Path, sys.argv[2:])
how = {"device": "cpu", "mirroring": False, "step_size": 1.0}
predict_folder(model, images, output, more=more, **how)
print(Path("/proc/self/status").read_text())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell a process its peak")
@pytest.mark.parametrize("what", ["images", "dicom", "folds", "models", "bundle", "cascade"])
def test_the_bound_is_kept_with_many_classes(tmp_path: Path, what: str) -> None:
    heads, shape = 100, (40, 110, 80)
    about = {**ABOUT, "labels": {"background": 0, **{f"s{number}": number for number in range(1, heads)}}}
    folds = (0, 1) if what == "folds" else (0,)
    folder = cascade_folder if what == "cascade" else model_folder
    models = [folder(tmp_path, about=about, axes=None, folds=folds)]
    if what == "models":
        models.append(model_folder(tmp_path / "other", about=about, axes=None))
    if what in ("bundle", "cascade"):
        pytest.importorskip("onnxscript", reason="an extra")
        models = [export_bundle(models[0], tmp_path / "bundle")]
    image = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    (tmp_path / "in").mkdir()
    if what == "dicom":
        labels = (image > 100).astype(np.uint8)
        write_series(tmp_path / "in", spacing=(1, 1), step=1.0, labels=labels, modality="MR")
    else:
        sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / "in" / "a_0000.nii.gz"))
    limit = 48 * 2**20 if what == "images" else 2**40  # strips predict windows several times
    line = [sys.executable, "-c", _CHILD, limit, tmp_path / "in", tmp_path / "out", *models]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = re.search(r"at most ([\d.]+) GB .* logits ([\d.]+) GB.*?(?: in (\d+) strips)?\), for", done.stderr)
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert said is not None and peak is not None, done.stderr
    if what == "images":
        assert int(said[3]) > 1 and float(said[2]) * 1e9 < 4 * heads * np.prod(shape)
    else:
        assert said[3] is None
    assert int(peak[1]) * 1024 <= float(said[1]) * 1e9, (said[0], peak[0])
    assert float(said[1]) * 1e9 <= 3 * int(peak[1]) * 1024, "a bound that says nothing"


def test_of_small_cases_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from autoseg.data.dataset import Case

    path = tmp_path / "a_0000.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.float32)), str(path))
    model = load_model(model_folder(tmp_path), device="cpu")
    with caplog.at_level(logging.INFO):
        assert say_bound(Ensemble([model]), sizes_of([Case("a", (path,), None)])) is None
    assert "Memory" not in caplog.text
