"""What is said of values that no label has: an offer only where it can be meant, and can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autoseg.data.dataset import labels_from_json
from autoseg.errors import DataError
from autoseg.evaluation.values import Unknown, parse_mapping, refuse_unknown

ABOUT = {"channel_names": {"0": "MR"}, "numTraining": 3, "file_ending": ".nii.gz"}
LABELS = labels_from_json({**ABOUT, "labels": {"background": 0, "head": 1, "body": 2}})


def told(values: set[int], seen: set[int]) -> str:
    with pytest.raises(DataError) as caught:
        refuse_unknown(LABELS, [Unknown(Path("c0"), frozenset(values), False, frozenset(seen))], 3)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "seen", "offered"),
    [({4}, {1}, {4: 2}), ({85, 170}, set(), {85: 1, 170: 2}), ({255}, set(), {255: 1})],
)
def test_what_is_offered_can_be_typed(values: set[int], seen: set[int], offered: dict[int, int]) -> None:
    (text,) = re.findall(r"--map (\S+)$", told(values, seen))
    assert parse_mapping(text) == offered


@pytest.mark.parametrize(("values", "seen"), [({-1}, {1}), ({-2, -1}, set()), ({-1000, 7}, set())])
def test_negative_values_are_no_labels_in_another_order(values: set[int], seen: set[int]) -> None:
    said = told(values, seen)
    assert "--map" not in said and f"may be shifted by {-min(values)}" in said
