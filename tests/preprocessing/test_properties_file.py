"""Properties of a case are data: what a file names beyond that is refused, and not imported."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.errors import RunError
from autoseg.preprocessing.properties_file import read_properties

PROPERTIES = {
    "sitk_stuff": {"spacing": (1.0, 1.0, 2.5), "origin": (0.0, 0.0, 0.0), "direction": (1.0,) * 9},
    "spacing": [np.float64(2.5), 1.0, 1.0],
    "shape_before_cropping": (10, 20, 30),
    "bbox_used_for_cropping": [[0, 10], [0, 20], [0, 30]],
    "class_locations": {1: np.arange(12).reshape(3, 4), (1, 2): [], 2: np.zeros((0, 4), np.int64)},
    "slice": slice(1, 3),
    "ordered": collections.OrderedDict(a=np.int32(3)),
}


class Calls:
    """A harmless stand-in for what a pickle can be made to call."""

    def __reduce__(self) -> Any:
        return (print, ("called",))


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_what_nnunet_writes_is_read(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps(PROPERTIES, protocol))
    found = read_properties(path)
    assert found.keys() == PROPERTIES.keys()
    assert found["sitk_stuff"] == PROPERTIES["sitk_stuff"] and found["spacing"] == [2.5, 1.0, 1.0]
    assert np.array_equal(found["class_locations"][1], np.arange(12).reshape(3, 4))
    assert found["slice"] == slice(1, 3) and found["ordered"]["a"] == 3


def test_what_a_file_names_beyond_data_is_refused_and_not_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps({"spacing": Calls()}))
    with pytest.raises(RunError, match=r"it names builtins\.print.*preprocess again"):
        read_properties(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps(PROPERTIES)[:40],
        pytest.param(b"\x80\x04\x8e" + b"\xff" * 8, id="more bytes than there is memory for"),
        pytest.param(b"\x80\x04\x8e" + b"\xff" * 6 + b"\x7f\x00", id="more bytes than can be counted"),
        pytest.param(b"\x80\x04}r\xff\xff\xff\x0f.", id="a number of a stored value far beyond the file"),
        pytest.param(b"\x80\x04cbuiltins\nbytearray\nJ\xff\xff\xff\x0f\x85R.", id="an array of zeros"),
    ],
)
def test_a_damaged_file_is_told_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(content)
    with pytest.raises(RunError, match="preprocess again"):
        read_properties(path)


def test_a_byte_array_of_an_older_pickle_is_read(tmp_path: Path) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps({"bytes": bytearray(b"ab")}, 3))
    assert read_properties(path)["bytes"] == bytearray(b"ab")
