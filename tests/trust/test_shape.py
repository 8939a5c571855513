"""Shapes in a few numbers."""

import numpy as np
import pytest

from autoseg.data.image import Image
from autoseg.trust.shape import Shape, shapes_of, steps_of


def image(shape: tuple[int, ...], spacing: tuple[float, float, float], **properties: object) -> Image:
    return Image(np.zeros((1, *shape), np.float32), spacing, dict(properties))


def test_a_box_has_the_volume_surface_and_place_that_it_has() -> None:
    label = np.zeros((10, 12, 14), np.uint8)
    label[2:4, 3:6, 0:7] = 1
    found = shapes_of(label, (2.0, 1.0, 0.5), {"box": (1,), "absent": (2,)})
    box = found["box"]
    assert box.size == pytest.approx(2 * 3 * 7 * 1.0)
    sides = 2 * (3 * 7 * 0.5 + 2 * 7 * 1.0 + 2 * 3 * 2.0)
    assert box.surface == pytest.approx(sides)
    assert box.border == pytest.approx(2 * 3 * 2.0 / sides)
    assert (box.components, box.largest) == (1, 1.0)
    assert box.centre == pytest.approx((0.3, 4.5 / 12, 0.25))
    assert found["absent"] == Shape(0.0)
    assert found["absent"].quantities(False) == {}


def test_structures_of_several_values_and_several_parts() -> None:
    label = np.zeros((1, 8, 8), np.uint8)
    label[0, 0:2, 0:2], label[0, 2:4, 0:2], label[0, 6, 6] = 1, 2, 1
    found = shapes_of(label, (1.0, 1.0, 1.0), {"whole": (1, 2), "one": (1,)})
    assert (found["whole"].size, found["whole"].components) == (9, 2)
    assert found["whole"].largest == pytest.approx(8 / 9)
    assert found["one"].components == 2
    # Along an axis of one slice there is no border and no surface.
    assert found["one"].surface == pytest.approx(8 + 4)
    assert set(found["one"].quantities(True)) == {
        "size",
        "roughness",
        "components",
        "border",
        "centre y",
        "centre x",
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32])
def test_structures_are_found_wherever_they_lie(dtype: type) -> None:
    random = np.random.default_rng(1)
    label = np.zeros((7, 9, 11), dtype)
    for value in (1, 2, 5):
        label[tuple(random.integers(0, length, 4) for length in label.shape)] = value
    found = shapes_of(label, (1.0, 1.0, 1.0), {str(value): (value,) for value in (1, 2, 3, 5)})
    for value in (1, 2, 5):
        there = np.argwhere(label == value)
        middle = (there.mean(axis=0) + 0.5) / label.shape
        assert found[str(value)].size == len(there)
        assert found[str(value)].centre == pytest.approx(tuple(middle))
    assert found["3"] == Shape(0.0)
    assert shapes_of(np.zeros_like(label), (1.0, 1.0, 1.0), {"1": (1,)}) == {"1": Shape(0.0)}


def test_roughness_does_not_depend_on_the_scale() -> None:
    label = np.zeros((9, 9, 9), np.uint8)
    label[2:6, 2:6, 2:6] = 1
    small, large = (shapes_of(label, (step,) * 3, {"a": (1,)})["a"].quantities(False) for step in (1.0, 3.0))
    assert small["roughness"] == pytest.approx(large["roughness"])
    assert large["size"] - small["size"] == pytest.approx(3 * np.log(3.0))


def test_sizes_are_in_mm_with_a_grid_and_in_pixels_without() -> None:
    assert steps_of(image((4, 4, 4), (2.0, 1.0, 1.0), sitk_stuff={})) == ((2.0, 1.0, 1.0), "mm^3")
    assert steps_of(image((1, 4, 4), (999.0, 0.5, 0.5), sitk_stuff={})) == ((1.0, 0.5, 0.5), "mm^2")
    assert steps_of(image((1, 4, 4), (999.0, 1.0, 1.0))) == ((1.0, 1.0, 1.0), "pixels")


def test_a_shape_survives_json() -> None:
    shape = Shape(3.0, 14.0, 2, 0.6, 0.1, (0.1, 0.2, 0.3))
    assert Shape.from_json(shape.to_json()) == shape
