"""What fits into the time there is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.planner.budget import (
    ENOUGH_STEPS,
    FEWEST_STEPS,
    SMALLEST_BATCH,
    Shape,
    bearable_batch,
    choose,
    shapes,
    structure_width,
)
from autoseg.planner.patch import SHORTEST_EDGE, shrunk
from autoseg.planner.topology import divisors, pooled

PUBLISHED = Shape(batch_size=5, width=32, coarsening=1.0)


def seconds_of(shape: Shape) -> float:
    """A machine on which the published shape takes one second a step."""
    return shape.batch_size / 5 * ((shape.width or 32) / 32) ** 1.5 / shape.coarsening**3


def test_with_enough_time_nothing_changes() -> None:
    offers = list(shapes(PUBLISHED, 2, 100.0))
    shape, steps = choose(offers, seconds_of, 2.0 * ENOUGH_STEPS)
    assert shape == PUBLISHED
    assert steps == 2 * ENOUGH_STEPS
    assert shape.changes(PUBLISHED) == ()


def test_the_batch_shrinks_before_the_width_and_the_width_before_the_spacing() -> None:
    offers = list(shapes(PUBLISHED, 2, 100.0))
    chosen = [choose(offers, seconds_of, seconds)[0] for seconds in (1500.0, 700.0, 250.0, 15.0)]
    assert chosen[0] == PUBLISHED
    assert chosen[1] == Shape(2, 32, 1.0)
    assert chosen[2].width is not None and chosen[2].width < 32 and chosen[2].coarsening == 1.0
    assert chosen[3].coarsening > 1.0
    assert chosen[2].changes(PUBLISHED)[0].startswith("width 32 -> ")


def test_a_documented_network_keeps_its_width() -> None:
    offers = list(shapes(Shape(8, None, 1.0), 2, 100.0))
    assert {shape.width for shape, _ in offers} == {None}


def test_a_small_structure_keeps_the_spacing() -> None:
    assert {shape.coarsening for shape, _ in shapes(PUBLISHED, 2, 12.0)} == {1.0}
    assert max(shape.coarsening for shape, _ in shapes(PUBLISHED, 2, 36.0)) == 1.5


def test_batch_normalisation_bears_a_small_batch_of_a_large_patch() -> None:
    assert bearable_batch(2, (16, 16)) == 2, "no normalisation over the batch, nothing to bear"
    assert bearable_batch(8, (320, 448)) == SMALLEST_BATCH
    assert bearable_batch(8, (96, 128)) == 6
    assert bearable_batch(8, (32, 32)) == 8


def test_short_of_time_the_batch_goes_below_what_is_asked_for_and_then_the_patch() -> None:
    published = Shape(8, None, 1.0)
    offers = list(shapes(published, 8, 100.0, lambda shape: 2 if shape.patch_share >= 0.5 else 8))

    def seconds_of(shape: Shape) -> float:
        return shape.batch_size / 8 * shape.patch_share / shape.coarsening**2

    chosen = [choose(offers, seconds_of, FEWEST_STEPS * s)[0] for s in (1.0, 0.25, 0.1, 0.05, 0.04)]
    assert chosen == [
        Shape(8, None, 1.0),
        Shape(8, None, 2.0),
        Shape(2, None, 2.0),
        Shape(2, None, 2.0, 0.5),
        Shape(2, None, 2.0, 0.5),
    ]
    assert {shape.batch_size for shape, asked in offers if asked == ENOUGH_STEPS} == {8}


@given(
    batch=st.integers(1, 200),
    width=st.one_of(st.none(), st.integers(8, 64)),
    smallest=st.integers(1, 16),
    seconds=st.floats(0.1, 1e6),
)
def test_the_choice_is_never_slower_than_published_nor_below_the_smallest_batch(
    batch: int, width: int | None, smallest: int, seconds: float
) -> None:
    published = Shape(batch, width, 1.0)
    offers = list(shapes(published, smallest, 50.0))
    shape, steps = choose(offers, seconds_of, seconds)
    assert seconds_of(shape) <= seconds_of(published) + 1e-12
    assert shape.batch_size >= min(smallest, batch)
    assert steps == int(seconds / seconds_of(shape))
    if steps < FEWEST_STEPS:
        assert seconds_of(shape) == min(seconds_of(each) for each, _ in offers)


@pytest.mark.parametrize(("dimensions", "radius"), [(2, 10.0), (3, 10.0)])
def test_the_width_of_a_disc_and_of_a_ball_is_their_diameter(dimensions: int, radius: float) -> None:
    voxels = math.pi * radius**2 if dimensions == 2 else 4 / 3 * math.pi * radius**3
    assert structure_width(voxels, dimensions) == pytest.approx(2 * radius)


@given(
    size=st.lists(st.integers(16, 300), min_size=2, max_size=3),
    depth=st.floats(0.3, 6.0),
    share=st.floats(0.01, 1.0),
)
def test_a_patch_that_shrinks_keeps_what_its_strides_divide(
    size: list[int], depth: float, share: float
) -> None:
    before = pooled((depth, *(1.0,) * (len(size) - 1)), size, 4)
    after = shrunk(before, size, share * math.prod(before.patch_size))
    assert math.prod(after.patch_size) <= math.prod(before.patch_size)
    assert all(n % d == 0 for n, d in zip(after.patch_size, divisors(after), strict=True))
    assert min(after.patch_size) >= min(SHORTEST_EDGE, *before.patch_size)
    if share == 1.0:
        assert after == before
