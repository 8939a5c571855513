"""Intensity transforms of a whole batch at once, on the device that it lies on.

A transform acts on some channels of some samples: `Rows` says which, and with what. Each function gives what
its transform of single samples gives for the same draws. It changes the image in place and waits for no GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from autoseg.augmentation.intensity import _nearest_odd
from autoseg.augmentation.targets import nearest


@dataclass
class Rows:
    """Channels of samples that a transform acts on.

    Attributes:
        samples: numbers of the samples.
        channels: numbers of the channels, as many.
        values: what is drawn for each, by name.
    """

    samples: list[int] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, sample: int, channel: int, **values: Any) -> None:
        """Add one."""
        self.samples.append(sample)
        self.channels.append(channel)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)

    def index(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What picks them out of (b, c, ...)."""
        both = torch.tensor([self.samples, self.channels]).to(image.device, non_blocking=True)
        return both[0], both[1]

    def column(self, name: str, image: Tensor) -> Tensor:
        """Drawn numbers, (n, 1, ...), to go with what `index` picks."""
        column = torch.tensor(self.values[name], dtype=image.dtype).to(image.device, non_blocking=True)
        return column.reshape(-1, *(1,) * (image.ndim - 2))


def add_noise(image: Tensor, rows: Rows) -> None:
    """Gaussian noise with the standard deviation `sigma`."""
    picked = rows.index(image)
    noise = torch.randn((len(rows.samples), *image.shape[2:]), dtype=image.dtype, device=image.device)
    image.index_put_(picked, noise.mul_(rows.column("sigma", image)), accumulate=True)


def blur(image: Tensor, rows: Rows) -> None:
    """Gaussian blur with one standard deviation an axis, `sigmas`, reflecting at the ends."""
    picked = rows.index(image)
    blurred = image[picked]
    for axis in range(image.ndim - 2):
        sigmas = [float(each[axis]) for each in rows.values["sigmas"]]
        blurred = _blur_axis(blurred, sigmas, axis + 1)
    image[picked] = blurred


def _blur_axis(array: Tensor, sigmas: Sequence[float], axis: int) -> Tensor:
    """Each row of (n, *shape) with a kernel of its own: the narrower ones have zeros at their ends."""
    radii = [(_nearest_odd(6 * sigma + 0.5) - 1) // 2 for sigma in sigmas]
    most = max(radii)
    if most == 0:
        return array
    distances = torch.arange(-most, most + 1, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (distances / torch.tensor(sigmas)[:, None]) ** 2)
    kernels *= distances.abs() <= torch.tensor(radii)[:, None]
    weights = (kernels / kernels.sum(1, keepdim=True)).to(array.device, non_blocking=True)
    length = array.shape[axis]
    places = torch.arange(-most, length + most, device=array.device).abs()
    padded = array.index_select(axis, torch.where(places < length, places, 2 * (length - 1) - places))
    shape = (-1, *(1,) * (array.ndim - 1))
    blurred = padded.narrow(axis, 0, length) * weights[:, 0].reshape(shape)
    for start in range(1, weights.shape[1]):
        blurred.addcmul_(padded.narrow(axis, start, length), weights[:, start].reshape(shape))
    return blurred


def brighten(image: Tensor, rows: Rows) -> None:
    """Multiply by `factor`."""
    picked = rows.index(image)
    image[picked] = image[picked] * rows.column("factor", image)


def change_contrast(image: Tensor, rows: Rows, preserve_range: bool) -> None:
    """Multiply the distance from the mean by `factor`, within the range that there was."""
    picked = rows.index(image)
    found = image[picked]
    axes = tuple(range(1, found.ndim))
    mean = found.mean(axes, keepdim=True)
    low, high = found.amin(axes, keepdim=True), found.amax(axes, keepdim=True)
    found = (found - mean).mul_(rows.column("factor", image)).add_(mean)
    image[picked] = torch.clamp(found, low, high) if preserve_range else found


def coarsen(image: Tensor, rows: Rows) -> None:
    """Lower the resolution by `scales`, one an axis: nearest voxels, then linear interpolation."""
    picked = rows.index(image)
    found = image[picked]
    for axis in range(1, found.ndim):
        low, high, part = _between(
            [float(each[axis - 1]) for each in rows.values["scales"]], found.shape[axis]
        )
        at = [-1 if each == axis else 1 for each in range(found.ndim)]
        at[0] = len(found)
        low, high, part = (each.to(found.device, non_blocking=True).reshape(at) for each in (low, high, part))
        found = torch.lerp(
            torch.take_along_dim(found, low, axis), torch.take_along_dim(found, high, axis), part
        )
    image[picked] = found


def _between(scales: Sequence[float], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each row and voxel of an axis: the two voxels that it is interpolated between, and how far."""
    rows = []
    for scale in scales:
        coarse = round(length * scale)
        place = ((torch.arange(length, dtype=torch.float32) + 0.5) * (coarse / length) - 0.5).clamp_(min=0)
        lower = place.long().clamp_(max=coarse - 1)
        upper = (lower + 1).clamp_(max=coarse - 1)
        kept = nearest(length, coarse)
        rows.append((kept[lower], kept[upper], place - lower))
    low, high, part = (torch.stack(each) for each in zip(*rows, strict=True))
    return low, high, part


def curve(image: Tensor, rows: Rows) -> None:
    """Gamma correction, of the negative where `sign` is -1; mean and deviation stay where `retain` is 1."""
    picked = rows.index(image)
    sign, retain = rows.column("sign", image), rows.column("retain", image)
    found = image[picked] * sign
    axes = tuple(range(1, found.ndim))
    low, high = found.amin(axes, keepdim=True), found.amax(axes, keepdim=True)
    mean, deviation = found.mean(axes, keepdim=True), found.std(axes, keepdim=True)
    span = high - low
    changed = ((found - low) / span.clamp(min=1e-7)).pow_(rows.column("gamma", image)).mul_(span).add_(low)
    centred = changed - changed.mean(axes, keepdim=True)
    restored = centred * (deviation / changed.std(axes, keepdim=True).clamp(min=1e-7)) + mean
    image[picked] = torch.where(retain > 0, restored, changed) * sign
