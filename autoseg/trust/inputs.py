"""An image in a few numbers that say whether it is like those that a model learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.image import Image

Array = NDArray[Any]

# Voxels of a channel that are looked through at most: percentiles and centres of a regular sample are close
# enough, and a whole picture took a fifth of the time that a small network needs to segment it.
SAMPLE = 2**15
# The same for noise, which is of whole rows: neighbours have to be there.
NOISE_SAMPLE = 2**14
_AXES = ("z", "y", "x")
PERCENTILES = (0.5, 50.0, 99.5)


def quantities_of(image: Image, channels: Sequence[str]) -> dict[str, float]:
    """What is compared between images.

    Args:
        image: (channels, z, y, x), finite.
        channels: their names.

    Returns:
        ``spacing z`` ... and ``extent z`` ...: mm, natural logarithms; of a picture only y and x. For each
        channel, in its nonzero region: percentiles of the intensity (inverse hyperbolic sine: linear near 0,
        then a logarithm with a sign); ``middle``: where the median lies between the outer ones; ``noise``:
        median second difference between neighbours by the range, logarithm; ``zero`` and ``saturated``: the
        shares of voxels at 0 and at the largest value; ``centre z`` ...: the centre of intensity, as a share
        of the extent.
    """
    flat = image.array.shape[1] == 1
    found = {}
    for axis in range(1 if flat else 0, 3):
        length, step = image.array.shape[1 + axis], float(image.spacing[axis]) * image.unit_mm
        found[f"spacing {_AXES[axis]}"] = float(np.log(step))
        found[f"extent {_AXES[axis]}"] = float(np.log(length * step))
    for name, channel in zip(channels, image.array, strict=True):
        found |= {f"{name}: {key}": value for key, value in _of_channel(channel, flat).items()}
    return found


def is_constant(array: Array) -> bool:
    """Whether a channel holds one value alone."""
    return bool(array.min() == array.max())


def _of_channel(channel: Array, flat: bool) -> dict[str, float]:
    sample = _sampled(channel).astype(np.float32)
    inside = sample != 0
    values = sample[inside] if inside.any() else sample.ravel()
    low, middle, high = (float(value) for value in np.percentile(values, PERCENTILES))
    spread = max(high - low, 1e-6 * max(abs(high), abs(low), 1e-6))
    weights = np.clip(sample - np.float32(low), 0, np.float32(spread)) * inside
    return {
        "intensity 0.5 %": float(np.arcsinh(low)),
        "median intensity": float(np.arcsinh(middle)),
        "intensity 99.5 %": float(np.arcsinh(high)),
        "middle": (middle - low) / spread,
        "noise": float(np.log(_noise(channel) / spread + 1e-4)),
        "zero": float(1 - np.count_nonzero(inside) / inside.size),
        "saturated": float(np.count_nonzero(values == values.max()) / values.size),
        **{
            f"centre {_AXES[axis]}": value
            for axis, value in enumerate(_centre(weights))
            if not (flat and axis == 0)
        },
    }


def _sampled(channel: Array) -> Array:
    """At most about `SAMPLE` voxels on a regular grid."""
    step = 1
    while np.prod([-(-length // step) for length in channel.shape]) > SAMPLE:
        step += 1
    return channel[tuple(slice((length - 1) % step // 2, None, step) for length in channel.shape)]


def _noise(channel: Array) -> float:
    """Median absolute second difference along rows, where the middle voxel is not 0."""
    slices = channel[:: max(1, channel.shape[0] // 16)]
    rows = max(1, int(np.ceil(slices.size / NOISE_SAMPLE)))
    lines = slices[:, ::rows].astype(np.float32)
    if lines.shape[2] < 3:
        return 0.0
    middle = lines[..., 1:-1]
    second = np.abs(lines[..., 2:] - 2 * middle + lines[..., :-2])[middle != 0]
    return float(np.median(second)) if second.size else 0.0


def _centre(weights: Array) -> list[float]:
    total = float(weights.sum(dtype=np.float64))
    if total <= 0:
        return [0.5] * 3
    found = []
    for axis, length in enumerate(weights.shape):
        along = weights.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
        found.append(float((along * (np.arange(length) + 0.5)).sum() / total / length))
    return found
