"""The fingerprint: nnU-Net's numbers, sizes of structures, and what changes its hash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autoseg.data import fingerprint, intensities
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.errors import DataError

SharedData = Callable[[str], Path]

# What the installed nnU-Net 2.8.1 extracted; the slow test extracts it anew.
REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
QUICK = ("Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset040_CTOrgans")
LARGE = ("Dataset021_NucleiColor", "Dataset030_MSLesion")

STOCK = """
import sys
if __name__ == "__main__":
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    fingerprint_extractor.DatasetFingerprintExtractor(sys.argv[1], 2).run(True)
"""

NO_HEAVY_IMPORTS = """
import sys
from pathlib import Path
from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.planner import plan_experiment
dataset = load_dataset(Path(sys.argv[1]))
plan_experiment(dataset, extract_fingerprint(dataset, workers=1))
print([name for name in ("torch", "nnunetv2", "skimage", "matplotlib") if name in sys.modules])
"""


def assert_equal_to_nnunet(found: Fingerprint, reference: dict[str, Any]) -> None:
    document = json.loads(json.dumps(found.to_json()))
    assert {key: document[key] for key in reference} == reference


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_numbers_are_those_of_nnunet(name: str, shared_data: SharedData) -> None:
    found = extract_fingerprint(load_dataset(shared_data(name)))
    assert_equal_to_nnunet(found, json.loads((REFERENCE / name / "fingerprint.json").read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUICK, *LARGE])
def test_numbers_are_those_of_the_installed_nnunet(
    name: str, shared_data: SharedData, tmp_path: Path
) -> None:
    root = shared_data(name)
    paths = {"raw": root.parent, "preprocessed": tmp_path, "results": tmp_path}
    script = tmp_path / "stock.py"
    script.write_text(STOCK)
    environment = os.environ | {f"nnUNet_{part}": str(path) for part, path in paths.items()}
    subprocess.run([sys.executable, str(script), name], check=True, env=environment, capture_output=True)
    stock = json.loads((tmp_path / name / "dataset_fingerprint.json").read_text())
    assert stock == json.loads((REFERENCE / name / "fingerprint.json").read_text())
    assert_equal_to_nnunet(extract_fingerprint(load_dataset(root)), stock)


def write_image(path: Path, array: NDArray[Any], spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cases with two channels: b has no foreground, c has some of it only where its images are zero."""
    monkeypatch.setattr(intensities, "SAMPLES", 40_000)
    random = np.random.default_rng(1)
    root = tmp_path / "Dataset001_Small"
    for number, case in enumerate("abcd"):
        images = np.zeros((2, 6, 8, 10), np.float32)
        images[0, 1:5, 2:7, 3:9] = random.normal(size=(4, 5, 6)) + 5
        images[1, 2:6, 2:7, 3:9] = random.normal(size=(4, 5, 6)) - 5
        label = np.zeros((6, 8, 10), np.uint8)
        label[3, 3:6, 4:8] = 0 if case == "b" else 1
        label[4, 3:6, 4:8] = 2 if case in "ad" else 0
        label[0, 0, :5] = 1 if case == "c" else 0
        for channel in range(2):
            path = root / "imagesTr" / f"{case}_{channel:04}.mha"
            write_image(path, images[channel], (1.0, 2.0, 3.0 + number))
        write_image(root / "labelsTr" / f"{case}.mha", label, (1.0, 2.0, 3.0 + number))
    about = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 4,
        "file_ending": ".mha",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def test_a_small_data_set(small: Path) -> None:
    found = extract_fingerprint(load_dataset(small), workers=1)
    assert found.spacings == ((3.0, 2.0, 1.0), (4.0, 2.0, 1.0), (5.0, 2.0, 1.0), (6.0, 2.0, 1.0))
    assert found.shapes_after_crop == ((5, 5, 6),) * 4
    assert found.relative_size_after_crop == 150 / 480
    assert found.intensities[0]["mean"] == pytest.approx(5, abs=0.5)
    assert found.intensities[1]["max"] < 0
    whole, core = (found.class_sizes["structures"][name] for name in ("whole", "core"))
    assert (whole["cases"], whole["voxels"], core["cases"]) == (3, 24 + 17 + 24, 2)
    assert (whole["min"], whole["max"]) == (24 * 6.0, 24 * 12.0)
    assert found.class_sizes["unit"] == "mm^3"
    assert found.class_sizes["voxels"]["c"] == {"1": 17}
    assert (whole["median_voxels"], core["median_voxels"]) == (24.0, 12.0)


def test_it_does_not_depend_on_the_workers(small: Path) -> None:
    dataset = load_dataset(small)
    assert extract_fingerprint(dataset, workers=3) == extract_fingerprint(dataset, workers=1)


def test_it_survives_the_disk(small: Path, tmp_path: Path) -> None:
    found = extract_fingerprint(load_dataset(small), workers=1)
    found.save(tmp_path / "dataset_fingerprint.json")
    assert Fingerprint.load(tmp_path / "dataset_fingerprint.json") == found


