"""Augmentation of batches: what is done to single samples, on whichever device, and nothing to labels."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from scipy import stats
from test_augmentation import PIPELINES, SHAPES, TARGETS, case, signature
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from autoseg import augmentation
from autoseg.augmentation import batch_augmentation
from autoseg.augmentation.batch_augmentation import BatchAugmentation
from autoseg.augmentation.spatial import AffineTransform
from autoseg.augmentation.targets import nearest

# Without noise, whose voxels are drawn elsewhere.
SAME = (
    augmentation.nnunet_transforms,
    augmentation.affine_transforms,
    augmentation.fetal_head_transforms,
    augmentation.brainunet_transforms,
    augmentation.deepmrseg_transforms,
    augmentation.resnet34_mlp_transforms,
)
BATCH = 3


def noiseless(pipeline: ComposeTransforms) -> ComposeTransforms:
    kept = [
        each
        for each in pipeline.transforms
        if not isinstance(batch_augmentation._inner(each), GaussianNoiseTransform)
    ]
    return ComposeTransforms(kept)


class SampleBySample(BatchAugmentation):
    """Draws for each sample from a sequence of its own, as the transforms of single samples do."""

    def __init__(self, pipeline: ComposeTransforms, seeds: Sequence[int]) -> None:
        super().__init__(pipeline)
        self.states = [self.seeded(seed) for seed in seeds]

    @staticmethod
    def seeded(seed: int) -> tuple[Any, Any]:
        np.random.seed(seed)
        torch.manual_seed(seed)
        return np.random.get_state(), torch.get_rng_state()

    def _draws(self, transform: Any, shape: Sequence[int]) -> list[Any]:
        found = []
        for number, state in enumerate(self.states):
            np.random.set_state(state[0])
            torch.set_rng_state(state[1])
            found += super()._draws(transform, (1, *shape[1:]))
            self.states[number] = np.random.get_state(), torch.get_rng_state()
        return found


def batches(dimensions: int) -> tuple[Tensor, Tensor]:
    samples = [case(dimensions, seed=number) for number in range(BATCH)]
    return torch.stack([each[0] for each in samples]), torch.stack([each[1] for each in samples])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("make", SAME)
@pytest.mark.parametrize("target", TARGETS, ids=["labels", "masked", "regions", "ignore"])
def test_a_batch_is_what_its_samples_are(make: Any, dimensions: int, target: dict[str, Any]) -> None:
    pipeline = noiseless(make(*signature(dimensions), False, **target))
    image, segmentation = batches(dimensions)
    different = total = 0
    for first in range(0, 24, BATCH):
        seeds = range(first, first + BATCH)
        whole = SampleBySample(pipeline, seeds)(image.clone(), segmentation.clone())
        for number, seed in enumerate(seeds):
            SampleBySample.seeded(seed)
            alone = pipeline(image=image[number].clone(), segmentation=segmentation[number].clone())
            torch.testing.assert_close(whole[0][number], alone["image"], rtol=1e-4, atol=1e-4)
            for found, expected in zip(whole[1], alone["segmentation"], strict=True):
                assert found.dtype == expected.dtype and found[number].shape == expected.shape
                different += int((found[number] != expected).sum())
                total += expected.numel()
    # Positions are rounded otherwise, so that a label on a boundary may fall otherwise once in a while.
    assert different / total < 1e-4


def test_within_slices_a_batch_is_what_its_samples_are() -> None:
    pipeline = noiseless(augmentation.nnunet_transforms(*signature(3), True))
    image, segmentation = (each[:, :, :12] for each in batches(3))
    whole = SampleBySample(pipeline, range(BATCH))(image.clone(), segmentation.clone())
    for number in range(BATCH):
        SampleBySample.seeded(number)
        alone = pipeline(image=image[number].clone(), segmentation=segmentation[number].clone())
        torch.testing.assert_close(whole[0][number], alone["image"], rtol=1e-4, atol=1e-4)
        assert (whole[1][0][number] != alone["segmentation"][0]).float().mean() < 1e-3


def summaries(images: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """Numbers that each transform changes, of each sample."""
    flat = torch.stack([each[0].flatten() for each in images])
    steps = torch.stack([each[0].diff(dim=-1).flatten() for each in images])
    quartile = flat.quantile(0.25, dim=1)
    found = {"mean": flat.mean(1), "deviation": flat.std(1), "steps": steps.std(1), "quartile": quartile}
    return {name: value.double().numpy() for name, value in found.items()}


def test_distributions_are_those_of_nnunets_own_pipeline() -> None:
    """Two-sample Kolmogorov-Smirnov tests on summaries of 900 samples each, noise and all."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    stock = nnUNetTrainer.get_training_transforms(*signature(2), False)
    batched = BatchAugmentation(augmentation.nnunet_transforms(*signature(2), False))
    image, segmentation = case(2)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    alone = [stock(image=image.clone(), segmentation=segmentation.clone()) for _ in range(900)]
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for _ in range(45):
        found, targets = batched(
            image.expand(20, -1, -1, -1).clone(), segmentation.expand(20, -1, -1, -1).clone()
        )
        images += list(found)
        labels += list(targets[0])
    theirs, ours = summaries([each["image"] for each in alone]), summaries(images)
    for name, values in theirs.items():
        assert stats.ks_2samp(values, ours[name]).pvalue > 1e-3, name
        assert np.mean(ours[name]) == pytest.approx(np.mean(values), abs=0.2 * np.std(values)), name
    shares = [
        np.array([float((each == 1).float().mean()) for each in given])
        for given in ([each["segmentation"][0] for each in alone], labels)
    ]
    assert stats.ks_2samp(*shares).pvalue > 1e-3


