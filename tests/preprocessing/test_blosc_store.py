"""Preprocessed cases on disk, read by nnU-Net."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, infer_dataset_class

from autoseg.errors import RunError
from autoseg.preprocessing.blosc_store import (
    HIDDEN,
    block_and_chunk,
    clear_workshops,
    read_preprocessed,
    write_case,
)


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:40], lambda content: b"x" * 99]
)
def test_a_damaged_case_is_told_with_what_to_do(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    array = np.zeros((1, 4, 8, 8), np.float32)
    about = {"shape_after_cropping_and_before_resampling": (4, 8, 8)}
    write_case(tmp_path, "a", array, array.astype(np.int16), about, (4, 8, 8))
    path = tmp_path / "a.b2nd"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="preprocess again"):
        read_preprocessed(tmp_path, "a")


lengths = st.one_of(st.integers(1, 5), st.integers(1, 700))


shapes = st.tuples(st.integers(1, 4), lengths, lengths, lengths)
patches = st.lists(lengths, min_size=2, max_size=3)


@given(shapes, patches, st.sampled_from([2, 4]))
@settings(max_examples=200, deadline=None)
def test_blocks_and_chunks_are_nnunets(shape: tuple[int, ...], patch: list[int], itemsize: int) -> None:
    assert block_and_chunk(shape, patch, itemsize) == comp_blosc2_params(shape, patch, itemsize)


@pytest.mark.parametrize("resampled", [True, False])
@pytest.mark.parametrize("patch", [(16, 16, 16), (24, 24)])
def test_nnunet_reads_what_is_written(tmp_path: Path, resampled: bool, patch: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=(2, 20, 30, 25)).astype(np.float32)
    labels = random.integers(-1, 200, (1, 20, 30, 25)).astype(np.int16)
    before = (10, 30, 25) if resampled else (20, 30, 25)
    properties = {
        "shape_after_cropping_and_before_resampling": before,
        "class_locations": {1: np.ones((3, 4))},
    }
    write_case(tmp_path, "case_1", data, labels, properties, patch)
    (tmp_path / HIDDEN / "case_1.json").write_text("{}")
    dataset = infer_dataset_class(str(tmp_path))(str(tmp_path))
    assert dataset.identifiers == ["case_1"]
    read, segmented, _, known = dataset.load_case("case_1")
    np.testing.assert_array_equal(read[:], data)
    np.testing.assert_array_equal(segmented[:], labels)
    assert segmented.dtype == np.int16
    assert known.keys() == properties.keys()
    array, found = read_preprocessed(tmp_path, "case_1")
    np.testing.assert_array_equal(array, data)
    assert found["shape"] == (20, 30, 25)
    assert read_preprocessed(tmp_path, "case_1", array=False)[0] is None


def test_a_case_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="case_7"):
        read_preprocessed(tmp_path, "case_7")


def test_only_workshops_of_the_dead_are_cleared(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"{platform.node()}-{ended.pid}", f"{platform.node()}-{os.getpid()}", "another.machine-1"]
    workshops = [tmp_path / HIDDEN / f"writing-{name}" for name in names]
    for path in workshops:
        path.mkdir(parents=True)
    clear_workshops(tmp_path)
    assert [path.exists() for path in workshops] == [False, True, True]
