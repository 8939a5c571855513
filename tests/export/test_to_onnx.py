"""Bundles give what the model gives, where there is only onnxruntime, numpy, scipy and SimpleITK."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from bundle_and_model import ALONE, compare
from model_folders import ABOUT, IGNORE, REGIONS, SLICE, model_folder, write_volume
from torch import nn

from autoseg import plugins
from autoseg.bundle import archive
from autoseg.bundle.archive import Bundle, BundleError
from autoseg.bundle.images import read_case
from autoseg.bundle.segment import Segmenter, load_network
from autoseg.errors import MissingDependency, RunError, UsageError
from autoseg.export import export_bundle
from autoseg.export.runner import modules, write_runner
from autoseg.inference.ensemble import load_ensemble
from autoseg.inference.onnx_network import write_network
from autoseg.pipeline.single_stages import predict_folder
from autoseg.planner.configuration import PERCENTILE
from autoseg.system.files import read_json

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
# A trainer for each network, and for the larger kernel of MedNeXt.
ONE_OF_EACH = (
    "nnunet",
    "nnunet_resenc_m",
    "brainunet",
    "resnet34_mlp",
    "deepmrseg",
    "mobilenetv2_unet",
    "resnet50_unet",
    "mednext_s",
    "mednext_s_k5",
    "unet",
    "unetplusplus",
    "deeplabv3",
    "deeplabv3plus",
)
pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of regions, and its bundle."""
    home = tmp_path_factory.mktemp("exported")
    model = model_folder(home, "resnet34_mlp", "2d", REGIONS)
    return model, export_bundle(model, home / "bundle")


def test_a_bundle_segments_by_itself(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    model, bundle = exported
    image = write_volume(tmp_path / "images" / "a_0000.nii.gz", (8, 60, 50))
    line = [sys.executable, "-c", ALONE, bundle / "run.py", tmp_path / "images", tmp_path / "out"]
    done = subprocess.run(list(map(str, line)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    predicting = load_ensemble([model], torch.device("cpu"))
    found = sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz"))
    expected = predicting.segment_image(read_case([image], "SimpleITKIO"))
    assert len(np.unique(expected)) > 1
    assert np.mean(sitk.GetArrayFromImage(found) == expected) >= 0.999
    about = sitk.ReadImage(str(image))
    assert found.GetDirection() == about.GetDirection()
    np.testing.assert_allclose(
        (*found.GetSpacing(), *found.GetOrigin()), (*about.GetSpacing(), *about.GetOrigin())
    )
    # The run has left nothing in the bundle: it opens again, as a whole.
    assert set(Bundle.open(bundle).entries) == {
        path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()
    } - {"manifest.json"}


def test_the_program_is_made_of_the_tested_modules(exported: tuple[Path, Path]) -> None:
    bundle = exported[1]
    found = {path for path in (bundle / "runner").rglob("*.py") if path.name != "__init__.py"}
    assert found == {bundle / "runner" / Path(*name.split(".")).with_suffix(".py") for name in modules()}
    for name, source in modules().items():
        copy = bundle / "runner" / Path(*name.split(".")).with_suffix(".py")
        assert copy.read_bytes() == source.read_bytes()
    suffixes = {path.suffix for path in bundle.rglob("*") if path.is_file()}
    assert suffixes == {".onnx", ".json", ".md", ".py"}
    description = read_json(bundle / "model.json")
    assert description["postprocessing"] is None and description["quality"] is None
    card = (bundle / "card.md").read_text()
    for title in ("Intended use", "Data", "Scores", "Known failures", "Cost", "Licence"):
        assert f"## {title}" in card


def test_the_program_is_whole(tmp_path: Path) -> None:
    write_runner(tmp_path)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import autoseg.bundle.__main__ as m; print(m.__file__)"
    )
    blocked = ALONE.replace('runpy.run_path(sys.argv[0], run_name="__main__")', "") + script
    line = [sys.executable, "-c", blocked, "", str(tmp_path / "runner")]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


def test_each_file_is_read_once_and_none_goes_unchecked(
    tmp_path: Path, exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shutil.copytree(exported[1], tmp_path / "bundle")
    read: list[str] = []
    opened = archive._opened
    monkeypatch.setattr(archive, "_opened", lambda path, name: (read.append(name), opened(path, name))[1])
    Segmenter.load(bundle)
    once = sorted(read)
    assert once == sorted({*Bundle.open(bundle).entries, "manifest.json"})
    for name in ("card.md", "networks/member0_network0.onnx"):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"'{name}' with another content"):
            Segmenter.load(bundle)
        (bundle / name).write_bytes(content)


def test_predict_takes_a_bundle(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    model, bundle = exported
    write_volume(tmp_path / "images" / "a_0000.nii.gz", (8, 60, 50))
    images, options = tmp_path / "images", {"device": "cpu", "mirroring": False, "step_size": 0.8}
    ours = predict_folder(model, images, tmp_path / "ours", **options)
    bundled = predict_folder(bundle, images, tmp_path / "bundled", **options)
    first, second = (sitk.ReadImage(str(done.files[0])) for done in (ours, bundled))
    assert np.mean(sitk.GetArrayFromImage(first) == sitk.GetArrayFromImage(second)) >= 0.999
    assert first.GetDirection() == second.GetDirection() and first.GetOrigin() == second.GetOrigin()
    # The same bundle and options would make the same again.
    assert predict_folder(bundle, images, tmp_path / "bundled", **options).retained == bundled.files
    with pytest.raises(UsageError, match="predicts by itself"):
        predict_folder(model, images, tmp_path / "both", device="cpu", more=[bundle])
    with pytest.raises(UsageError, match="on the processor"):
        predict_folder(bundle, images, tmp_path / "gpu", device="cuda")


def test_every_network_is_exported_below() -> None:
    def network(trainer: str) -> str:
        kind = plugins.trainer_class(trainer)
        return str(kind.architecture or kind.planned_architecture)

    assert {network(name) for name in plugins.available("trainers")} == {
        network(name) for name in ONE_OF_EACH
    }


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("trainer", ONE_OF_EACH)
def test_every_network_is_the_same_in_onnx(tmp_path: Path, trainer: str, configuration: str) -> None:
    if int(configuration[0]) not in plugins.trainer_class(trainer).dimensions:
        pytest.skip(f"{trainer} is not for {configuration}")
    model = model_folder(tmp_path, trainer, configuration)
    bundle = export_bundle(model, tmp_path / "bundle")
    assert read_json(bundle / "model.json")["about"]["difference_to_torch"] <= 1e-3
    shape = (7, 40, 36) if configuration == "2d" else (22, 27, 24)
    assert compare(model, bundle, [write_volume(tmp_path / "a_0000.nii.gz", shape)]) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"about": REGIONS, "folds": (0, 1), "axes": (0, 1)},
        {"about": IGNORE, "best": 2, "folds": (1,)},
        {"about": REGIONS, "best": 2, "axes": None},
        {"transpose": (2, 0, 1)},
        {"normalization_schemes": [PERCENTILE], "use_mask_for_norm": [True]},
        {"normalization_schemes": ["CTNormalization"]},
    ],
)
def test_what_a_model_may_have_is_in_its_bundle(tmp_path: Path, fields: dict[str, Any]) -> None:
    model = model_folder(tmp_path, "resnet34_mlp", "2d", **fields)
    bundle = export_bundle(model, tmp_path / "bundle.zip")
    assert compare(model, bundle, [write_volume(tmp_path / "a_0000.nii.gz", (8, 50, 46))]) >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize("about", [ABOUT, REGIONS])
