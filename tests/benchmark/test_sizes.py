"""How much work a data set is, from the heads of its files."""

from __future__ import annotations

from pathlib import Path

from autoseg.benchmark.suite.sizes import TYPICAL_VOXELS, voxels_of
from autoseg.data.dataset import load_dataset
from autoseg.data.synthetic import MR_SHAPE, US_SHAPE, make_demo
from autoseg.system.files import write_json


def test_voxels_come_from_the_fingerprint_else_from_the_first_image(tmp_path: Path) -> None:
    volumes, pictures = map(load_dataset, make_demo(tmp_path, cases=(1, 2)))
    nowhere = tmp_path / "fingerprint.json"
    assert voxels_of(volumes, nowhere) == MR_SHAPE[0] * MR_SHAPE[1] * MR_SHAPE[2]
    assert voxels_of(pictures, nowhere) == US_SHAPE[0] * US_SHAPE[1]
    write_json(nowhere, {"shapes_after_crop": [[1, 2, 3], [2, 2, 2], [9, 9, 9]]})
    assert voxels_of(volumes, nowhere) == 8


def test_what_cannot_be_read_is_taken_for_a_typical_volume_or_by_its_size(tmp_path: Path) -> None:
    _, pictures = make_demo(tmp_path, cases=(1, 2))
    dataset = load_dataset(pictures)
    image = dataset.cases[0].images[0]
    image.write_bytes(b"")
    assert voxels_of(dataset, tmp_path / "none.json") == TYPICAL_VOXELS
    image.write_bytes(b"no picture")
    assert voxels_of(dataset, tmp_path / "none.json") < 100