def test_a_fingerprint_of_nnunet_is_read() -> None:
    document = json.loads((REFERENCE / "Dataset030_MSLesion" / "fingerprint.json").read_text())
    found = Fingerprint.from_json(document)
    assert sorted(found.intensities) == [0, 1, 2, 3]
    assert found.class_sizes == {}
    with pytest.raises(DataError, match="spacings"):
        Fingerprint.from_json({})


def test_its_hash_is_that_of_the_contents(small: Path) -> None:
    before = extract_fingerprint(load_dataset(small), workers=1).hash
    for path in small.rglob("*.mha"):
        os.utime(path)
    assert extract_fingerprint(load_dataset(small), workers=1).hash == before
    write_image(small / "labelsTr" / "b.mha", np.ones((6, 8, 10), np.uint8), (1.0, 2.0, 4.0))
    assert extract_fingerprint(load_dataset(small), workers=1).hash != before


@pytest.mark.parametrize("workers", [1, 2])
def test_damage_is_named(small: Path, workers: int) -> None:
    def extract() -> Fingerprint:
        return extract_fingerprint(load_dataset(small), workers=workers)

    path = small / "imagesTr" / "c_0001.mha"
    write_image(path, np.full((6, 8, 10), np.nan, np.float32), (1.0, 2.0, 5.0))
    with pytest.raises(DataError, match=r"case c hold NaN"):
        extract()
    write_image(path, np.full((6, 8, 10), np.inf, np.float32), (1.0, 2.0, 5.0))
    with pytest.raises(DataError, match=r"case c are infinite"):
        extract()
    write_image(small / "labelsTr" / "a.mha", np.ones((6, 8, 9), np.uint8), (1.0, 2.0, 3.0))
    with pytest.raises(DataError, match=r"a\.mha has the shape \(1, 6, 8, 9\)"):
        extract()


def test_no_foreground_anywhere_is_refused(small: Path) -> None:
    for case, depth in zip("abcd", (3, 4, 5, 6), strict=True):
        path = small / "labelsTr" / f"{case}.mha"
        write_image(path, np.zeros((6, 8, 10), np.uint8), (1.0, 2.0, float(depth)))
    with pytest.raises(DataError, match="No case of Dataset001_Small"):
        extract_fingerprint(load_dataset(small), workers=1)


def test_a_case_without_label_file_is_refused(small: Path) -> None:
    whole = load_dataset(small)
    case = type(whole.cases[0])("a", whole.cases[0].images, None)
    dataset = Dataset(**{**vars(whole), "cases": (case,)})
    with pytest.raises(DataError, match="no label file"):
        extract_fingerprint(dataset, workers=1)


@pytest.mark.parametrize(
    ("shape", "spacing", "unit", "size"),
    [((1, 8, 10), (0.5, 2.0, 7.0), "mm^3", 7.0), ((8, 10), (0.5, 2.0), "mm^2", 1.0)],
)
def test_sizes_have_the_unit_of_the_images(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    unit: str,
    size: float,
) -> None:
    monkeypatch.setattr(intensities, "SAMPLES", 100)
    root = tmp_path / "Dataset002_Flat"
    write_image(root / "imagesTr" / "a_0000.mha", np.ones(shape, np.float32), spacing)
    label = np.zeros(shape, np.uint8)
    label.flat[5] = 1
    write_image(root / "labelsTr" / "a.mha", label, spacing)
    about = {"channel_names": {"0": "x"}, "labels": {"background": 0, "spot": 1}, "numTraining": 1}
    (root / "dataset.json").write_text(json.dumps(about | {"file_ending": ".mha"}))
    sizes = extract_fingerprint(load_dataset(root)).class_sizes
    assert (sizes["unit"], sizes["structures"]["spot"]["median"]) == (unit, size)


def test_nothing_heavy_is_imported(small: Path) -> None:
    command = [sys.executable, "-c", NO_HEAVY_IMPORTS, str(small)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REFERENCE.parents[1])
    assert output.stdout.strip() == "[]"


def test_channels_in_parts_give_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import SimpleITK as sitk

    root = tmp_path / "Dataset001_Five"
    random = np.random.default_rng(0)
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for case in ("a", "b", "c"):
        for channel in range(5):
            image = random.normal(channel, 1, (6, 7, 8)).astype(np.float32)
            sitk.WriteImage(
                sitk.GetImageFromArray(image), str(root / f"imagesTr/{case}_{channel:04d}.nii.gz")
            )
        label = (random.random((6, 7, 8)) < (0.3 if case != "b" else 0)).astype(np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(label), str(root / f"labelsTr/{case}.nii.gz"))
    about = {
        "channel_names": {str(n): f"c{n}" for n in range(5)},
        "labels": {"background": 0, "x": 1},
        "file_ending": ".nii.gz",
        "numTraining": 3,
    }
    (root / "dataset.json").write_text(json.dumps(about))
    monkeypatch.setattr(intensities, "SAMPLES", 3000)
    found = []
    for at_once in (5, 2, 1):
        monkeypatch.setattr(fingerprint, "CHANNELS_AT_ONCE", at_once)
        found.append(extract_fingerprint(load_dataset(root), workers=1).to_json())
    assert found[0] == found[1] == found[2]
    assert len(found[0]["foreground_intensity_properties_per_channel"]) == 5
