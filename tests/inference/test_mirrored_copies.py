"""How mirrored copies agree: the same counts in torch and in numpy, and no other segmentations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from autoseg.bundle.sliding_window import predict_slabs as predict_in_numpy
from autoseg.data.labels import Labels
from autoseg.inference.sliding_window import predict_slabs
from autoseg.trust.evidence import Evidence

LABELS = Labels({"background": 0, "a": 1, "b": 2})
REGIONS = Labels({"background": 0, "whole": (1, 2), "core": 2, "rim": 1}, region_order=(1, 2, 1))


def network(heads: int, symmetric: bool = False) -> torch.nn.Module:
    torch.manual_seed(0)
    found = torch.nn.Conv3d(1, heads, 1 if symmetric else 3, padding=0 if symmetric else 1)
    with torch.no_grad():
        found.weight.mul_(5)
    return found.eval()


def in_numpy(module: torch.nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(batch)).numpy()

    return run


def image(shape: tuple[int, ...] = (9, 12, 14)) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)


@pytest.mark.parametrize("labels", [LABELS, REGIONS], ids=["labels", "regions"])
def test_torch_and_numpy_count_the_same(labels: Labels) -> None:
    modules = [network(3), network(3)]
    torch.nn.init.normal_(modules[1].weight)
    ours, theirs = Evidence.of(labels), Evidence.of(labels)
    options = {"step_size": 0.5, "mirror_axes": (0, 2)}
    one = list(predict_slabs(modules, torch.from_numpy(image()), (8, 8, 8), evidence=ours, **options))
    run = [in_numpy(module) for module in modules]
    other = list(predict_in_numpy(run, image(), (8, 8, 8), evidence=theirs, **options))
    np.testing.assert_allclose(ours.copies, theirs.copies, rtol=1e-4)
    assert 0 < ours.of_head(1)["agreement"] < 1
    plain = list(predict_slabs(modules, torch.from_numpy(image()), (8, 8, 8), **options))
    assert all(torch.equal(a, b) for a, b in zip(one, plain, strict=True))
    np.testing.assert_allclose(torch.cat(one, 1).numpy(), np.concatenate(other, 1), atol=1e-4)


def test_a_network_that_does_not_care_for_sides_agrees_with_itself() -> None:
    found = Evidence.of(LABELS)
    options = {"mirror_axes": (0, 1, 2), "evidence": found}
    list(predict_slabs([network(3, symmetric=True)], torch.from_numpy(image()), (8, 8, 8), **options))
    assert found.of_head(1)["agreement"] == pytest.approx(1.0)


def test_without_mirroring_there_is_nothing_to_compare() -> None:
    found = Evidence.of(LABELS)
    list(predict_slabs([network(3)], torch.from_numpy(image()), (8, 8, 8), evidence=found))
    assert found.of_head(1)["agreement"] is None
