"""The bundle's program: what it loads, its sliding window, and what its description may say."""

from __future__ import annotations

import copy
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
import pytest
import torch
from torch import nn

from autoseg.bundle.archive import BundleError
from autoseg.bundle.description import Description, Member
from autoseg.bundle.images import find_cases, read_case
from autoseg.bundle.sliding_window import predict_slabs
from autoseg.data import readers
from autoseg.data.labels import Labels
from autoseg.errors import DataError, MissingDependency
from autoseg.inference.sliding_window import predict_logits


def test_it_loads_nothing_that_a_bundle_does_without() -> None:
    script = "import autoseg.bundle.__main__, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "torch",
        "nnunetv2",
        "pydantic",
        "typer",
        "cc3d",
        "nibabel",
        "matplotlib",
    }


def test_a_missing_package_is_named_as_pip_has_it_where_there_is_no_autoseg(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", lambda name: "1")
    said = str(MissingDependency("highdicom", "dicom", "Writing dicom-seg"))
    assert said.endswith("Install it: pip install 'autoseg-medical[dicom]'")
    monkeypatch.setattr(metadata, "version", unknown)
    said = str(MissingDependency("highdicom", "dicom", "Writing dicom-seg"))
    assert said.endswith("Install it: pip install highdicom")


@pytest.mark.parametrize(
    ("patch", "shape"),
    [((6, 5, 8), (13, 11, 9)), ((6, 5, 8), (4, 12, 8)), ((5, 8), (3, 11, 6)), ((7, 7), (1, 20, 7))],
)
@pytest.mark.parametrize("axes", [(), (0,), (0, 1)])
def test_the_window_is_that_of_predict(
    patch: tuple[int, ...],
    shape: tuple[int, int, int],
    axes: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autoseg.bundle.sliding_window.VOXELS_AT_ONCE", 400)  # several batches
    torch.manual_seed(1)
    kind = nn.Conv3d if len(patch) == 3 else nn.Conv2d
    network = kind(2, 3, 3, padding=1).eval()
    image = torch.randn(2, *shape)

    def alone(batch: np.ndarray[Any, Any]) -> Any:
        return network(torch.from_numpy(batch)).detach().numpy()

    expected = predict_logits(network, image, patch, step_size=0.5, mirror_axes=axes)
    slabs = list(predict_slabs([alone], image.numpy(), patch, 0.5, axes))
    assert len(slabs) > 1 or shape[0] <= patch[0]
    np.testing.assert_allclose(np.concatenate(slabs, axis=1), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((9, 7), "uint8"), ((9, 7, 3), "uint8"), ((9, 7, 4), "uint8"), ((9, 7), "uint16"), ((9, 7), "bool")],
)
def test_pictures_are_read_as_nnunet_reads_them(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else np.iinfo(dtype).max, shape)
    path = tmp_path / "a_0000.png"
    if dtype == "bool":
        from PIL import Image

        Image.fromarray(values.astype(bool)).save(path)
    else:
        imageio.v3.imwrite(path, values.astype(dtype))
    expected = readers.read_images([path], "NaturalImage2DIO")
    found = read_case([path], "NaturalImage2DIO")
    np.testing.assert_array_equal(found.array, expected.array)
    assert (found.spacing, found.array.dtype) == (expected.spacing, expected.array.dtype)


def description() -> dict[str, Any]:
    """A valid model.json with one member."""
    resampling = {"resampling_fn_data_kwargs": {"order": 3}}
    content = {
        "preprocessing": {
            "transpose": [0, 1, 2],
            "spacing": [1.0, 1.0],
            "normalization": [{"scheme": "NoNormalization", "within_nonzero": False, "intensities": {}}],
            "resampling": resampling,
        },
        "window": {"patch_size": [8, 8], "step_size": 0.5, "mirror_axes": [0]},
        "networks": ["networks/a.onnx"],
        "mean_of": "logits",
    }
    member = Member.from_json(content)
    labels = Labels({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
    document = Description("m", ("MR",), ".nii.gz", "SimpleITKIO", labels, (member,)).to_json()
    assert document["members"] == [content]
    return document


def test_a_description_comes_back_as_it_was() -> None:
    document = description()
    assert Description.from_json(document).to_json() == document


def cascade() -> dict[str, Any]:
    """The same with a first stage."""
    document = description()
    first = copy.deepcopy(document["members"][0])
    document["members"][0] |= {"networks": ["networks/b.onnx"], "previous_stage": first}
    document["members"][0]["preprocessing"]["resampling"]["resampling_fn_seg_kwargs"] = {}
    return document


def test_a_second_stage_takes_a_channel_for_each_label() -> None:
    found = Description.from_json(cascade())
    assert found.to_json() == cascade()
    first, second = found.stages
    assert second.previous is first and [found.inputs(stage) for stage in found.stages] == [1, 3]


@pytest.mark.parametrize(
    ("keys", "to", "said"),
    [
        (("members", 0, "previous_stage"), None, "not valid"),
        (("members", 0, "previous_stage"), {}, "not valid"),
        (("members", 0, "previous_stage"), "previous_stage", "a stage before it"),
        (("members", 0, "previous_stage", "previous_stage"), None, "a stage before it"),
        (("members", 0, "previous_stage", "window", "step_size"), 0, "step 0"),
        (("members", 0, "previous_stage", "networks"), ["networks/b.onnx"], "more than once"),
        (("members", 0, "preprocessing", "resampling"), {}, "not valid"),
        (("members", 0, "preprocessing", "resampling", "resampling_fn_seg_kwargs"), [], "no rules"),
        (("labels", "names", "whole"), list(range(1, 5000)), "network of 5000 channels"),
    ],
)
def test_a_first_stage_that_is_wrong_is_refused(keys: tuple[str | int, ...], to: Any, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Description.from_json(changed(cascade(), *keys, to=to))


def changed(document: dict[str, Any], *keys: str | int, to: Any) -> dict[str, Any]:
    place: Any = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return document


@pytest.mark.parametrize(
    ("keys", "to", "said"),
    [
        (("version",), 2, "version 2"),
        (("postprocessing",), {"largest": 1}, "no rules of postprocessing"),
        (("quality",), {"a": 1}, "a quality that cannot be read"),
        (("reader",), "NibabelIOWithReorient", "a bundle has SimpleITKIO"),
        (("labels", "region_order"), [1], "region order"),
        (("members", 0, "window", "step_size"), 0, "step 0"),
        (("members", 0, "window", "mirror_axes"), [2], "mirrored axes"),
        (("members", 0, "window", "patch_size"), ["many", 8], "not valid"),
        (("members", 0, "preprocessing", "transpose"), [0, 0, 1], "axes"),
        (("members", 0, "preprocessing"), None, "not valid"),
        (("members", 0, "mean_of"), "labels", "mean of 'labels'"),
    ],
)
def test_a_description_that_is_wrong_is_refused(keys: tuple[str | int, ...], to: Any, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Description.from_json(changed(description(), *keys, to=to))


@pytest.mark.parametrize("content", [[], {}, None, "text"])
def test_what_is_no_description_is_refused(content: Any) -> None:
    with pytest.raises(BundleError, match="not valid"):
        Description.from_json(content)


@pytest.mark.parametrize(
    ("names", "channels", "said"),
    [
        ([], 1, "no images named CASE_0000.nii.gz"),
        (["a_0000.nii.gz", "a_0002.nii.gz"], 2, "case a has the channels"),
        (["a_0001.nii.gz"], 1, "case a has the channels"),
    ],
)
def test_a_folder_without_whole_cases_is_refused(
    tmp_path: Path, names: list[str], channels: int, said: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=said):
        find_cases(tmp_path, ".nii.gz", channels)


def test_cases_and_single_files(tmp_path: Path) -> None:
    def touch(name: str) -> Path:
        return tmp_path / name

    for name in (
        "b_0000.nii.gz",
        "b_0001.nii.gz",
        "a_0000.nii.gz",
        "a_0001.nii.gz",
        ".a_0000.nii.gz",
        "notes.txt",
    ):
        touch(name).touch()
    found = find_cases(tmp_path, ".nii.gz", 2)
    assert found == {
        name: (touch(f"{name}_0000.nii.gz"), touch(f"{name}_0001.nii.gz")) for name in ("a", "b")
    }
    assert find_cases(touch("a_0000.nii.gz"), ".nii.gz", 1) == {"a": (touch("a_0000.nii.gz"),)}
    with pytest.raises(DataError, match="is one file; the model takes 2"):
        find_cases(touch("a_0000.nii.gz"), ".nii.gz", 2)
