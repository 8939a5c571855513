"""What fits into the time there is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.planner.budget import (
    AS_GOOD,
    SMALLEST_BATCH,
    Shape,
    bearable_batch,
    choose,
    shapes,
    structure_width,
)
from autoseg.planner.learning import gap, patch_loss, spacing_loss, width_loss
from autoseg.planner.patch import SHORTEST_EDGE, shrunk
from autoseg.planner.topology import divisors, pooled

PUBLISHED = Shape(batch_size=5, width=32, coarsening=1.0)


def seconds_of(shape: Shape) -> float:
    """A machine on which the published shape takes one second a step."""
    work = shape.batch_size / 5 * ((shape.width or 32) / 32) ** 1.5
    return work * shape.patch_share / shape.coarsening**3


def loss_of(seconds: float) -> Callable[[Shape], float]:
    """What a shape lacks on that machine in so many seconds."""

    def loss(shape: Shape) -> float:
        steps = seconds / seconds_of(shape)
        smaller = width_loss(shape.width) + patch_loss(shape.patch_share)
        return gap(steps, shape.batch_size) + smaller + spacing_loss(shape.coarsening, 100.0)

    return loss


def chosen(seconds: float, published: Shape = PUBLISHED) -> Shape:
    return choose(shapes(published, 2, 100.0)[0], loss_of(seconds))


def test_with_enough_time_nothing_changes() -> None:
    assert chosen(1e6) == PUBLISHED
    assert chosen(1e6).changes(PUBLISHED) == ()


def test_with_less_and_less_time_more_and_more_is_given_up() -> None:
    found = [chosen(seconds) for seconds in (1e6, 4000.0, 400.0, 40.0)]
    assert found[1].batch_size < 5 and found[1].patch_share == 1.0
    assert found[2].width == 16
    assert found[3].coarsening > found[2].coarsening and found[3].batch_size == 2
    assert found[2].changes(PUBLISHED)[0] == "width 32 -> 16"


def test_a_documented_network_keeps_its_width() -> None:
    usual, _ = shapes(Shape(8, None, 1.0), 2, 100.0)
    assert {shape.width for shape in usual} == {None}


def test_a_small_structure_keeps_the_spacing() -> None:
    assert {shape.coarsening for shape in shapes(PUBLISHED, 2, 12.0)[0]} == {1.0}
    assert max(shape.coarsening for shape in shapes(PUBLISHED, 2, 36.0)[0]) == 1.5


def test_what_is_as_good_and_closer_to_the_published_comes_first() -> None:
    offers, _ = shapes(PUBLISHED, 2, 100.0)
    assert choose(offers, lambda _: 0.5) == offers[0] == PUBLISHED
    last = offers[-1]
    assert choose(offers, lambda shape: 0.5 - 0.9 * AS_GOOD * (shape == last)) == PUBLISHED
    assert choose(offers, lambda shape: 0.5 - 1.1 * AS_GOOD * (shape == last)) == last


def test_batch_normalisation_bears_a_small_batch_of_a_large_patch() -> None:
    assert bearable_batch(2, (16, 16)) == 2, "no normalisation over the batch, nothing to bear"
    assert bearable_batch(8, (320, 448)) == SMALLEST_BATCH
    assert bearable_batch(8, (96, 128)) == 6
    assert bearable_batch(8, (32, 32)) == 8


def test_for_where_nothing_learns_the_batch_goes_below_what_is_required() -> None:
    published = Shape(8, None, 1.0)
    usual, small = shapes(published, 8, 100.0, lambda shape: 2 if shape.patch_share >= 0.5 else 8)
    assert {shape.batch_size for shape in usual} == {8}
    found = {(shape.batch_size, shape.patch_share) for shape in small}
    assert found == {(4, 1.0), (2, 1.0), (4, 0.5), (2, 0.5)}
    assert {shape.coarsening for shape in small} == {2.0}


@given(
    batch=st.integers(1, 200),
    width=st.one_of(st.none(), st.integers(8, 64)),
    smallest=st.integers(1, 16),
    seconds=st.floats(0.1, 1e6),
)
def test_no_other_shape_is_expected_to_be_better(
    batch: int, width: int | None, smallest: int, seconds: float
) -> None:
    published, loss = Shape(batch, width, 1.0), loss_of(seconds)
    usual, _ = shapes(published, smallest, 50.0)
    found = choose(usual, loss)
    assert loss(found) <= min(map(loss, usual)) + AS_GOOD
    assert found.batch_size >= min(smallest, batch)
    assert len(set(usual)) == len(usual) and usual[0] == published


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