def test_noise_is_normal_with_the_deviation_that_is_drawn() -> None:
    transform = GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True)
    batched = BatchAugmentation(ComposeTransforms([transform]))
    torch.manual_seed(0)
    np.random.seed(0)
    image, _ = batched(torch.zeros(400, 2, 16, 16), torch.zeros(400, 1, 16, 16, dtype=torch.int16))
    deviations = image.flatten(2).std(2)
    assert torch.allclose(deviations[:, 0], deviations[:, 1], rtol=0.4), "one deviation for all channels"
    assert stats.kstest(deviations[:, 0].numpy(), "uniform", (0, 0.1)).pvalue > 1e-3
    scaled = image[:, 0].flatten(1) / deviations[:, :1]
    assert stats.kstest(scaled.flatten()[::7].numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("dimensions", [2, 3])
def test_labels_are_never_mixed_into_new_ones(dimensions: int) -> None:
    batched = BatchAugmentation(augmentation.affine_transforms(*signature(dimensions), False))
    image, segmentation = batches(dimensions)
    segmentation[segmentation == 2] = 400  # a value between others must not appear between them
    for seed in range(5):
        np.random.seed(seed)
        torch.manual_seed(seed)
        _, targets = batched(image.clone(), segmentation.clone())
        for each in targets:
            assert set(each.unique().tolist()) <= {0, 1, 3, 400}


def test_what_cannot_be_done_in_batches_is_known_before() -> None:
    assert all(BatchAugmentation.supports(make(*signature(3), True)) for make in PIPELINES)
    cascade = {"is_cascaded": True, "foreground_labels": [1, 2]}
    assert not BatchAugmentation.supports(augmentation.nnunet_transforms(*signature(3), False, **cascade))
    assert not BatchAugmentation.supports(None)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("make", "target"),
    [(augmentation.nnunet_transforms, each) for each in TARGETS]
    + [(make, TARGETS[0]) for make in PIPELINES[1:]],
)
def test_on_a_gpu_nothing_is_waited_for_and_all_stays_there(
    dimensions: int, make: Any, target: dict[str, Any]
) -> None:
    """Tensors without contents: reading a value from the device, or mixing devices, would fail here."""
    pipeline = make(*signature(dimensions), False, **target)
    for each in pipeline.transforms:
        if hasattr(each, "apply_probability"):
            each.apply_probability = 1.0
        if isinstance(each, AffineTransform):
            each.p_rotation = each.p_scaling = 1.0
    batched = BatchAugmentation(pipeline)
    drawn = batched._draws

    def outside(transform: Any, shape: Sequence[int]) -> Any:
        with torch._subclasses.fake_tensor.unset_fake_temporarily():
            return drawn(transform, shape)

    batched._draws = outside  # type: ignore[method-assign]
    shape = SHAPES[dimensions][1]
    nearest.cache_clear()  # it would retain tensors without contents, and must not give real ones
    # cuDNN's sampling of pictures has no rule for tensors without contents; torch's own has.
    with torch.backends.cudnn.flags(enabled=False), FakeTensorMode(allow_non_fake_inputs=True):
        image = torch.empty((BATCH, 2, *shape), device="cuda")
        segmentation = torch.empty((BATCH, 1, *shape), dtype=torch.int16, device="cuda")
        found, targets = batched(image, segmentation)
    nearest.cache_clear()
    assert found.device.type == "cuda" and found.shape == (BATCH, 2, *SHAPES[dimensions][0])
    assert {each.device.type for each in targets} == {"cuda"}
