"""A bundle of a cascade holds both stages, and gives the labels of `autoseg predict`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from bundle_and_model import ALONE, compare
from model_folders import ABOUT, REGIONS, cascade_folder, model_folder, write_volume

from autoseg.bundle.archive import Bundle, BundleError, manifest_of
from autoseg.bundle.images import read_case
from autoseg.bundle.segment import Segmenter
from autoseg.decoding.decoded import Saved
from autoseg.errors import RunError
from autoseg.export import export_bundle, export_web, to_web
from autoseg.inference.ensemble import load_ensemble
from autoseg.inference.model import load_model
from autoseg.pipeline.single_stages import predict_folder
from autoseg.system.files import read_json

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SHAPE = (32, 44, 36)
pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cascade whose first stage has two folds, as where few folds are reported, and its bundle."""
    home = tmp_path_factory.mktemp("exported")
    model = cascade_folder(home, folds=(2,), first_folds=(0, 1))
    return model, export_bundle(model, home / "bundle")


def test_the_labels_are_those_of_predict_and_the_first_stage_decides(
    tmp_path: Path, exported: tuple[Path, Path]
) -> None:
    model, bundle = exported
    image = write_volume(tmp_path / "images" / "a_0000.nii.gz", SHAPE)
    line = [sys.executable, "-c", ALONE, bundle / "run.py", tmp_path / "images", tmp_path / "out"]
    done = subprocess.run(list(map(str, line)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    raw = read_case([image], "SimpleITKIO")
    expected = load_ensemble([model], torch.device("cpu")).segment_image(raw)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz")))
    shares = np.bincount(expected.ravel(), minlength=3) / expected.size
    assert shares.min() > 0.05 and np.mean(found == expected) >= 0.999
    other = load_model(model, device="cpu")
    assert other.previous is not None
    other.previous.segment = lambda *_: np.zeros_like(expected)  # type: ignore[method-assign]
    assert np.mean(other.segment_image(raw) == expected) < 0.9


def test_a_bundle_holds_both_stages(exported: tuple[Path, Path]) -> None:
    bundle = exported[1]
    (member,) = read_json(bundle / "model.json")["members"]
    first = member["previous_stage"]
    assert first["networks"] == [f"networks/member0_first_network{number}.onnx" for number in range(2)]
    assert first["preprocessing"]["spacing"] == [1.5, 1.5, 1.5] != member["preprocessing"]["spacing"]
    assert {*first["networks"], *member["networks"]} < Bundle.open(bundle).entries.keys()
    card = (bundle / "card.md").read_text()
    assert "configuration `3d_cascade_fullres`, 3 networks (2 of a cascade's first stage)" in card


def test_predict_takes_its_options_to_both_stages(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    write_volume(tmp_path / "images" / "a_0000.nii.gz", SHAPE)
    options: dict[str, Any] = {"device": "cpu", "mirroring": False, "step_size": 0.8}
    made = [predict_folder(each, tmp_path / "images", tmp_path / each.name, **options) for each in exported]
    ours, bundled = (sitk.GetArrayFromImage(sitk.ReadImage(str(done.files[0]))) for done in made)
    assert np.mean(ours == bundled) >= 0.999 and np.mean(ours > 0) > 0.1


def test_the_probabilities_are_those_of_predict(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    model, bundle = exported
    raw = read_case([write_volume(tmp_path / "a_0000.nii.gz", SHAPE)], "SimpleITKIO")
    ours, bundled = Saved(), Saved()
    load_ensemble([model], torch.device("cpu")).segment_image(raw, saved=ours)
    Segmenter.load(bundle, threads=1).segment_image(raw, saved=bundled)
    assert ours.probabilities is not None and bundled.probabilities is not None
    np.testing.assert_allclose(bundled.probabilities, ours.probabilities, atol=1e-2)


def changed(bundle: Path, to: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A bundle whose only member is described otherwise, with a manifest that fits."""
    shutil.copytree(bundle, to)
    document = read_json(to / "model.json")
    change(document["members"][0])
    (to / "model.json").write_text(json.dumps(document))
    (to / "manifest.json").unlink()
    (to / "manifest.json").write_text(json.dumps(manifest_of(to)))
    return to


def exchange(member: dict[str, Any]) -> None:
    first = member["previous_stage"]
    member["networks"], first["networks"] = first["networks"], member["networks"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda member: member["previous_stage"].update(networks=member["networks"]), "more than once"),
        (exchange, "from and to images"),
        (lambda member: member.pop("previous_stage"), "from and to images"),
        (lambda member: member["previous_stage"].update(networks=["../other.onnx"]), "has no file"),
        (lambda member: member["previous_stage"].update(networks=[]), "not valid"),
        (lambda member: member["previous_stage"].update(previous_stage=None), "a stage before it"),
    ],
)
def test_a_first_stage_that_is_none_is_refused(
    tmp_path: Path, exported: tuple[Path, Path], change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        Segmenter.load(changed(exported[1], tmp_path / "changed", change))


def test_a_first_stage_that_was_changed_is_refused(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    bundle = tmp_path / "changed"
    shutil.copytree(exported[1], bundle)
    first = bundle / "networks" / "member0_first_network0.onnx"
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    with pytest.raises(BundleError, match="member0_first_network0"):
        Segmenter.load(bundle)


def test_a_page_for_a_browser_says_that_it_cannot(
    tmp_path: Path, exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_web, "vendored", dict)
    with pytest.raises(RunError, match="is a cascade, whose two stages the page cannot compute"):
        export_web(exported[1], tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"about": REGIONS, "folds": (2,), "axes": (0, 1)},
        {"about": ABOUT, "folds": (0,), "first_folds": (0,), "best": 2},
        {"about": ABOUT, "folds": (1, 2), "transpose": (2, 0, 1), "axes": None},
    ],
)
def test_what_a_cascade_may_have_is_in_its_bundle(tmp_path: Path, fields: dict[str, Any]) -> None:
    model = cascade_folder(tmp_path, **fields)
    bundle = export_bundle(model, tmp_path / "bundle.zip")
    assert compare(model, bundle, [write_volume(tmp_path / "a_0000.nii.gz", SHAPE)]) >= 0.999


@pytest.mark.slow
def test_an_ensemble_of_a_cascade_and_another_model(tmp_path: Path) -> None:
    cascade = cascade_folder(tmp_path, folds=(2,))
    model_folder(tmp_path, "unet", "2d")
    names = [cascade.name, next(path.name for path in cascade.parent.iterdir() if path.name.endswith("2d"))]
    row = cascade.parent / "row"
    row.mkdir()
    (row / "ensemble.json").write_text(json.dumps({"members": names}))
    bundle = export_bundle(row, tmp_path / "bundle")
    assert [len(each.networks) for each in Segmenter.load(bundle).description.stages] == [1, 1, 1]
    assert compare(row, bundle, [write_volume(tmp_path / "a_0000.nii.gz", SHAPE)]) >= 0.999
