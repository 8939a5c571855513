"""Training augmentation: one pipeline per system, all with one signature.

Every function takes what nnU-Net's trainers pass to ``get_training_transforms`` and returns a transform that
maps ``image=(c, *patch), segmentation=(1, *patch)`` to what the loss needs. nnU-Net's own pipeline is here
too: the same samples from the same seed, at a fraction of the time on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from autoseg.augmentation.intensity import BlurTransform, BrightnessShiftTransform, ContrastCurveTransform
from autoseg.augmentation.mri import BiasFieldTransform, GhostingTransform, MotionTransform
from autoseg.augmentation.spatial import AffineTransform, FlipTransform, Range, SliceCropTransform
from autoseg.augmentation.targets import Scales, TargetOptions, target_transforms

Transforms = list[BasicTransform]


def nnunet_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """nnU-Net's default augmentation (Isensee et al., 2021, as of nnunetv2 2.8).

    Probabilities, ranges and the order of the draws are nnU-Net's, so numpy's and torch's seeds give the
    sample that ``nnUNetTrainer.get_training_transforms`` gives, to rounding.

    Args:
        patch_size: shape of the samples in voxels, 2 or 3 axes.
        rotation_for_DA: range of the rotation angle, radians.
        deep_supervision_scales: size of each target relative to the patch, per axis; None for one target.
        mirror_axes: axes that may be mirrored.
        do_dummy_2d_data_aug: whether rotation and scaling stay within slices (anisotropic patches).
        **target: see `TargetOptions`.
    """
    affine = {"rotation": rotation_for_DA, "p_rotation": 0.2, "scaling": (0.7, 1.4), "p_scaling": 0.2}
    coarsened = {
        "scale": (0.5, 1),
        "synchronize_channels": False,
        "synchronize_axes": True,
        "ignore_axes": (0,) if do_dummy_2d_data_aug else None,
        "p_per_channel": 0.5,
    }
    intensity = [
        RandomTransform(GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
        RandomTransform(BlurTransform((0.5, 1.0), p_per_channel=0.5), 0.2),
        RandomTransform(MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False), 0.15),
        RandomTransform(ContrastTransform(BGContrast((0.75, 1.25)), True, False), 0.15),
        RandomTransform(SimulateLowResolutionTransform(**coarsened), 0.25),
        RandomTransform(_gamma(inverted=True), 0.1),
        RandomTransform(_gamma(), 0.3),
    ]
    geometry = _geometry(patch_size, do_dummy_2d_data_aug, affine)
    return ComposeTransforms(
        [*geometry, *intensity, *_mirror(mirror_axes), *target_transforms(deep_supervision_scales, **target)]
    )


def brainunet_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    *,
    spacing: Sequence[float] | None = None,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """BrainUNet's flips, scaling, gamma, simulated motion and ghosting (arXiv 2509.09469).

    The paper names the kinds; probabilities and ranges are autoseg's, strengths of the artefacts TorchIO's
    defaults. No rotation is named: `rotation_for_DA` is not used.

    Args:
        patch_size: see `nnunet_transforms`, as for all arguments not named here.
        spacing: mm per axis of the patch, for the motion; None for 1 mm.
    """
    intensity = [
        RandomTransform(MotionTransform(degrees=10, translation=10, movements=2, spacing=spacing), 0.15),
        RandomTransform(GhostingTransform(ghosts=(4, 10), intensity=(0.5, 1)), 0.15),
        RandomTransform(_gamma(), 0.3),
    ]
    geometry = _geometry(patch_size, do_dummy_2d_data_aug, {"scaling": (0.9, 1.1), "p_scaling": 0.3})
    return ComposeTransforms(
        [*geometry, *intensity, *_mirror(mirror_axes), *target_transforms(deep_supervision_scales, **target)]
    )


def affine_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """Rotation by up to 15 degrees, shift and zoom by up to 10 %, on every sample, within slices.

    The neonatal lung system's (CCHMC poster; Patel et al.). It names no flips: `mirror_axes` is not used,
    nor is `rotation_for_DA`.
    """
    affine = {
        **_rotation(15),
        "scaling": (0.9, 1.1),
        "p_scaling": 1.0,
        "translation": (-0.1, 0.1),
        "p_translation": 1.0,
    }
    return ComposeTransforms(
        [*_within_slices(patch_size, affine), *target_transforms(deep_supervision_scales, **target)]
    )


def fetal_head_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """Rotation by up to 25 degrees on every sample, horizontal flips (0.5) and vertical flips (0.1).

    The fetal head system's (arXiv 2407.20086); flips only along `mirror_axes`.
    """
    last = len(patch_size) - 1
    flips = {axis: p for axis, p in ((last, 0.5), (last - 1, 0.1)) if axis in (mirror_axes or ())}
    geometry = [*_within_slices(patch_size, _rotation(25)), FlipTransform(flips)]
    return ComposeTransforms([*geometry, *target_transforms(deep_supervision_scales, **target)])


def deepmrseg_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """DeepMRSeg's (Doshi et al., arXiv 1907.02110), each with probability 0.5, within slices, no flips.

    Rotation by up to 0.5 rad, shift by up to 20 of 320 voxels (the same along both axes), shear by up to
    0.9 rad, brightness +-0.5, contrast 0.1 to 2, Gaussian noise of deviation 0.05 to 0.25.
    """
    affine = {
        **_rotation(math.degrees(0.5), probability=0.5),
        "translation": (-20 / 320, 20 / 320),
        "p_translation": 0.5,
        "same_translation": True,
        "shear": (-0.9, 0.9),
        "p_shear": 0.5,
    }
    intensity = [
        RandomTransform(BrightnessShiftTransform((-0.5, 0.5)), 0.5),
        RandomTransform(ContrastTransform((0.1, 2.0), preserve_range=False, synchronize_channels=True), 0.5),
        RandomTransform(GaussianNoiseTransform((0.05, 0.25), synchronize_channels=True), 0.5),
    ]
    return ComposeTransforms(
        [
            *_within_slices(patch_size, affine),
            *intensity,
            *target_transforms(deep_supervision_scales, **target),
        ]
    )


def resnet34_mlp_transforms(
    patch_size: Sequence[int],
    rotation_for_DA: Range,
    deep_supervision_scales: Scales,
    mirror_axes: Sequence[int] | None,
    do_dummy_2d_data_aug: bool,
    **target: Unpack[TargetOptions],
) -> ComposeTransforms:
    """Flips, rotation by up to 15 degrees, scaling 0.9 to 1.1, gamma 0.7 to 1.5 and bias field.

    For the fetal brain system (arXiv 2606.01293), which states none: a choice of autoseg.
    """
    affine = {**_rotation(15, probability=0.5), "scaling": (0.9, 1.1), "p_scaling": 0.5}
    intensity = [RandomTransform(BiasFieldTransform(), 0.3), RandomTransform(_gamma(), 0.3)]
    geometry = [*_within_slices(patch_size, affine), *_mirror(mirror_axes)]
    return ComposeTransforms([*geometry, *intensity, *target_transforms(deep_supervision_scales, **target)])


def _geometry(patch_size: Sequence[int], in_slices: bool, affine: dict[str, Any]) -> Transforms:
    if not in_slices:
        return [AffineTransform(patch_size, **affine)]
    return [Convert3DTo2DTransform(), AffineTransform(patch_size[1:], **affine), Convert2DTo3DTransform()]


def _within_slices(patch_size: Sequence[int], affine: dict[str, Any]) -> Transforms:
    """The geometry of a 2D system: in 3D all slices of a patch move alike."""
    if len(patch_size) == 2:
        return _geometry(patch_size, False, affine)
    return [SliceCropTransform(patch_size[0]), *_geometry(patch_size, True, affine)]


def _rotation(degrees: float, probability: float = 1.0) -> dict[str, Any]:
    limit = math.radians(degrees)
    return {"rotation": (-limit, limit), "p_rotation": probability}


def _gamma(inverted: bool = False) -> BasicTransform:
    return ContrastCurveTransform(
        BGContrast((0.7, 1.5)),
        p_invert_image=float(inverted),
        synchronize_channels=False,
        p_per_channel=1,
        p_retain_stats=1,
    )


def _mirror(axes: Sequence[int] | None) -> Transforms:
    return [MirrorTransform(tuple(axes))] if axes is not None and len(axes) > 0 else []
