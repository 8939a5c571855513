"""From an augmented segmentation to the target of the loss, as nnU-Net makes it, in fewer passes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform, SegOnlyTransform
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from torch import Tensor

Scales = Sequence[Sequence[float]] | None


class TargetOptions(TypedDict, total=False):
    """What the target depends on, as nnU-Net's trainers pass it.

    Attributes:
        use_mask_for_norm: per channel, whether it is blank outside the nonzero region.
        is_cascaded: whether segmentation channel 1 is the previous stage's, to become input channels.
        foreground_labels: labels of that segmentation.
        regions: label or labels of each head, for region-based training.
        ignore_label: label without a loss.
    """

    use_mask_for_norm: Sequence[bool] | None
    is_cascaded: bool
    foreground_labels: Sequence[int] | None
    regions: Sequence[int | Sequence[int]] | None
    ignore_label: int | None


def target_transforms(
    scales: Scales,
    use_mask_for_norm: Sequence[bool] | None = None,
    is_cascaded: bool = False,
    foreground_labels: Sequence[int] | None = None,
    regions: Sequence[int | Sequence[int]] | None = None,
    ignore_label: int | None = None,
) -> list[BasicTransform]:
    """From the segmentation to what the loss takes; the arguments are `TargetOptions`."""
    transforms: list[BasicTransform] = []
    masked = [channel for channel, mask in enumerate(use_mask_for_norm or ()) if mask]
    if masked:
        transforms.append(BlankOutsideTransform(masked))
    transforms.append(ClearOutsideTransform())
    if is_cascaded:
        transforms += _previous_stage(list(foreground_labels or ()))
    if regions is not None:
        heads = [*regions, ignore_label] if ignore_label is not None else regions
        transforms.append(RegionsTransform(heads))
    if scales is not None:
        transforms.append(SubsampleTransform(scales))
    return transforms


def _previous_stage(labels: list[int]) -> list[BasicTransform]:
    """The previous stage's segmentation as input channels, with the errors that it may have."""
    channels = list(range(-len(labels), 0))
    grow_or_shrink = ApplyRandomBinaryOperatorTransform(channels, strel_size=(1, 8), p_per_label=0.5)
    lose_component = RemoveRandomConnectedComponentFromOneHotEncodingTransform(
        list(channels),
        fill_with_other_class_p=0,
        dont_do_if_covers_more_than_x_percent=0.15,
        p_per_label=0.5,
    )
    return [
        MoveSegAsOneHotToDataTransform(1, labels, remove_channel_from_source=True),
        RandomTransform(grow_or_shrink, 0.4),
        RandomTransform(lose_component, 0.2),
    ]


class BlankOutsideTransform(BasicTransform):  # type: ignore[misc]
    """Set channels to 0 where the segmentation is negative: outside the nonzero region.

    Args:
        channels: channels of the image.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """Blank the channels in place."""
        inside = data_dict["segmentation"][0] >= 0
        for channel in self.channels:
            data_dict["image"][channel].mul_(inside)  # a fifth of the time of masked_fill_
        return data_dict


class ClearOutsideTransform(SegOnlyTransform):  # type: ignore[misc]
    """Turn -1, nnU-Net's mark of what lies outside the nonzero region, into background."""

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return segmentation.clamp_(min=0)


class RegionsTransform(ConvertSegmentationToRegionsTransform):  # type: ignore[misc]
    """One boolean channel per region; the ignore label, if given as the last region, is the last channel.

    Args:
        regions: label or labels of each region.

    Attributes:
        members: labels of each region.
    """

    def __init__(self, regions: Sequence[int | Sequence[int]]) -> None:
        super().__init__(regions)
        self.members = [tuple(int(member) for member in members) for members in self.regions]

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        labels = segmentation[self.channel_in_seg]
        out = torch.empty((len(self.members), *labels.shape), dtype=torch.bool)
        for channel, (first, *others) in zip(out, self.members, strict=True):
            torch.eq(labels, first, out=channel)
            for member in others:
                channel |= labels == member
        return out


class SubsampleTransform(DownsampleSegForDSTransform):  # type: ignore[misc]
    """Targets for deep supervision: the nearest voxels, picked axis by axis."""

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> list[Tensor]:
        return [self.subsampled(segmentation, scale) for scale in self.ds_scales]

    def subsampled(self, segmentation: Tensor, scale: Any) -> Tensor:
        """(c, *shape) at one scale, a number for all axes or one an axis."""
        axes = segmentation.ndim - 1
        scales = tuple(scale) if isinstance(scale, (tuple, list)) else (scale,) * axes
        for axis, factor in enumerate(scales, start=1):
            if factor != 1:
                length = segmentation.shape[axis]
                places = nearest(length, round(length * factor))
                segmentation = segmentation.index_select(axis, places.to(segmentation.device))
        return segmentation


@functools.lru_cache(maxsize=256)
def nearest(length: int, new_length: int) -> Tensor:
    """Indices of the nearest neighbours, as torch's interpolation mode ``nearest-exact`` picks them."""
    step = torch.tensor(length / new_length, dtype=torch.float32)
    picked = torch.floor((torch.arange(new_length, dtype=torch.float32) + 0.5) * step)
    return picked.long().clamp_(max=length - 1)
