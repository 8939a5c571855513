"""Sums over probabilities: the same however a case comes, and what they are defined to be."""

import numpy as np
import pytest

from autoseg.data.labels import Labels
from autoseg.trust.evidence import CUT, Evidence, head_of_each, seen_by

LABELS = Labels({"background": 0, "a": 1, "b": 2})
REGIONS = Labels({"background": 0, "whole": (1, 2), "core": (2,)}, region_order=(1, 2))


def logits(heads: int, shape: tuple[int, ...] = (6, 7, 8), scale: float = 4.0) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(heads, *shape)).astype(np.float32) * scale


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(0))
    return powers / powers.sum(0)


def cut(p: np.ndarray) -> np.ndarray:
    return np.where(p < CUT, 0, np.where(p > 1 - CUT, 1, p))


@pytest.mark.parametrize("labels", [LABELS, REGIONS], ids=["labels", "regions"])
def test_slabs_and_probabilities_give_the_same_sums_as_the_whole(labels: Labels) -> None:
    values = logits(labels.num_heads)
    whole, slabs, probabilities = (Evidence.of(labels) for _ in range(3))
    whole.add_logits(values)
    assert np.array_equal(np.concatenate(list(seen_by(slabs, np.split(values, 3, axis=1))), axis=1), values)
    probabilities.add_probabilities(1 / (1 + np.exp(-values)) if labels.has_regions else softmax(values))
    for other in (slabs, probabilities):
        np.testing.assert_allclose(other.heads, whole.heads, rtol=1e-5)
        np.testing.assert_allclose(other.highest, whole.highest, rtol=1e-5)
        assert other.entropy == pytest.approx(whole.entropy, rel=1e-5)
        assert other.voxels == whole.voxels == 6 * 7 * 8


def test_the_expected_dice_is_that_of_the_probabilities() -> None:
    values = logits(3)
    evidence = Evidence.of(LABELS)
    evidence.add_logits(values)
    p = cut(softmax(values))
    for head in (1, 2):
        inside = values.argmax(0) == head
        expected = 2 * p[head][inside].sum() / (p[head].sum() + inside.sum())
        assert evidence.of_head(head)["expected_dice"] == pytest.approx(expected, rel=1e-5)


def test_the_entropies_are_those_of_the_probabilities() -> None:
    values = logits(3, scale=2.0)
    evidence = Evidence.of(LABELS)
    evidence.add_logits(values)
    p = cut(softmax(values.astype(np.float64)))
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    others = np.log(1 - p, where=p < 1, out=np.zeros_like(p))
    binary = -(p * logs + (1 - p) * others).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(evidence.heads[:, 3], binary, rtol=1e-4)
    assert evidence.entropy == pytest.approx(-(p * logs).sum(), rel=1e-4)


def test_an_empty_segmentation_is_as_good_as_the_chance_that_nothing_is_there() -> None:
    values = np.zeros((3, 2, 2, 2), np.float32)
    values[0] = 9.0
    values[1, 0, 0, 0] = 8.0
    evidence = Evidence.of(LABELS)
    evidence.add_logits(values)
    found = evidence.to_json(LABELS)["structures"]
    assert found["a"]["expected_dice"] == pytest.approx(1 - 1 / (1 + np.e), abs=1e-3)
    assert found["b"]["expected_dice"] == 1.0
    assert found["a"]["uncertainty"] is None


def test_a_certain_prediction_has_no_entropy_and_one_outside_a_crop_is_background() -> None:
    evidence = Evidence.of(LABELS)
    evidence.add_probabilities(np.zeros((3, 2, 2, 2), np.float32))
    assert evidence.entropy == 0
    assert evidence.heads[1:].sum() == 0


def test_copies_that_agree_have_an_agreement_of_one_and_without_copies_there_is_none() -> None:
    evidence = Evidence.of(LABELS)
    assert evidence.of_head(1)["agreement"] is None
    evidence.add_copies(np.array([5.0, 2, 0]), np.array([5.0, 2, 1]), np.array([5.0, 2, 1]))
    assert evidence.of_head(1)["agreement"] == 1.0
    assert evidence.of_head(2)["agreement"] == 0.0


def test_regions_have_a_head_each_in_their_order_and_labels_that_of_their_value() -> None:
    assert head_of_each(REGIONS) == {"whole": 0, "core": 1}
    assert head_of_each(Labels({"b": 5, "background": 0, "a": 2})) == {"b": 2, "a": 1}
