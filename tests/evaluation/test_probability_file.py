"""Probabilities beside a prediction: what is none is told, before memory is taken for it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.evaluation.probability_file import read_probabilities

HALF = np.full((2, 3, 4, 5), 0.5, np.float32)


class Runs:
    """What would run if it were unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


def _announcing(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probabilities.npy", b"\x93NUMPY\x01\x00v\x00" + head.encode() + bytes(64))
    return file.getvalue()


def _holding(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probabilities.npy", content)
    return file.getvalue()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_probabilities_are_read(tmp_path: Path, kind: type) -> None:
    np.savez_compressed(tmp_path / "a.npz", probabilities=HALF.astype(kind))
    np.testing.assert_array_equal(read_probabilities(tmp_path / "a.npz", 2, 60), HALF)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (HALF[:1], "has 1 channels, the labels need 2"),
        (HALF[:, 1:], "expected 2 channels of 60 probabilities"),
        (HALF[0], "expected 2 channels"),
        (HALF.astype(np.int64), "values of int64"),
        (HALF * 10, "from 0 to 5, which are no probabilities"),
        (HALF * np.nan, "which are no probabilities"),
        (np.array([["a"]]), "expected 2 channels"),
    ],
)
def test_other_arrays_are_told(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.savez_compressed(tmp_path / "a.npz", probabilities=array)
    with pytest.raises(DataError, match=words):
        read_probabilities(tmp_path / "a.npz", 2, 60)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        _announcing((2, 3, 4, 5)),
        _announcing((2, 60_000, 60_000, 60_000)),
        _announcing((2, -3, 4, 5)),
        _holding(pickle.dumps(Runs())),
        _holding(b""),
    ],
)
def test_files_that_hold_none_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="remove the file"):
        read_probabilities(path, 2, 60)
