"""Resampling of images and labels, beside nnU-Net's own, and its properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)

from autoseg.errors import DataError, PlanError
from autoseg.preprocessing.resample import resample_channel, resampled_shape, separate_axis
from autoseg.preprocessing.resample_labels import resample_labels

shapes = st.tuples(*[st.integers(1, 13)] * 3)
large_shapes = st.tuples(*[st.integers(1, 150)] * 2)
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 1.2, 3.0, 4.0, 5.0])] * 3)
forces = st.sampled_from([None, None, True, False])
seeds = st.integers(0, 10**6)


def stock(array: Any, shape: Any, spacing: Any, target: Any, force: bool | None, **options: Any) -> Any:
    rules = {"order_z": 0, "force_separate_z": force, **options}
    return resample_data_or_seg_to_shape(array[None].astype(np.float32), shape, spacing, target, **rules)[0]


@given(shapes, shapes, spacings, spacings, forces, st.sampled_from([0, 1, 3]), seeds)
@settings(max_examples=80, deadline=None)
def test_images_are_nnunets(shape, new_shape, spacing, target, force, order, seed) -> None:  # type: ignore[no-untyped-def]
    image = np.random.default_rng(seed).normal(100, 50, shape).astype(np.float32)
    expected = stock(image, new_shape, spacing, target, force, is_seg=False, order=order)
    found = resample_channel(image, new_shape, order, separate_axis(spacing, target, force))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4 * (np.ptp(image) + 1e-3))


@given(large_shapes, large_shapes, seeds)
@settings(max_examples=25, deadline=None)
def test_long_axes_are_nnunets(shape, new_shape, seed) -> None:  # type: ignore[no-untyped-def]
    """Longer than a block, so that the band is cut."""
    image = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    expected = stock(image, (1, *new_shape), (999, 1, 1), (999, 1, 1), None, is_seg=False, order=3)
    found = resample_channel(image, (1, *new_shape), 3, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4 * (np.ptp(image) + 1e-3))


@given(shapes, shapes, spacings, spacings, forces, st.sampled_from([1, 2, 5, 30]), seeds)
@settings(max_examples=60, deadline=None)
def test_labels_are_nnunets_in_every_voxel(shape, new_shape, spacing, target, force, largest, seed) -> None:  # type: ignore[no-untyped-def]
    labels = np.random.default_rng(seed).integers(-1, largest + 1, shape).astype(np.int8)
    expected = stock(labels, new_shape, spacing, target, force, is_seg=True, order=1)
    found = resample_labels(labels, new_shape, separate_axis(spacing, target, force))
    np.testing.assert_array_equal(found, expected)


@given(shapes, st.sampled_from([2, 3]), seeds)
@settings(max_examples=40, deadline=None)
def test_ties_between_labels_are_settled_as_in_nnunet(shape, factor, seed) -> None:  # type: ignore[no-untyped-def]
    """A whole factor puts new voxels exactly between old ones."""
    labels = np.random.default_rng(seed).integers(0, 3, shape).astype(np.int16)
    new_shape = tuple(factor * n for n in shape)
    expected = stock(labels, new_shape, (2, 2, 2), (1, 1, 1), None, is_seg=True, order=1)
    np.testing.assert_array_equal(resample_labels(labels, new_shape), expected)


@given(shapes, shapes, seeds)
@settings(max_examples=60, deadline=None)
def test_range_constants_and_labels_are_kept(shape, new_shape, seed) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    image = random.normal(size=shape).astype(np.float32)
    found = resample_channel(image, new_shape, 3)
    assert found.min() >= image.min()
    assert found.max() <= image.max()
    np.testing.assert_allclose(resample_channel(np.full(shape, 7.5), new_shape, 3), 7.5)
    labels = random.integers(-1, 4, shape).astype(np.int8)
    assert set(np.unique(resample_labels(labels, new_shape))) <= set(np.unique(labels))


@given(shapes, seeds)
@settings(max_examples=30, deadline=None)
def test_the_same_shape_changes_nothing(shape, seed) -> None:  # type: ignore[no-untyped-def]
    image = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(resample_channel(image, shape, 3), image)
    labels = (image > 0).astype(np.int8)
    np.testing.assert_array_equal(resample_labels(labels, shape), labels)


@given(shapes, spacings, spacings, forces)
@settings(deadline=None)
def test_shape_and_separate_axis_are_nnunets(shape, spacing, target, force) -> None:  # type: ignore[no-untyped-def]
    assert resampled_shape(shape, spacing, target) == tuple(compute_new_shape(shape, spacing, target))
    separate, axis = determine_do_sep_z_and_axis(force, spacing, target)
    assert (separate_axis(spacing, target, force) is not None) == separate
    assert separate_axis(spacing, target, force) == axis


def test_the_result_lands_where_it_is_asked_for() -> None:
    image = np.random.default_rng(0).normal(size=(8, 30, 20)).astype(np.float32)
    for separate in (None, 0):
        for shape in ((12, 25, 30), (5, 25, 30), (8, 25, 30)):
            out = np.zeros(shape, np.float32)
            assert resample_channel(image, shape, 3, separate, out=out) is out
            np.testing.assert_array_equal(out, resample_channel(image, shape, 3, separate))


def test_what_cannot_be_resampled_is_refused() -> None:
    image = np.ones((3, 3, 3), np.float32)
    with pytest.raises(PlanError, match="order 2"):
        resample_channel(image, (4, 4, 4), 2)
    image[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        resample_channel(image, (4, 4, 4), 3)
