"""Augmentation: equal to nnU-Net's draw for draw, true to the documented ranges, never wrong on labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autoseg import augmentation
from autoseg.augmentation import nnunet_transforms
from autoseg.augmentation.intensity import BlurTransform, ContrastCurveTransform, blur_axis
from autoseg.augmentation.mri import (
    BiasFieldTransform,
    GhostingTransform,
    MotionTransform,
    filter_axis,
    polynomial,
)
from autoseg.augmentation.sampling import locate, sample_labels, sample_linear
from autoseg.augmentation.spatial import AffineTransform, FlipTransform, rotation_matrix, shear_matrix
from autoseg.augmentation.targets import RegionsTransform, nearest

PIPELINES = [
    augmentation.nnunet_transforms,
    augmentation.brainunet_transforms,
    augmentation.affine_transforms,
    augmentation.fetal_head_transforms,
    augmentation.deepmrseg_transforms,
    augmentation.resnet34_mlp_transforms,
]
SHAPES = {2: ((24, 20), (37, 31)), 3: ((12, 16, 14), (20, 25, 23))}


def case(dimensions: int, channels: int = 2, labels: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A smooth image and blocks of labels, larger than the patch, with a rim of -1."""
    shape = SHAPES[dimensions][1]
    generator = torch.Generator().manual_seed(seed)
    mode = "bilinear" if dimensions == 2 else "trilinear"
    coarse = torch.randn((1, channels, *(5,) * dimensions), generator=generator)
    image = F.interpolate(coarse, shape, mode=mode)[0]
    blocks = torch.randint(0, labels, (1, 1, *(6,) * dimensions), generator=generator)
    segmentation = F.interpolate(blocks.float(), shape, mode="nearest")[0].short()
    segmentation[:, :3] = -1
    return image, segmentation


def seeded(transform: Any, seed: int, image: Tensor, segmentation: Tensor) -> dict[str, Any]:
    np.random.seed(seed)
    torch.manual_seed(seed)
    return dict(transform(image=image.clone(), segmentation=segmentation.clone()))


def signature(dimensions: int) -> tuple[Any, ...]:
    scales = [[1.0] * dimensions, [0.5] * dimensions, [1.0] + [0.25] * (dimensions - 1)]
    return SHAPES[dimensions][0], (-0.5, 0.5), scales, tuple(range(dimensions))