def test_an_ensemble_of_orientations(tmp_path: Path, about: Mapping[str, Any]) -> None:
    members = []
    for axis, order in enumerate([(0, 1, 2), (1, 0, 2), (2, 0, 1)]):
        member = model_folder(tmp_path / str(axis), "resnet34_mlp", "2d", about, transpose=order)
        members.append(member.rename(tmp_path / f"axis{axis}"))
    row = tmp_path / "row"
    row.mkdir()
    (row / "ensemble.json").write_text('{"members": ["axis0", "axis1", "axis2"]}')
    bundle = export_bundle(row, tmp_path / "bundle")
    assert len(Segmenter.load(bundle).description.members) == 3
    assert compare(row, bundle, [write_volume(tmp_path / "a_0000.nii.gz", (20, 28, 24))]) >= 0.999


@pytest.mark.slow
def test_pictures(tmp_path: Path) -> None:
    model = model_folder(tmp_path, "unet", "2d", SLICE)
    bundle = export_bundle(model, tmp_path / "bundle")
    path = tmp_path / "a_0000.png"
    values = np.random.default_rng(0).integers(0, 255, (12, 10)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(np.kron(values, np.ones((5, 5), np.uint8))), str(path))
    assert compare(model, bundle, [path]) >= 0.999


class Unlike(nn.Module):
    """Gives something else in training mode's absence of onnxruntime: a constant that an export freezes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The image, with what the number of calls adds."""
        self.calls += 1
        return image + self.calls


def test_a_network_that_differs_in_onnx_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="of their spread"):
        write_network(Unlike(), 1, (4, 4), tmp_path / "a.onnx")


def test_a_network_of_other_shapes_is_refused_before_it_is_used(tmp_path: Path) -> None:
    write_network(nn.Conv2d(1, 3, 1), 1, (4, 4), tmp_path / "a.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert (
        load_network(content, "a", 1, ((1, 4, 4), (3, 4, 4)))(np.zeros((2, 1, 4, 4), np.float32)).shape[1]
        == 3
    )
    for shapes in (((2, 4, 4), (3, 4, 4)), ((1, 5, 4), (3, 5, 4)), ((1, 4, 4), (2, 4, 4)), ((1, 4), (3, 4))):
        with pytest.raises(BundleError, match=r"a goes from and to images of .*model\.json says"):
            load_network(content, "a", 1, shapes)
    with pytest.raises(BundleError, match=r"a fails on \(1, 1, 9, 9\)"):
        load_network(content, "a", 1)(np.zeros((1, 1, 9, 9), np.float32))


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ValueError("no such operator")

    monkeypatch.setattr("torch.onnx.export", fail)
    model = model_folder(tmp_path, "unet", "2d")
    for name in ("out", "out.zip"):
        with pytest.raises(RunError, match=r"cannot be written as ONNX.*no such operator"):
            export_bundle(model, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset001_Small"]


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        export_bundle(tmp_path, tmp_path / "there.zip")


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(MissingDependency, match=r"autoseg-medical\[onnx\]"):
        export_bundle(tmp_path, tmp_path / "out")


def test_a_reader_that_a_bundle_has_not(tmp_path: Path) -> None:
    model = model_folder(tmp_path, "unet", "2d", {**ABOUT, "overwrite_image_reader_writer": "Tiff3DIO"})
    with pytest.raises(RunError, match="Tiff3DIO"):
        export_bundle(model, tmp_path / "out")
