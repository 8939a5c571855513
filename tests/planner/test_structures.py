"""The smallest structure in mm: one object of a class decides, and a patch holds it axis by axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare_trainers import fingerprint_of

from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.planner.structures import Structure, in_voxels, smallest_structure


def with_sizes(**structures: Any) -> Fingerprint:
    sizes = {"unit": "mm^3", "structures": structures}
    return dataclasses.replace(fingerprint_of((10, 200, 200)), class_sizes=sizes)


def test_a_component_counts_and_not_the_class() -> None:
    parts = {"per_case": 46.0, "median_voxels": 400.0, "median": 400.0, "extent": [1.0, 24.0, 25.0]}
    found = smallest_structure(with_sizes(nucleus={"median": 21400.0, "components": parts}), 2)
    assert found is not None
    assert found.width == pytest.approx(2 * math.sqrt(400 / math.pi)) and found.width < 23
    assert found.extents == (1.0, 24.0, 25.0)


def test_a_fingerprint_without_components_knows_the_class() -> None:
    found = smallest_structure(with_sizes(big={"median": 4000.0}, small={"median": 500.0}), 3)
    assert found is not None and found.name == "small"
    assert found.width == pytest.approx(2 * (3 * 500 / (4 * math.pi)) ** (1 / 3))
    assert smallest_structure(with_sizes(absent={"median": 0.0}), 3) is None
    assert smallest_structure(fingerprint_of((10, 200, 200)), 3) is None


def test_the_part_of_an_image_that_a_structure_takes_is_that_of_its_box() -> None:
    ring = Structure("ring", 60.0, (80.0, 60.0, 60.0))
    assert ring.share((1.5, 1.5), (200, 160)) == pytest.approx(60 / 300 * 60 / 240)
    assert ring.share((10.0, 1.5, 1.5), (8, 200, 160)) == pytest.approx(60 / 300 * 60 / 240)
    assert ring.share((10.0, 1.5, 1.5), (4, 20, 20)) == 1.0


# A ring of the heart: 60 mm across, eight slices of 10 mm high.
HEART = Structure("ring", 55.0, (80.0, 60.0, 60.0))


@pytest.mark.parametrize(
    ("patch", "holds"),
    [
        ((10, 256, 256), True),
        ((10, 64, 56), True),  # 100 x 96 x 84 mm
        ((10, 32, 32), False),  # 48 mm across
        ((5, 64, 64), False),  # 50 mm high
    ],
)
def test_a_patch_holds_a_structure_axis_by_axis_in_mm(patch: tuple[int, ...], holds: bool) -> None:
    """Ten slices are fewer than the 37 voxels that the ring is wide, and hold it all the same."""
    assert HEART.fits(patch, (10.0, 1.5, 1.5), (10, 256, 256)) is holds


def test_what_is_flat_or_all_there_is_is_held() -> None:
    disc = Structure("disc", 30.0, (3.0, 60.0, 60.0))
    assert disc.fits((4, 40, 40), (1.0, 1.0, 1.0), (100, 100, 100))
    assert HEART.fits((3, 64, 64), (10.0, 1.5, 1.5), (3, 256, 256)), "no case has more slices"
    assert HEART.fits((40, 40), (1.5, 1.5), (256, 256))
    assert HEART.turned((2, 0, 1)).extents == (60.0, 80.0, 60.0)


def test_a_length_in_voxels_of_thick_slices() -> None:
    assert in_voxels(55.0, (10.0, 1.5, 1.5)) == pytest.approx(55 / 22.5 ** (1 / 3))
    assert in_voxels(55.0, (1.5, 1.5)) == pytest.approx(55 / 1.5)


@pytest.mark.slow
def test_nuclei_count_one_by_one(shared_data: Callable[[str], Path]) -> None:
    dataset = load_dataset(shared_data("Dataset021_NucleiColor"))
    found = smallest_structure(extract_fingerprint(dataset, workers=1), 2)
    assert found is not None and found.width == pytest.approx(22.6, abs=0.5)
