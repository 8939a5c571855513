"""Crop and paste, beside nnU-Net's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero as stock_crop

from autoseg.data.geometry import crop_to_nonzero, nonzero_box, paste

shapes = st.tuples(*[st.integers(1, 9)] * 3)


@given(shapes, st.integers(1, 3), st.sampled_from([0.0, 0.05, 0.3, 0.9]), st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_the_crop_is_nnunets(shape: tuple[int, ...], channels: int, density: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    array = random.normal(size=(channels, *shape)) * (random.random((channels, *shape)) < density)
    labels = random.integers(0, 3, (1, *shape)).astype(np.uint8) * (random.random((1, *shape)) < 0.3)
    for segmentation in (labels, None):
        expected = stock_crop(array.copy(), None if segmentation is None else segmentation.astype(np.float32))
        cropped, segmented, box = crop_to_nonzero(array, segmentation)
        assert box == expected[2] == nonzero_box(array)
        np.testing.assert_array_equal(cropped, expected[0])
        np.testing.assert_array_equal(segmented, expected[1])


def test_a_cavity_is_inside_and_a_tunnel_is_not() -> None:
    array = np.zeros((1, 7, 7, 7), np.float32)
    array[0, 1:6, 1:6, 1:6] = 5
    array[0, 3, 3, 3] = 0
    _, labels, box = crop_to_nonzero(array)
    assert box == [[1, 6]] * 3
    assert labels.min() == 0
    array[0, :4, 3, 3] = 0
    assert crop_to_nonzero(array)[1].min() == -1


def test_the_input_is_left_alone_and_labels_outside_the_image_stay() -> None:
    array = np.zeros((1, 4, 4, 4), np.float32)
    array[0, 1:3, 1:3, 1:3] = 1
    array[0, 1, 1, 1] = 0
    labels = np.zeros((1, 4, 4, 4), np.uint8)
    labels[0, 1, 1, 1] = 200
    before = labels.copy()
    cropped, segmented, _ = crop_to_nonzero(array, labels)
    assert segmented.dtype == np.int16
    assert segmented[0, 0, 0, 0] == 200
    np.testing.assert_array_equal(labels, before)
    assert cropped.base is array


@given(shapes, st.integers(0, 10**6))
@settings(deadline=None)
def test_paste_undoes_a_crop(shape: tuple[int, ...], seed: int) -> None:
    random = np.random.default_rng(seed)
    array = random.integers(0, 2, (2, *shape)).astype(np.float32)
    cropped, _, box = crop_to_nonzero(array)
    np.testing.assert_array_equal(paste(cropped, box, shape), array)
    np.testing.assert_array_equal(paste(cropped[0], box, shape), array[0])
