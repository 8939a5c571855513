"""Decoding for the best expected Dice: against enumeration, against the package, and what it must not do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autoseg.data.labels import Labels
from autoseg.decoding.expected_dice import cut_of, segment_for_dice

ONE = Labels({"background": 0, "organ": 1})
TWO = Labels({"background": 0, "organ": 1, "lesion": 2})
REGIONS = Labels({"background": 0, "whole": (1, 2), "core": 2}, region_order=(1, 2))


def expected_dice(p: np.ndarray, chosen: np.ndarray) -> float:
    """Over all outcomes of independent voxels; both empty counts as 0, as in the approximation."""
    total = 0.0
    for truth in itertools.product((0, 1), repeat=len(p)):
        t = np.array(truth)
        chance = float(np.prod(np.where(t == 1, p, 1 - p)))
        if t.sum() + chosen.sum():
            total += chance * 2 * float((t * chosen).sum()) / float(t.sum() + chosen.sum())
    return total


def two_heads(p: np.ndarray) -> np.ndarray:
    return np.stack([1 - p, p]).reshape(2, 1, 1, -1)


@pytest.mark.parametrize("seed", range(8))
def test_hardly_any_set_of_voxels_has_a_better_expected_dice(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0.02, 0.98, 9)
    p[0] = 0.8
    found = segment_for_dice(two_heads(p), ONE).ravel()
    best = max(expected_dice(p, np.array(each)) for each in itertools.product((0, 1), repeat=len(p)))
    plain = expected_dice(p, (p > 0.5).astype(int))
    assert expected_dice(p, found) >= best - 0.02
    assert expected_dice(p, found) >= plain - 0.02


def test_a_doubtful_voxel_is_taken_where_it_raises_the_dice() -> None:
    p = np.array([0.9, 0.45, 0.45, 0.05])
    assert segment_for_dice(two_heads(p), ONE).ravel().tolist() == [1, 1, 1, 0]


def test_what_is_nowhere_likelier_than_not_stays_absent() -> None:
    p = np.full(20, 0.5)
    assert cut_of(p) is None
    assert not segment_for_dice(two_heads(p), ONE).any()


def test_certain_probabilities_are_decided_as_ever() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, (4, 5, 6))
    p = np.stack([truth == value for value in range(3)]).astype(np.float32)
    assert np.array_equal(segment_for_dice(p, TWO), truth)


def test_the_small_structure_has_a_voxel_that_both_want() -> None:
    """One voxel more is much to a small structure and little to a large one."""
    large, small = np.zeros(200), np.zeros(200)
    large[:150], small[190:193] = 0.95, 0.9
    large[195], small[195] = 0.52, 0.46
    p = np.stack([1 - large - small, large, small]).reshape(3, 1, 1, -1)
    assert segment_for_dice(p, TWO).ravel()[195] == 2


def test_regions_are_decided_each_by_itself() -> None:
    whole = np.array([0.9, 0.9, 0.46, 0.1]).reshape(1, 1, -1)
    core = np.array([0.9, 0.2, 0.1, 0.0]).reshape(1, 1, -1)
    assert segment_for_dice(np.stack([whole, core]), REGIONS).ravel().tolist() == [2, 1, 1, 0]


@pytest.mark.parametrize("seed", range(4))
def test_one_structure_is_decided_as_by_rankseg(seed: int) -> None:
    """The package that its authors wrote, where it is installed (extra ``rankseg``)."""
    rankseg = pytest.importorskip("rankseg")
    import torch

    random = np.random.default_rng(seed)
    p = np.clip(random.beta(0.4, 1.2, (1, 24, 30)), 0.001, 0.999).astype(np.float64)
    solver = rankseg.RankSEG(metric="dice", output_mode="multilabel", solver="RMA")
    theirs = solver.predict(torch.from_numpy(p[None]))[0].numpy()
    ours = segment_for_dice(np.stack([1 - p, p]), ONE)
    assert ours.any()
    assert np.array_equal(theirs, ours)
