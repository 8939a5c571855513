"""Structures of two data sets, joined by name."""

from __future__ import annotations

from typing import Any

import pytest

from autoseg.data.joined_labels import join_labels, parse_renaming
from autoseg.data.labels import Labels
from autoseg.errors import UsageError

MODEL = Labels({"background": 0, "Liver": 1, "left_kidney": 2, "spleen": 3})
OTHER = Labels({"background": 0, "spleen": 1, "liver": 2, "Left Kidney": 3, "pancreas": 4})


def test_names_are_joined_whatever_their_case_and_what_parts_their_words() -> None:
    joined = join_labels(MODEL, OTHER)
    assert joined.pairs == {"spleen": "spleen", "liver": "Liver", "Left Kidney": "left_kidney"}
    assert joined.values == {1: 2, 2: 3, 3: 1}
    assert (joined.only_model, joined.only_dataset) == ((), ("pancreas",))


def test_what_the_data_set_lacks_becomes_background() -> None:
    joined = join_labels(MODEL, Labels({"background": 0, "tumour": 1, "liver": 2}))
    assert joined.values == {1: 2, 2: 0, 3: 0}
    assert joined.only_model == ("left_kidney", "spleen")
    assert joined.only_dataset == ("tumour",)


def test_a_name_may_be_mapped() -> None:
    joined = join_labels(MODEL, Labels({"background": 0, "milt": 1}), {"milt": "spleen"})
    assert joined.pairs == {"milt": "spleen"} and joined.values == {1: 0, 2: 0, 3: 1}


@pytest.mark.parametrize(
    ("dataset", "renamed", "message"),
    [
        ({"milt": 1}, {}, "no structure of the same name.*--map milt=Liver"),
        ({"milt": 1}, {"milz": "spleen"}, "the data set has no structure 'milz'"),
        ({"milt": 1}, {"milt": "milz"}, "the model has no structure 'milz'"),
        ({"liver": 1, "LIVER": 2}, {}, "liver and LIVER are both joined to the model's Liver"),
        ({"liver": (1, 2), "core": 2}, {}, "Regions overlap"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    dataset: dict[str, Any], renamed: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        join_labels(MODEL, Labels({"background": 0, **dataset}), renamed)


def test_equal_regions_are_joined_as_they_are() -> None:
    regions = Labels({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
    assert join_labels(regions, regions).values == {}


def test_the_command_line_s_form() -> None:
    assert parse_renaming("") == {} and parse_renaming("a = b, c=d") == {"a": "b", "c": "d"}
    for wrong in ("a", "a=", "a=b=c"):
        with pytest.raises(UsageError, match="names no pair"):
            parse_renaming(wrong)
