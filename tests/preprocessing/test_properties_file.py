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


class Built:
    """What a damaged file makes of a numpy object: built of some arguments, then given a state."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced

    def __repr__(self) -> str:  # names a test: the default one has an address in it, another in each process
        return f"Built{self.reduced}"


INTEGERS = Built(np.dtype, ("i8", False, True), (3, "<", None, None, None, -1, -1, 0))
EMPTY = (np.ndarray, (0,), b"b")


def _filled(*state: Any) -> Built:
    return Built(np._core.multiarray._reconstruct, EMPTY, state)


@pytest.mark.parametrize(
    "odd",
    [
        Built(np.dtype, ("i8", False, True), (3, "x")),
        Built(np.dtype, ("i8", False, True), 7),
        Built(np.dtype, ("O8", False, True)),
        Built(np.dtype, ("V9" * 50, False, True)),
        _filled(1, (3,), INTEGERS, False, b"12345678"),
        _filled(1, (2**62, 4), INTEGERS, False, b""),
        _filled(1, (-1,), INTEGERS, False, b"12345678"),
        _filled(1, [1], INTEGERS, False, b"12345678"),
        _filled(1, (1,), "i8", False, b"12345678"),
        _filled(1, (1,), INTEGERS, False, ["a"]),
        _filled(1, (1,)),
        Built(np._core.multiarray.scalar, (INTEGERS, b"123")),
        Built(np._core.numeric._frombuffer, (b"12345678", INTEGERS, (2,), "C")),
        Built(np._core.numeric._frombuffer, (b"12345678", INTEGERS, (1,), "K")),
    ],
    ids=lambda built: str(built.reduced[1:])[:60],
)
def test_arrays_that_do_not_fit_their_types_and_sizes_are_refused(tmp_path: Path, odd: Built) -> None:
    """numpy takes such states from a file as they are; some end the process."""
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps({"spacing": odd}))
    with pytest.raises(RunError, match="preprocess again"):
        read_properties(path)


def test_arrays_of_all_kinds_come_back(tmp_path: Path) -> None:
    arrays = (
        *(np.arange(6).reshape(2, 3).astype(kind) for kind in (np.int8, ">i4", np.uint16, np.float32, "c16")),
        *(np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.array(["ab", "c"]), np.array([True, False])),
        *(np.zeros((0, 4), np.int64), np.array(3.5), np.arange(24).reshape(2, 3, 4)[:, ::2]),
    )
    path = tmp_path / "case.pkl"
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"arrays": arrays}, protocol))
        for found, array in zip(read_properties(path)["arrays"], arrays, strict=True):
            np.testing.assert_array_equal(found, array)
            assert (found.shape, found.dtype.kind) == (array.shape, array.dtype.kind)
