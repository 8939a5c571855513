"""`verify --fix` of labels that are declared with gaps between their numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoseg.errors import DataError
from autoseg.intake.renumbering import new_numbers
from autoseg.intake.repair import write_repaired

SHAPE = (6, 8, 10)


def dataset(root: Path, labels: dict[str, Any], ending: str, values: tuple[int, ...], **more: Any) -> Path:
    for number in range(3):
        label = np.zeros(SHAPE, np.uint16)
        for n, value in enumerate(values):
            label[1:4, 2 * n : 2 * n + 2, 1:5] = value
        image = label * 10 + np.arange(SHAPE[2], dtype=np.uint16) + number
        for folder, name, array in (
            ("imagesTr", f"c{number}_0000", image),
            ("labelsTr", f"c{number}", label),
        ):
            path = root / folder / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".png":
                Image.fromarray((array[2] % 256).astype(np.uint8)).save(path)
            else:
                sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    content = {
        "channel_names": {"0": "MR"},
        "labels": labels,
        "numTraining": 3,
        "file_ending": ending,
        **more,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def state(root: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()}


def values_of(path: Path) -> list[int]:
    array = (
        np.asarray(Image.open(path))
        if path.suffix == ".png"
        else sitk.GetArrayFromImage(sitk.ReadImage(path))
    )
    return [int(value) for value in np.unique(array)]


@pytest.mark.parametrize("ending", [".nii.gz", ".png"])
def test_255_that_is_declared_becomes_1(ending: str, tmp_path: Path) -> None:
    root = dataset(tmp_path / "d", {"background": 0, "lesion": 255}, ending, (255,))
    before = state(root)
    done = write_repaired(root, tmp_path / "out", workers=1)
    assert state(root) == before and not done.report.errors
    assert json.loads((done.root / "dataset.json").read_text())["labels"] == {"background": 0, "lesion": 1}
    assert [values_of(path) for path in sorted((done.root / "labelsTr").iterdir())] == [[0, 1]] * 3
    told = {each.file: each.what for each in done.repairs}
    assert (
        told["dataset.json"] == "labels: 255 written as 1"
        and told[f"labelsTr/c1{ending}"] == "255 written as 1"
    )
    assert not any(path.is_symlink() for path in done.root.rglob("*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "out"]


def test_regions_and_the_ignore_label_keep_their_meaning(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [2, 4], "core": 4, "ignore": 3}
    root = dataset(tmp_path / "d", labels, ".nii.gz", (2, 4, 3), regions_class_order=[2, 4])
    done = write_repaired(root, tmp_path / "out", workers=1)
    document = json.loads((done.root / "dataset.json").read_text())
    assert document["labels"] == {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    assert document["regions_class_order"] == [1, 2]
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(done.root / "labelsTr" / "c0.nii.gz")))
    assert [int(array[2, row, 2]) for row in (0, 2, 4)] == [1, 2, 3]


def test_a_value_that_is_not_declared_never_becomes_a_label(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d", {"background": 0, "lesion": 255}, ".nii.gz", (255, 1))
    with pytest.raises(
        DataError, match=r"c0\.nii\.gz holds the value 1, which dataset\.json does not declare"
    ):
        write_repaired(root, tmp_path / "out", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        ({"background": 0, "a": 1, "b": 2}, {}),
        ({"background": 0, "a": 1, "ignore": 2}, {}),
        ({"background": 0, "ignore": 1, "a": 2}, {0: 0, 2: 1, 1: 2}),
        ({"background": 1, "a": 2}, {}),
        ({"background": 0, "a": "one"}, {}),
        ({"background": 0, "a": -3}, {}),
    ],
)
def test_which_numbers_change(labels: dict[str, Any], numbers: dict[int, int], tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert new_numbers(tmp_path) == numbers
