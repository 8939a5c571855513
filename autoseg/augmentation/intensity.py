"""Blur, contrast and brightness.

The classes with a parent in batchgeneratorsv2 inherit what it draws and compute the same from it, faster: one
seed gives the same sample.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from torch import Tensor


class BlurTransform(GaussianBlurTransform):  # type: ignore[misc]
    """Gaussian blur as a few shifted sums per axis.

    For the narrow kernels of augmentation this beats both a convolution with one channel and the Fourier
    transform, and needs no trial runs to choose between the two.
    """

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        channels = torch.nonzero(params["apply_to_channel"])[:, 0].tolist()
        for number, channel in enumerate(channels):
            sigmas = params["sigmas"] if self.synchronize_channels else params["sigmas"][number]
            blurred = img[channel]
            for axis, sigma in enumerate(sigmas):
                blurred = blur_axis(blurred, float(sigma), axis)
            img[channel] = blurred
        return img


def blur_axis(array: Tensor, sigma: float, axis: int) -> Tensor:
    """Convolve one axis with a Gaussian, reflecting at the ends.

    Args:
        array: any shape.
        sigma: standard deviation in voxels. The kernel spans the odd number nearest to 6 sigma + 0.5.
        axis: the array's axis to blur along.
    """
    radius = (_nearest_odd(6 * sigma + 0.5) - 1) // 2
    if radius == 0:
        return array
    distances = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (distances / sigma) ** 2)
    weights: list[float] = (kernel / kernel.sum()).tolist()
    length = array.shape[axis]
    places = torch.arange(-radius, length + radius).abs()
    padded = array.index_select(axis, torch.where(places < length, places, 2 * (length - 1) - places))
    blurred = padded.narrow(axis, 0, length) * weights[0]
    for start in range(1, len(weights)):
        blurred.add_(padded.narrow(axis, start, length), alpha=weights[start])
    return blurred


def _nearest_odd(value: float) -> int:
    rounded = round(value)
    return rounded if rounded % 2 else rounded + (1 if value >= rounded else -1)


class ContrastCurveTransform(GammaTransform):  # type: ignore[misc]
    """Gamma correction in fewer passes over the image.

    Restoring mean and deviation makes the way back to the old range superfluous.
    """

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        for number, channel in enumerate(params["apply_to_channel"].tolist()):
            sign = -1.0 if params["invert_image"][number] else 1.0
            restore = bool(params["retain_stats"][number])
            _gamma(img[channel], float(params["gamma"][number]), sign, restore)
        return img


def _gamma(image: Tensor, gamma: float, sign: float, restore: bool) -> None:
    low, high = (float(value) for value in torch.aminmax(image))
    span, anchor = max(high - low, 1e-7), low if sign > 0 else high
    mean, deviation = _moments(image) if restore else (0.0, 0.0)
    image.sub_(anchor).mul_(sign / span).pow_(gamma)
    if restore:
        new_mean, new_deviation = _moments(image)
        factor = sign * deviation / max(new_deviation, 1e-7)
        image.mul_(factor).add_(mean - new_mean * factor)
    else:
        image.mul_(sign * (high - low)).add_(anchor)


def _moments(image: Tensor) -> tuple[float, float]:
    """Mean and standard deviation; two passes, which here is faster than torch's one."""
    mean = float(image.mean())
    centred = image - mean
    flat = centred.reshape(-1)
    return mean, math.sqrt(float(torch.dot(flat, flat)) / max(flat.numel() - 1, 1))


class BrightnessShiftTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Add one number to all channels.

    Args:
        shift: range of the number, in units of the normalised image.
    """

    def __init__(self, shift: tuple[float, float]) -> None:
        super().__init__()
        self.shift = shift

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the number."""
        low, high = self.shift
        return {"shift": low + (high - low) * float(torch.rand(1))}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return img.add_(params["shift"])