TARGETS: list[dict[str, Any]] = [
    {},
    {"use_mask_for_norm": [True, False]},
    {"regions": [(1, 2, 3), (2, 3), 3]},
    {"regions": [(1, 2), 2], "ignore_label": 3},
]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("target", TARGETS, ids=["labels", "masked", "regions", "ignore"])
def test_nnunet_pipeline_gives_nnunets_samples(dimensions, target):
    """The same seed gives the same sample, whichever transforms are drawn."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    stock = nnUNetTrainer.get_training_transforms(*signature(dimensions), False, **target)
    ours = nnunet_transforms(*signature(dimensions), False, **target)
    image, segmentation = case(dimensions)
    different = total = 0
    for seed in range(60):
        expected, found = (seeded(pipeline, seed, image, segmentation) for pipeline in (stock, ours))
        torch.testing.assert_close(found["image"], expected["image"], rtol=1e-4, atol=1e-4)
        assert len(found["segmentation"]) == 3
        for a, b in zip(found["segmentation"], expected["segmentation"], strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            different, total = different + int((a != b).sum()), total + a.numel()
    # Stock keeps scores in half precision, so a label on a boundary may fall otherwise once in a while.
    assert different / total < 1e-4


def test_nnunet_pipeline_within_slices_and_in_a_cascade():
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    image, segmentation = case(3)
    image, segmentation = image[:, :12], segmentation[:, :12]
    segmentation = torch.cat([segmentation, segmentation.clamp(min=0).roll(1, 2)])
    target = {"is_cascaded": True, "foreground_labels": [1, 2, 3]}
    stock = nnUNetTrainer.get_training_transforms(*signature(3), True, **target)
    ours = nnunet_transforms(*signature(3), True, **target)
    for seed in range(40):
        expected, found = (seeded(pipeline, seed, image, segmentation) for pipeline in (stock, ours))
        assert found["image"].shape == (5, *SHAPES[3][0])
        torch.testing.assert_close(found["image"][:2], expected["image"][:2], rtol=1e-4, atol=1e-4)
        assert float((found["image"][2:] != expected["image"][2:]).float().mean()) < 1e-3
        for a, b in zip(found["segmentation"], expected["segmentation"], strict=True):
            assert float((a != b).float().mean()) < 1e-3


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("labels", [2, 3, 40])
def test_affine_equals_the_stock_transform(dimensions, labels):
    """Same draws, same patch; far rotations and zooms reach outside the input on all sides."""
    patch = SHAPES[dimensions][0]
    span = (-math.pi, math.pi)
    stock = SpatialTransform(
        patch,
        0,
        False,
        p_rotation=0.7,
        rotation=span,
        p_scaling=0.7,
        scaling=(0.4, 2.5),
        p_synchronize_scaling_across_axes=1,
        border_mode_seg="constant",
        padding_value_seg=-1,
    )
    ours = AffineTransform(patch, rotation=span, p_rotation=0.7, scaling=(0.4, 2.5), p_scaling=0.7)
    image, segmentation = case(dimensions, labels=labels)
    for seed in range(30):
        expected, found = (seeded(t, seed, image, segmentation) for t in (stock, ours))
        torch.testing.assert_close(found["image"], expected["image"], rtol=1e-4, atol=1e-4)
        different = found["segmentation"] != expected["segmentation"]
        assert float(different.float().mean()) < 2e-3


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_labels_keep_their_type(dtype):
    image, segmentation = case(3)
    transform = AffineTransform(SHAPES[3][0], rotation=(0.2, 0.3), p_rotation=1)
    assert seeded(transform, 0, image, segmentation.to(dtype))["segmentation"].dtype == dtype


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    dimensions=st.sampled_from([2, 3]),
    scale=st.floats(0.2, 4),
    far=st.floats(0, 60),
)
def test_sampling_never_invents_a_label(seed, dimensions, scale, far):
    rng = np.random.default_rng(seed)
    matrix = rotation_matrix(rng.uniform(-4, 4, dimensions).tolist()) * scale
    image, segmentation = case(dimensions, seed=seed)
    sampling = locate(matrix, rng.uniform(-far, far, dimensions), image.shape[1:], SHAPES[dimensions][0])
    labels = set(sample_labels(segmentation, sampling, -7).unique().tolist())
    assert labels <= set(segmentation.unique().tolist()) | {-7}
    values = sample_linear(image, sampling)
    assert values.max() <= max(0, image.max()) + 1e-4 and values.min() >= min(0, image.min()) - 1e-4


def test_the_identity_reads_the_centre():
    image, segmentation = case(3)
    sampling = locate(np.eye(3), np.zeros(3), image.shape[1:], (10, 15, 13))
    centre = (slice(None), slice(5, 15), slice(5, 20), slice(5, 18))
    torch.testing.assert_close(sample_linear(image, sampling), image[centre])
    assert torch.equal(sample_labels(segmentation, sampling, -1), segmentation[centre])


def test_a_shift_moves_image_and_labels_alike():
    image, segmentation = case(2)
    sampling = locate(np.eye(2), np.array([3.0, -2.0]), image.shape[1:], (25, 21))
    moved = (slice(None), slice(9, 34), slice(3, 24))
    torch.testing.assert_close(sample_linear(image, sampling), image[moved])
    assert torch.equal(sample_labels(segmentation, sampling, -1), segmentation[moved])


@pytest.mark.parametrize("angles", [(0.3,) * 2, (0.2, -0.4, 0.9)])
def test_rotations_are_rotations(angles):
    matrix = rotation_matrix(angles)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(angles)), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_shear_stays_in_the_plane():
    matrix = shear_matrix(0.4, 3)
    np.testing.assert_array_equal(matrix[0], [1, 0, 0])
    np.testing.assert_allclose(matrix[1:] @ [5, 0, 1], [-math.sin(0.4), math.cos(0.4)])


def test_the_ranges_of_an_affine_transform():
    transform = AffineTransform(
        (20, 40), scaling=(0.9, 1.1), p_scaling=1, translation=(-0.1, 0.1), p_translation=1
    )
    drawn = [transform.get_parameters(image=torch.zeros(1, 20, 40)) for _ in range(300)]
    factors = np.array([d["matrix"][0, 0] for d in drawn])
    shifts = np.array([d["shift"] for d in drawn])
    assert 0.9 <= factors.min() < 0.91 and 1.09 < factors.max() <= 1.1
    assert np.all(np.abs(shifts) <= [2, 4]) and np.all(np.abs(shifts).max(0) > [1.8, 3.6])


@pytest.mark.parametrize("shape", [(2, 30, 41), (2, 9, 12, 17)])
def test_blur_equals_the_stock_transform(shape):
    image = torch.randn(shape)
    stock, ours = (kind((0.5, 1.0), p_per_channel=0.6) for kind in (GaussianBlurTransform, BlurTransform))
    for seed in range(20):
        expected, found = (seeded(t, seed, image, torch.zeros(1))["image"] for t in (stock, ours))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_narrow_blur_does_nothing():
    image = torch.randn(5, 6)
    assert torch.equal(blur_axis(image, 0.1, 0), image)


@pytest.mark.parametrize("inverted", [0, 1])
@pytest.mark.parametrize("restore", [0, 1])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_gamma_equals_the_stock_transform(inverted, restore, offset):
    image = torch.randn(2, 20, 22) + offset
    arguments = (BGContrast((0.7, 1.5)), inverted, False, 1, restore)
    stock, ours = GammaTransform(*arguments), ContrastCurveTransform(*arguments)
    for seed in range(10):
        expected, found = (seeded(t, seed, image, torch.zeros(1))["image"] for t in (stock, ours))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


def test_gamma_of_a_constant_image_is_that_image():
    flat = torch.full((1, 6, 6), 3.0)
    transform = ContrastCurveTransform(BGContrast((0.7, 1.5)), 0, False, 1, 1)
    torch.testing.assert_close(transform(image=flat.clone())["image"], flat)


@settings(deadline=None, max_examples=200)
@given(length=st.integers(1, 300), factor=st.sampled_from([0.5, 0.25, 1 / 3, 1 / 7, 0.125]))
def test_nearest_picks_torchs_nearest_exact(length, factor):
    new = max(1, round(length * factor))
    expected = F.interpolate(torch.arange(length).float()[None, None], new, mode="nearest-exact")[0, 0]
    assert torch.equal(nearest(length, new).float(), expected)


def test_regions_overlap():
    labels = torch.tensor([[[0, 1], [2, 3]]])
    regions = RegionsTransform([(1, 2), 2, 3])(segmentation=labels)["segmentation"]
    assert regions.int().tolist() == [[[0, 1], [1, 0]], [[0, 0], [1, 0]], [[0, 0], [0, 1]]]


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("target", TARGETS, ids=["labels", "masked", "regions", "ignore"])
def test_every_pipeline_gives_what_the_loss_takes(pipeline, dimensions, target):
    transform = pipeline(*signature(dimensions), False, **target)
    image, segmentation = case(dimensions)
    patch = SHAPES[dimensions][0]
    heads = len(target.get("regions", [])) + ("ignore_label" in target)
    for seed in range(12):
        sample = seeded(transform, seed, image, segmentation)
        assert sample["image"].shape == (2, *patch) and torch.isfinite(sample["image"]).all()
        full, half, quarter = sample["segmentation"]
        assert full.shape == (heads or 1, *patch)
        assert half.shape[1:] == tuple(size // 2 for size in patch)
        assert quarter.shape[1] == patch[0] and quarter.shape[2] == round(patch[1] / 4)
        assert full.dtype == (torch.bool if heads else torch.int16)
        if not heads:
            assert full.min() >= 0 and set(full.unique().tolist()) <= set(range(4))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_pipeline_keeps_to_slices_when_told(pipeline):
    """Slices stay whole: no slice of the output mixes two of the input."""
    patch = SHAPES[3][0]
    shape = (patch[0], 25, 23)
    segmentation = torch.arange(1, patch[0] + 1).reshape(1, -1, 1, 1).expand(1, *shape).short().contiguous()
    transform = pipeline(patch, (-0.5, 0.5), None, (1, 2), True)
    for seed in range(10):
        found = seeded(transform, seed, torch.zeros(1, *shape), segmentation)["segmentation"]
        for number, plane in enumerate(found[0], start=1):
            assert set(plane.unique().tolist()) <= {0, number}


def test_without_deep_supervision_there_is_one_target():
    transform = augmentation.brainunet_transforms(SHAPES[2][0], 0.0, None, (0, 1), False)
    assert isinstance(seeded(transform, 0, *case(2))["segmentation"], Tensor)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_seed_repeats_a_sample(pipeline):
    transform = pipeline(*signature(3), False)
    first, second = (seeded(transform, 5, *case(3)) for _ in range(2))
    assert torch.equal(first["image"], second["image"])
    assert not torch.equal(first["image"], seeded(transform, 6, *case(3))["image"])


@pytest.mark.parametrize("pipeline", [augmentation.affine_transforms, augmentation.deepmrseg_transforms])
def test_systems_without_flips_do_not_flip(pipeline):
    names = [type(t).__name__ for t in pipeline(*signature(2), False).transforms]
    assert not any("Mirror" in name or "Flip" in name for name in names)


def test_flips_have_their_own_probabilities():
    flip = FlipTransform({1: 0.5, 0: 0.1})
    torch.manual_seed(0)
    drawn = [flip.get_parameters()["axes"] for _ in range(2000)]
    shares = [np.mean([axis in axes for axes in drawn]) for axis in (0, 1)]
    assert shares == pytest.approx([0.1, 0.5], abs=0.04)


def test_fetal_head_flips_only_where_mirroring_is_allowed():
    transform = augmentation.fetal_head_transforms(SHAPES[2][0], 0.0, None, (0,), False)
    (flip,) = [t for t in transform.transforms if isinstance(t, FlipTransform)]
    assert flip.probabilities == {0: 0.1}


@pytest.mark.parametrize("kind", [MotionTransform, GhostingTransform, BiasFieldTransform])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_artefacts_leave_labels_alone(kind, dimensions):
    image, segmentation = case(dimensions)
    sample = seeded(kind(), 0, image, segmentation)
    assert torch.equal(sample["segmentation"], segmentation)
    assert sample["image"].shape == image.shape
    assert float((sample["image"] - image).abs().mean()) > 1e-3


def test_motion_without_movement_is_nothing():
    image, segmentation = case(3)
    still = seeded(MotionTransform(degrees=0, translation=0), 0, image, segmentation)["image"]
    torch.testing.assert_close(still, image, rtol=1e-4, atol=1e-4)


def test_motion_mixes_k_space_of_moved_copies():
    """Against the full transform of the definition: lines of three images, the unmoved one in the centre."""
    image, _ = case(2, channels=1)
    transform = MotionTransform()
    np.random.seed(3)
    parameters = transform.get_parameters(image=image)
    moved = []
    for matrix, shift in parameters["poses"]:
        sampling = locate(matrix, shift, image.shape[1:], image.shape[1:])
        moved.append(sample_linear(image - image.min(), sampling) + image.min())
    spectra = [
        torch.fft.fftshift(torch.fft.fftn(x, dim=(1, 2)), dim=(1, 2)) for x in (moved[0], image, moved[1])
    ]
    a, b = (int(31 * time) for time in parameters["times"])
    mixed = torch.cat([spectra[0][..., :a], spectra[1][..., a:b], spectra[2][..., b:]], dim=-1)
    expected = torch.fft.ifftn(torch.fft.ifftshift(mixed, dim=(1, 2)), dim=(1, 2)).real
    found = transform._apply_to_image(image, **parameters)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_motion_is_in_millimetres():
    np.random.seed(0)
    wide = MotionTransform(spacing=(5.0, 1.0, 1.0))
    shifts = np.array([wide._pose(3)[1] for _ in range(200)])
    np.testing.assert_array_less(np.abs(shifts).max(0), [2.0001, 10.0001, 10.0001])
    assert np.abs(shifts[:, 1]).max() > 9


@pytest.mark.parametrize("length", [12, 13])
def test_ghosting_by_the_full_transform(length):
    image = torch.randn(1, length, 10)
    found = GhostingTransform()._apply_to_image(image, ghosts=4, axis=1, intensity=0.8)
    lines = torch.fft.fftshift(torch.fft.fft(image, dim=1), dim=1)
    weights = torch.ones(length)
    weights[::4] = 0.2
    weights[length // 2] = 1
    expected = torch.fft.ifft(torch.fft.ifftshift(lines * weights[:, None], dim=1), dim=1).real
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_ghosts_are_drawn_in_range():
    transform = GhostingTransform()
    drawn = [transform.get_parameters(image=torch.zeros(1, 4, 4, 4)) for _ in range(400)]
    assert {d["ghosts"] for d in drawn} == set(range(4, 11))
    assert {d["axis"] for d in drawn} == {1, 2, 3}
    assert all(0.5 <= d["intensity"] <= 1 for d in drawn)


def test_a_filter_of_ones_is_nothing():
    image = torch.randn(2, 5, 8)
    torch.testing.assert_close(filter_axis(image, torch.ones(5), 1), image)


def test_bias_field_is_a_positive_polynomial():
    field = polynomial({(0, 0): 0.5, (1, 0): 2.0, (1, 2): -1.0}, (5, 7))
    y, x = torch.linspace(-1, 1, 5)[:, None], torch.linspace(-1, 1, 7)
    torch.testing.assert_close(field, 0.5 + 2 * y - y * x**2)
    coefficients = BiasFieldTransform().get_parameters(image=torch.zeros(1, 4, 4, 4))["coefficients"]
    assert len(coefficients) == 20 and all(abs(c) <= 0.5 for c in coefficients.values())
