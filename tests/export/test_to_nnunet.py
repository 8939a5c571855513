"""Models that stock nnU-Net opens where there is no autoseg, and those that it cannot."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from model_folders import ABOUT, IGNORE, REGIONS, model_folder, write_volume

from autoseg.errors import RunError, UsageError
from autoseg.export import export_nnunet
from autoseg.inference.ensemble import load_ensemble
from autoseg.pipeline.single_stages import predict_folder
from autoseg.planner.configuration import PERCENTILE
from autoseg.system.files import read_json

PREDICT = (
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"
)


def predict_without_autoseg(model: Path, images: Path, output: Path, work: Path, folds: str) -> None:
    """`nnUNetv2_predict_from_modelfolder` where importing autoseg fails, in all its processes."""
    (work / "blocked").mkdir()
    (work / "blocked" / "autoseg.py").write_text('raise ImportError("there is no autoseg here")\n')
    environment = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet_")}
    environment |= {"PYTHONPATH": str(work / "blocked"), "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "1"}
    options = ["-f", *folds.split(), "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]
    line = [sys.executable, "-c", PREDICT, "-i", images, "-o", output, "-m", model, *options]
    done = subprocess.run(
        list(map(str, line)), env=environment, cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def labels_in(folder: Path) -> list[np.ndarray]:
    return [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(folder.glob("*.nii.gz"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "configuration", "about", "folds"),
    [
        ("nnunet", "3d_fullres", ABOUT, (0, 1)),
        ("nnunet", "2d", REGIONS, (0,)),
        ("nnunet_resenc_m", "2d", IGNORE, (0,)),
    ],
)
def test_stock_predicts_the_same_without_autoseg(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainer: str,
    configuration: str,
    about: Mapping[str, Any],
    folds: tuple[int, ...],
) -> None:
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)  # float32
    model = model_folder(tmp_path, trainer, configuration, about, folds)
    for case in ("a", "bb"):
        write_volume(tmp_path / "images" / f"{case}_0000.nii.gz")
    exported = export_nnunet(model, tmp_path / "exported")
    predict_without_autoseg(
        exported, tmp_path / "images", tmp_path / "stock", tmp_path, " ".join(map(str, folds))
    )
    predict_folder(model, tmp_path / "images", tmp_path / "ours", device="cpu")
    ours, stock = labels_in(tmp_path / "ours"), labels_in(tmp_path / "stock")
    assert len(ours) == len(stock) == 2
    for one, other in zip(ours, stock, strict=True):
        assert len(np.unique(one)) > 1
        # nnU-Net adds up its windows in half precision.
        assert np.mean(one == other) >= 0.997  # two voxels of such a small volume


def test_the_folder_holds_nothing_of_ours(tmp_path: Path) -> None:
    model = model_folder(tmp_path, folds=(0, 1))
    exported = export_nnunet(model, tmp_path / "exported")
    files = sorted(path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file())
    weights = [f"fold_{fold}/checkpoint_final.pth" for fold in range(2)]
    assert files == ["dataset.json", *weights, "plans.json"]
    plans, about = read_json(exported / "plans.json"), read_json(exported / "dataset.json")
    assert list(plans["configurations"]) == ["3d_fullres"] and "autoseg" not in plans
    assert about == ABOUT
    checkpoint = torch.load(exported / weights[0], weights_only=True)
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint["init_args"]["plans"] == plans
    assert checkpoint["inference_allowed_mirroring_axes"] == (0,)
    before = torch.load(model / weights[0], weights_only=False)["network_weights"]
    assert all(torch.equal(before[name], weight) for name, weight in checkpoint["network_weights"].items())
    # What was exported is a model of ours as well.
    assert len(load_ensemble([exported], torch.device("cpu")).models[0].networks) == 2


def test_a_zip_has_the_layout_that_stock_installs(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".{ended.pid}-{platform.node() or 'host'}.model.zip.parts"
    (left / "of a killed export").mkdir(parents=True)
    path = export_nnunet(model_folder(tmp_path), tmp_path / "model.zip")
    with zipfile.ZipFile(path) as archive:
        folder = "Dataset001_Small/nnUNetTrainer__nnUNetPlans__3d_fullres"
        assert sorted(archive.namelist()) == [
            f"{folder}/{name}" for name in ("dataset.json", "fold_0/checkpoint_final.pth", "plans.json")
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dataset001_Small", "model.zip"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trainer": "brainunet"}, r"network \(brainunet\)"),
        ({"normalization_schemes": [PERCENTILE]}, PERCENTILE),
        ({"best": 2}, "averages 2 checkpoints"),
    ],
)
def test_what_stock_cannot_do_is_said(tmp_path: Path, fields: dict[str, Any], reason: str) -> None:
    model = model_folder(tmp_path, configuration="2d", **fields)
    with pytest.raises(RunError, match=rf"{reason}.*--to onnx"):
        export_nnunet(model, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_an_ensemble_is_named_by_its_members(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d")
    row = model.with_name("row")
    row.mkdir()
    (row / "ensemble.json").write_text(f'{{"members": ["{model.name}", "{model.name}"]}}')
    with pytest.raises(RunError, match=r"averages 2 models.*nnUNetv2_ensemble.*--to onnx"):
        export_nnunet(row, tmp_path / "exported")


def test_weights_of_another_network_are_not_exported(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d")
    path = model / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["network_weights"].popitem()
    torch.save(checkpoint, path)
    with pytest.raises(RunError, match="does not take the weights"):
        export_nnunet(model, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize("name", ["there", "there.zip"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    model = model_folder(tmp_path, configuration="2d")
    place = tmp_path / name
    if place.suffix:
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").touch()
    with pytest.raises(UsageError, match="there already"):
        export_nnunet(model, place)
