"""Where classes lie, beside nnU-Net's own draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from autoseg.data.dataset import Labels, Region
from autoseg.preprocessing.class_locations import class_locations, classes_to_locate

CLASSES: list[list[Region]] = [[1, 2, 3, 7], [(1, 2), (3,), (7, 2), (9,)], [(2, 1), 3, (-1, 0, 1, 2, 3)]]


@given(
    st.tuples(*[st.integers(1, 30)] * 3),
    st.sampled_from(CLASSES),
    st.sampled_from([0, 4]),
    st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_the_draw_is_nnunets(shape: tuple[int, ...], classes: list[Region], largest: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, largest + 1, (1, *shape)).astype(np.int8)
    expected = DefaultPreprocessor._sample_foreground_locations(labels.astype(np.float32), list(classes))
    found = class_locations(labels, classes)
    assert list(found) == list(expected)
    for each, wanted in expected.items():
        assert type(found[each]) is type(wanted)
        np.testing.assert_array_equal(found[each], wanted)


def test_of_a_large_class_one_percent_is_kept() -> None:
    labels = np.ones((1, 100, 110, 100), np.int8)
    labels[0, 0, 0, 0] = 2
    found = class_locations(labels, [1, 2])
    assert len(found[1]) == 11_000
    np.testing.assert_array_equal(found[2], [[0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ({"background": 0, "a": 1, "b": 2}, None),
        ({"background": 0, "a": 1, "b": 2, "ignore": 3}, None),
        ({"background": 0, "whole": (1, 2), "core": 2, "ignore": 3}, (1, 2)),
    ],
)
def test_what_is_located_is_what_nnunet_locates(
    names: dict[str, Region], order: tuple[int, ...] | None
) -> None:
    document = {name: list(value) if isinstance(value, tuple) else value for name, value in names.items()}
    manager = LabelManager(document, list(order) if order else None)
    expected = list(manager.foreground_regions if manager.has_regions else manager.foreground_labels)
    if manager.has_ignore_label:
        expected.append((-1, *manager.all_labels))
    ignore = names.get("ignore")
    found = classes_to_locate(Labels(names, order, ignore if isinstance(ignore, int) else None))
    assert list(found) == expected
