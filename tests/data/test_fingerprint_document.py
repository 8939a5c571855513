"""Fingerprints from outside: what is wrong is told with its value; nothing else than DataError comes out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import DataError

REFERENCE = Path(__file__).parents[2] / "plans" / "reference" / "Dataset004_Hippocampus" / "fingerprint.json"
SIZES = {"cases": 2, "voxels": 9, "median_voxels": 4.5, "min": 1.0, "median": 4.5, "max": 8.0}
PARTS = {"per_case": 1.0, "median_voxels": 4.0, "median": 4.0, "extent": [2.0, 2.0, 1.0]}
DOCUMENT: dict[str, Any] = {
    "spacings": [[1.0, 1.0, 1.0], [2, 1.0, 1.0]],
    "shapes_after_crop": [[4, 5, 6], [4, 5, 6]],
    "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 0.5}},
    "median_relative_size_after_cropping": 1.0,
    "class_sizes": {
        "unit": "mm^3",
        "structures": {"organ": SIZES | {"components": PARTS}},
        "voxels": {"a": {"1": 4}, "b": {"1": 5}},
    },
    "hash": "x",
    "orientation": {"codes": {"LPS": 2}, "directions": [[1.0, 0.0, 0.0]] * 3, "otherwise": 0},
}


def _set(*path: Any, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


@pytest.mark.parametrize("without", [(), ("class_sizes",), ("hash", "orientation")])
def test_whole_documents_come_back(without: tuple[str, ...]) -> None:
    document = {key: value for key, value in DOCUMENT.items() if key not in without}
    found = Fingerprint.from_json(document).to_json()
    assert {key: found[key] for key in document} == document


def test_the_reference_is_read() -> None:
    assert len(Fingerprint.load(REFERENCE).spacings) == 130


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("spacings",), [], "spacings is"),
        (("spacings", 0), [1.0, 1.0], r"spacings\.0 is"),
        (("spacings", 0, 1), "1", r"spacings\.0\.1 is '1'"),
        (("spacings", 0, 1), 0.0, "greater than 0"),
        (("spacings", 0, 1), float("nan"), "finite"),
        (("spacings",), [[1.0, 1.0, 1.0]], "1 spacings and 2 shapes_after_crop"),
        (("shapes_after_crop", 1, 2), 2.5, r"shapes_after_crop\.1\.2 is '2\.5'"),
        (("shapes_after_crop", 1, 2), True, r"shapes_after_crop\.1\.2 is 'True'"),
        (("shapes_after_crop", 1, 2), 10**9, "less than or equal"),
        (("foreground_intensity_properties_per_channel",), {"T1": {}}, "pattern"),
        (("foreground_intensity_properties_per_channel", "0", "std"), None, "std is 'None'"),
        (("median_relative_size_after_cropping",), 0, "greater than 0"),
        (("class_sizes", "structures", "organ"), [], "organ is"),
        (("class_sizes", "structures", "organ", "median"), "x", "median is 'x'"),
        (("class_sizes", "structures", "organ", "components", "extent"), [1.0], "extent is"),
        (("orientation",), {"codes": {}}, "directions and otherwise"),
        (("hash",), 3, "hash is '3'"),
    ],
)
def test_a_wrong_entry_is_named_with_its_value(path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Fingerprint.from_json(_set(*path, value=value))
    assert "Extract it again" in str(caught.value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1.5,
        "1",
        "",
        [],
        {},
        [[]],
        {"a": None},
        10**30,
        1e308,
        float("nan"),
        "x" * 999,
        "\ud800",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([place for place in _places(DOCUMENT) if place]), ODD)
def test_any_change_is_read_or_refused_in_words(place: tuple[Any, ...], value: Any) -> None:
    try:
        Fingerprint.from_json(_set(*place, value=value))
    except DataError as problem:
        assert "\n" not in str(problem)


@pytest.mark.parametrize("document", [None, [], "x", 3, {}])
def test_what_is_no_fingerprint_is_said(document: Any) -> None:
    with pytest.raises(DataError, match="not valid"):
        Fingerprint.from_json(document)
