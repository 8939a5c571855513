"""Predictions with exchanged label values are told; predictions that are only bad are not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.labels import Labels
from autoseg.evaluation.exchanged import exchanged, overlap_of
from autoseg.evaluation.scoring import evaluate

LABELS = Labels({"background": 0, "head": 1, "body": 2, "tail": 3})
SHAPE = (12, 16, 16)


def drawn(seed: int) -> np.ndarray:
    """Three bodies of different size, and a few voxels of noise."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.uint8)
    z, y, x = rng.integers(0, 3, 3)
    label[1 + z : 5 + z, 2 + y : 10 + y, 2:8] = 1
    label[5 + z : 9 + z, 2 + y : 12 + y, 8 + x : 13 + x] = 2
    label[2:6, 1:3, 11:15] = 3
    return label


def noisy(label: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(100 + seed)
    return np.where(rng.random(SHAPE) < 0.04, rng.integers(0, 4, SHAPE), label).astype(np.uint8)


def valued(**new: int) -> Callable[[np.ndarray, int], np.ndarray]:
    """The reference with some noise, its values 0 to 3 replaced."""
    table = np.array([new.get(f"v{value}", value) for value in range(4)], np.uint8)
    return lambda label, seed: table[noisy(label, seed)]


def found(made: Callable[[np.ndarray, int], np.ndarray], cases: int = 4) -> dict[int, int]:
    return exchanged([overlap_of(LABELS, drawn(n), made(drawn(n), n)) for n in range(cases)])


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (valued(v1=2, v2=1), {1: 2, 2: 1}),
        (valued(v1=3, v3=1), {1: 3, 3: 1}),
        (valued(v1=2, v2=3, v3=1), {1: 3, 2: 1, 3: 2}),
        (valued(v1=2, v2=0, v3=3), {2: 1}),
        (valued(v0=1, v1=0, v2=0, v3=0), {}),
    ],
)
def test_another_assignment_is_found(
    made: Callable[[np.ndarray, int], np.ndarray], wanted: dict[int, int]
) -> None:
    assert found(made) == wanted


def test_two_values_for_background_and_object(tmp_path: Path) -> None:
    """A mask in black on white; one that is all object only agrees with the background."""
    labels = Labels({"background": 0, "organ": 1})
    masks = [(drawn(n) > 0).astype(np.uint8) for n in range(3)]
    assert exchanged([overlap_of(labels, mask, 1 - mask) for mask in masks]) == {0: 1, 1: 0}
    assert exchanged([overlap_of(labels, mask, np.ones_like(mask)) for mask in masks]) == {}
    small = [mask * (np.arange(mask.size).reshape(SHAPE) % 97 == 0) for mask in masks]
    nearly_all = [1 - np.roll(each, 5, axis=2) for each in small]
    pairs = zip(small, nearly_all, strict=True)
    assert exchanged([overlap_of(labels, one, other) for one, other in pairs]) == {}


@pytest.mark.parametrize(
    "made",
    [
        noisy,
        lambda label, seed: np.zeros_like(label),
        lambda label, seed: np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8),
        lambda label, seed: np.full_like(label, 1 + seed % 3),
        lambda label, seed: np.roll(label, 6, axis=1),
        lambda label, seed: label[:, :, ::-1],
        lambda label, seed: noisy(drawn(seed + 50), seed)[::-1],
        # Two structures are taken for one, as a model does that has not learnt the smaller one.
        valued(v2=1, v3=1),
        # One case in four, in which a model may have confused them.
        lambda label, seed: (valued(v1=2, v2=1) if seed == 0 else noisy)(label, seed),
        # Half of each structure is called the other one.
        lambda label, seed: np.where(np.arange(16) % 2 == 0, valued(v1=2, v2=1)(label, seed), label),
    ],
)
def test_bad_and_right_predictions_are_not_told(made: Callable[[np.ndarray, int], np.ndarray]) -> None:
    assert found(made) == {}


def test_one_case_and_ignored_voxels_say_nothing() -> None:
    assert found(valued(v1=2, v2=1), cases=1) == {}
    labels = Labels({"background": 0, "head": 1, "ignore": 2}, ignore=2)
    reference = np.array([0, 1, 1, 2, 2], np.uint8)
    assert overlap_of(labels, reference, np.array([0, 1, 0, 1, 1])) == {(0, 0): 1, (1, 1): 1, (1, 0): 1}
    assert overlap_of(labels, reference, np.array([0.0, 1, 7, 1, 1])) == {(0, 0): 1, (1, 1): 1}


def test_it_is_told_with_what_can_be_typed_and_scores_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, made in (("truth", lambda label, seed: label), ("pred", valued(v1=2, v2=1))):
        (tmp_path / folder).mkdir()
        for n in range(3):
            image = sitk.GetImageFromArray(made(drawn(n), n))
            sitk.WriteImage(image, str(tmp_path / folder / f"c{n}.nii.gz"))

    def scored(mapping: dict[int, int]) -> float:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            result = evaluate(
                tmp_path / "pred", references=tmp_path / "truth", labels=LABELS, mapping=mapping, workers=1
            )
        dice = {each.structure: each.value for each in result.scores if each.metric == "dice"}
        return dice["head"]

    assert scored({}) < 0.2
    assert "seem to be exchanged (1 for 2, 2 for 1)" in caplog.text and "--map 1=2,2=1" in caplog.text
    assert scored({1: 2, 2: 1}) > 0.6 and "exchanged" not in caplog.text
    assert scored({1: 1, 2: 2}) < 0.2 and "whether --map says the right thing" in caplog.text
