"""One configuration of a plan, from its spacing and the median shape at that spacing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.architectures import Topology
from autoseg.planner.nnunet_memory import features
from autoseg.planner.patch import Resources, fit_batch, fit_patch, patch_decisions
from autoseg.planner.plan import ArchitectureSpec, Configuration, Decision
from autoseg.planner.presets import Preset

_RESAMPLE = "resample_data_or_seg_to_shape"
# Images by cubic splines, segmentations and probabilities linearly; along a coarse axis the nearest slice.
_RESAMPLING: dict[str, Any] = {
    "resampling_fn_data": _RESAMPLE,
    "resampling_fn_seg": _RESAMPLE,
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": _RESAMPLE,
    "resampling_fn_probabilities_kwargs": {
        "is_seg": False,
        "order": 1,
        "order_z": 0,
        "force_separate_z": None,
    },
}


@dataclass(frozen=True)
class Common:
    """What all configurations of a plan share.

    Attributes:
        resources: network, memory and number of labels.
        plan_name: the plan's name.
        normalization: scheme of each channel.
        use_mask_for_norm: for each channel, whether it is normalised within the nonzero region only.
        preprocessor: nnU-Net's preprocessor class.
        cases: number of training cases.
    """

    resources: Resources
    plan_name: str
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    preprocessor: str
    cases: int


def plan_configuration(
    name: str,
    spacing: Sequence[float],
    median_shape: Sequence[float],
    dataset_voxels: float,
    common: Common,
) -> tuple[Configuration, list[Decision]]:
    """Patch, network and batch size for one spacing.

    Args:
        name: the configuration's name.
        spacing: mm per axis, transposed order.
        median_shape: voxels per axis, same axes.
        dataset_voxels: voxels of the whole data set at this spacing, about.
        common: what all configurations share.

    Returns:
        The configuration, without the Dice loss's batch setting and its stages, and its decisions.

    Raises:
        PlanError: if no patch fits the memory.
    """
    resources = common.resources
    patch = fit_patch(spacing, median_shape, resources)
    batch, batch_decision = fit_batch(patch, dataset_voxels, resources)
    decisions = [*patch_decisions(patch, median_shape, resources), batch_decision]
    configuration = Configuration(
        name=name,
        spacing=tuple(float(n) for n in spacing),
        patch_size=patch.topology.patch_size,
        batch_size=batch,
        median_shape=tuple(n if isinstance(n, int) else float(n) for n in median_shape),
        normalization=common.normalization,
        use_mask_for_norm=common.use_mask_for_norm,
        architecture=unet(resources.preset, patch.topology),
        batch_dice=False,
        data_identifier=resources.preset.data_identifier(name, common.plan_name),
        preprocessor=common.preprocessor,
        resampling=_RESAMPLING,
    )
    return configuration, [dataclasses.replace(each, name=f"{name}.{each.name}") for each in decisions]


def unet(preset: Preset, topology: Topology) -> ArchitectureSpec:
    """nnU-Net's own network for a topology."""
    dimensions, stages = topology.dimensions, topology.stages
    network = "ResidualEncoderUNet" if preset.residual else "PlainConvUNet"
    kwargs: dict[str, Any] = {
        "n_stages": stages,
        "features_per_stage": list(features(preset, topology)),
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [list(row) for row in topology.kernel_sizes],
        "strides": [list(row) for row in topology.strides],
        "n_blocks_per_stage" if preset.residual else "n_conv_per_stage": list(preset.encoder_blocks[:stages]),
        "n_conv_per_stage_decoder": list(preset.decoder_convolutions[: stages - 1]),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return ArchitectureSpec(
        f"dynamic_network_architectures.architectures.unet.{network}",
        kwargs,
        ("conv_op", "norm_op", "dropout_op", "nonlin"),
    )
