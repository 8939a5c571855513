"""A pipeline of transforms of single samples, applied to a whole batch on the device that it lies on.

Draws are the pipeline's own: each transform is requested for its parameters, sample by sample, and what they
are does not depend on voxels. So probabilities, ranges and their order are the same by construction; only
noise is drawn on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from torch import Tensor

from autoseg.augmentation import batch_intensity as intensity
from autoseg.augmentation import batch_mri as mri
from autoseg.augmentation import batch_spatial as spatial
from autoseg.augmentation.batch_intensity import Rows
from autoseg.augmentation.intensity import BrightnessShiftTransform
from autoseg.augmentation.mri import BiasFieldTransform, GhostingTransform, MotionTransform
from autoseg.augmentation.spatial import AffineTransform, FlipTransform, SliceCropTransform
from autoseg.augmentation.targets import (
    BlankOutsideTransform,
    ClearOutsideTransform,
    RegionsTransform,
    SubsampleTransform,
)

# Parameters of each sample; None: the transform leaves that sample alone.
Draws = Sequence[Any]
Pair = tuple[Tensor, Any]


class BatchAugmentation:
    """What a pipeline does to single samples, done to a batch.

    Args:
        pipeline: a composition of the transforms in `SUPPORTED`.
    """

    def __init__(self, pipeline: ComposeTransforms) -> None:
        self.transforms = list(pipeline.transforms)
        self._folded = 0

    @staticmethod
    def supports(pipeline: Any) -> bool:
        """Whether every transform of a pipeline can be applied to a batch."""
        return isinstance(pipeline, ComposeTransforms) and all(
            type(_inner(each)) in SUPPORTED for each in pipeline.transforms
        )

    @torch.no_grad()
    def __call__(self, image: Tensor, segmentation: Tensor) -> tuple[Tensor, Tensor | list[Tensor]]:
        """Augment a batch.

        Args:
            image: (b, c, *shape), float32, on any device; it may be changed.
            segmentation: (b, s, *shape), whole numbers, on the same device; it may be changed.

        Returns:
            The image, (b, c, *patch), and the target or, for deep supervision, the targets.
        """
        found: Pair = (image, segmentation)
        for transform in self.transforms:
            found = self._applied(transform, found)
        return found

    def _applied(self, transform: Any, found: Pair) -> Pair:
        inner = _inner(transform)
        if isinstance(inner, Convert3DTo2DTransform):
            self._folded = found[0].shape[1]
            return spatial.fold_slices(found[0]), spatial.fold_slices(found[1])
        if isinstance(inner, Convert2DTo3DTransform):
            channels = found[1].shape[1] * self._folded // found[0].shape[1]
            return spatial.unfold_slices(found[0], self._folded), spatial.unfold_slices(found[1], channels)
        draws = self._draws(transform, found[0].shape)
        if isinstance(transform, RandomTransform) and all(each is None for each in draws):
            return found
        return SUPPORTED[type(inner)](inner, draws, *found)

    def _draws(self, transform: Any, shape: Sequence[int]) -> Draws:
        """Of each sample in turn; an array of the same shape without contents stands for the image."""
        sample = {"image": torch.empty(1).expand(*shape[1:])}
        return [_drawn(transform, sample) for _ in range(shape[0])]


def _inner(transform: Any) -> Any:
    return transform.transform if isinstance(transform, RandomTransform) else transform


def _drawn(transform: Any, sample: dict[str, Any]) -> Any:
    if isinstance(transform, RandomTransform):
        if not transform.get_parameters(**sample)["apply_transform"]:
            return None
        transform = transform.transform
    if isinstance(transform, AffineTransform):
        return transform.draw_map()
    drawn = transform.get_parameters(**sample)
    # Plain numbers, for what is drawn is known on the host.
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in drawn.items()}


def _affine(transform: AffineTransform, maps: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    return spatial.affine(image, segmentation, maps, transform.patch_size, transform.outside)


def _crop(transform: SliceCropTransform, _: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    start = max(0, image.shape[2] - transform.length) // 2
    window = slice(start, start + transform.length)
    return image[:, :, window], segmentation[:, :, window]


def _mirror(_: Any, draws: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    return spatial.mirror(image, segmentation, [each["axes"] for each in draws])


def _on_rows(
    change: Callable[..., None],
    columns: Callable[[Any, int], dict[str, Any]],
    channels: str = "apply_to_channel",
) -> Callable[..., Pair]:
    """A transform that acts on rows; `columns` gives what was drawn for the n-th channel of a sample."""

    def apply(transform: Any, draws: Draws, image: Tensor, segmentation: Tensor) -> Pair:
        rows = Rows()
        for sample, drawn in enumerate(draws):
            for number, channel in enumerate([] if drawn is None else _numbers(drawn[channels])):
                rows.add(sample, channel, **columns(drawn, number))
        if rows.samples:
            change(transform, image, rows)
        return image, segmentation

    return apply


def _on_samples(change: Callable[[Tensor, Draws], None]) -> Callable[..., Pair]:
    """A transform that acts on all channels of a sample alike."""

    def apply(_: Any, draws: Draws, image: Tensor, segmentation: Tensor) -> Pair:
        change(image, draws)
        return image, segmentation

    return apply


def _numbers(channels: list[Any]) -> list[int]:
    """Of a mask or of indices."""
    is_mask = bool(channels) and isinstance(channels[0], bool)
    return [number for number, each in enumerate(channels) if each] if is_mask else channels


def _sigma(drawn: Any, number: int) -> dict[str, Any]:
    sigmas = drawn["sigmas"]
    return {"sigma": float(sigmas[number] if isinstance(sigmas, list) else sigmas)}


def _gamma(drawn: Any, number: int) -> dict[str, Any]:
    return {
        "gamma": float(drawn["gamma"][number]),
        "sign": -1.0 if drawn["invert_image"][number] else 1.0,
        "retain": float(drawn["retain_stats"][number]),
    }


def _blank(transform: BlankOutsideTransform, _: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    inside = segmentation[:, 0] >= 0
    for channel in transform.channels:
        image[:, channel].mul_(inside)
    return image, segmentation


def _clear(_: Any, __: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    return image, segmentation.clamp_(min=0)


def _regions(transform: RegionsTransform, _: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    labels = segmentation[:, transform.channel_in_seg]
    regions = [torch.stack([labels == label for label in each]).any(0) for each in transform.members]
    return image, torch.stack(regions, 1)


def _subsample(transform: SubsampleTransform, _: Draws, image: Tensor, segmentation: Tensor) -> Pair:
    # Samples and channels are one axis to it, for all are subsampled alike.
    flat = segmentation.flatten(0, 1)
    targets = [transform.subsampled(flat, scale) for scale in transform.ds_scales]
    return image, [each.reshape(*segmentation.shape[:2], *each.shape[1:]) for each in targets]


SUPPORTED: dict[type, Callable[..., Pair]] = {
    AffineTransform: _affine,
    SliceCropTransform: _crop,
    Convert3DTo2DTransform: _crop,  # these two say only how the slices lie, see `_applied`
    Convert2DTo3DTransform: _crop,
    GaussianNoiseTransform: _on_rows(lambda _, *given: intensity.add_noise(*given), _sigma, "apply_idx"),
    MultiplicativeBrightnessTransform: _on_rows(
        lambda _, *given: intensity.brighten(*given),
        lambda drawn, n: {"factor": float(drawn["multipliers"][n])},
    ),
    ContrastTransform: _on_rows(
        lambda transform, image, rows: intensity.change_contrast(image, rows, transform.preserve_range),
        lambda drawn, n: {"factor": float(drawn["multipliers"][n])},
    ),
    SimulateLowResolutionTransform: _on_rows(
        lambda _, *given: intensity.coarsen(*given), lambda drawn, n: {"scales": drawn["scales"][n]}
    ),
    BrightnessShiftTransform: _on_samples(mri.shift),
    MotionTransform: _on_samples(mri.move),
    GhostingTransform: _on_samples(mri.ghost),
    BiasFieldTransform: _on_samples(mri.bias),
    MirrorTransform: _mirror,
    FlipTransform: _mirror,
    BlankOutsideTransform: _blank,
    ClearOutsideTransform: _clear,
    RegionsTransform: _regions,
    SubsampleTransform: _subsample,
}
for _kind in (GaussianBlurTransform, *GaussianBlurTransform.__subclasses__()):
    SUPPORTED[_kind] = _on_rows(
        lambda _, *given: intensity.blur(*given), lambda drawn, n: {"sigmas": drawn["sigmas"][n]}
    )
for _kind in (GammaTransform, *GammaTransform.__subclasses__()):
    SUPPORTED[_kind] = _on_rows(lambda _, *given: intensity.curve(*given), _gamma)
