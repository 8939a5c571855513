"""A temperature is found again where networks are too sure, and changes no order of labels."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.labels import Labels
from autoseg.decoding.reliability import reliability
from autoseg.decoding.temperature import AS_THEY_ARE, Calibration, Sample, calibrated, fit_calibration


def too_sure(temperature: float, heads: int, seed: int, regions: bool = False) -> Sample:
    """Voxels whose truth is drawn from softened probabilities, while the network says the sharp ones."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (3000, heads))
    if regions:
        honest = 1 / (1 + np.exp(-logits))
        truth = random.uniform(size=honest.shape) < honest
        return Sample(f"case_{seed}", 1 / (1 + np.exp(-logits * temperature)), truth)
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (honest.cumsum(axis=1) > random.uniform(size=(3000, 1))).argmax(axis=1)
    sharp = np.exp(logits * temperature)
    return Sample(f"case_{seed}", sharp / sharp.sum(axis=1, keepdims=True), np.eye(heads, dtype=bool)[drawn])


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_the_temperature_of_a_too_sure_network_is_found(temperature: float, regions: bool) -> None:
    samples = [too_sure(temperature, 3, seed, regions) for seed in range(3)]
    fitted = fit_calibration(samples, regions, with_bias=False)
    found = fitted.temperature
    assert not fitted.bias and found == pytest.approx(temperature, rel=0.06)
    before, after = (reliability(samples, [c] * 3, regions) for c in (AS_THEY_ARE, fitted))
    if temperature != 1.0:
        assert after["expected_error"] < 0.5 * before["expected_error"]
        assert after["surprise"] < before["surprise"]
    assert sum(share for _, _, share in after["diagram"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("regions", [False, True])
def test_a_structure_that_is_found_too_often_gets_a_bias(regions: bool) -> None:
    """Twice the temperature, and one head whose logit is 1.5 too high."""
    samples = []
    for seed in range(3):
        sharp = too_sure(2.0, 3, seed, regions)
        logits = np.log(sharp.probabilities)
        if regions:
            logits -= np.log1p(-sharp.probabilities)
        logits[:, 1] += 1.5
        p = (
            1 / (1 + np.exp(-logits))
            if regions
            else np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        )
        samples.append(Sample(sharp.case, p, sharp.truth))
    alone, found = (fit_calibration(samples, regions, with_bias) for with_bias in (False, True))
    assert found.temperature == pytest.approx(2.0, rel=0.1)
    # After division by the temperature half of it is left.
    assert found.bias == pytest.approx((0.0, -0.75, 0.0), abs=0.12)
    before, between, after = (reliability(samples, [c] * 3, regions) for c in (AS_THEY_ARE, alone, found))
    assert after["expected_error"] < 0.3 * before["expected_error"]
    assert after["surprise"] < between["surprise"] < before["surprise"]


def test_no_order_of_labels_changes() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([0.5, 0.5, 0.5], (2, 5, 6)).transpose(3, 0, 1, 2).astype(np.float32)
    softer = calibrated(p, Calibration(2.5), has_regions=False)
    assert np.array_equal(softer.argmax(axis=0), p.argmax(axis=0))
    assert np.allclose(softer.sum(axis=0), 1, atol=1e-5)
    assert softer.max(axis=0).mean() < p.max(axis=0).mean()
    sides = calibrated(p, Calibration(2.5), has_regions=True)
    assert np.array_equal(sides > 0.5, p > 0.5)


def test_outside_of_the_crop_is_background() -> None:
    p = np.zeros((2, 1, 2, 2), np.float32)
    p[:, 0, 0, 0] = 0.25, 0.75
    found = calibrated(p, AS_THEY_ARE, has_regions=False)
    assert found[:, 0, 0, 0].tolist() == [0.25, 0.75]
    assert found[:, 0, 1, 1].tolist() == [1, 0]
    assert Labels({"background": 0, "organ": 1}).num_heads == len(found)
