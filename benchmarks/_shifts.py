"""Shifts that are made from real cases: each gives an image that a model has never seen the like of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from autoseg.data.image import Image

Case = tuple[Image, np.ndarray]
Shift = Callable[[Image, np.ndarray, np.random.Generator], Case]


def _values(change: Callable[[np.ndarray, np.random.Generator], np.ndarray]) -> Shift:
    """A shift of intensities alone, channel by channel, with the outer percentiles as 0 and 1."""

    def shift(image: Image, label: np.ndarray, random: np.random.Generator) -> Case:
        found = []
        for channel in image.array.astype(np.float32):
            low, high = np.percentile(channel, [0.5, 99.5])
            spread = max(float(high - low), 1e-6)
            found.append(change((channel - low) / spread, random) * spread + low)
        return replace(image, array=np.stack(found).astype(np.float32)), label

    return shift


def _noise(channel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return channel + 0.2 * random.normal(size=channel.shape)


def _bias(channel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A smooth field from 0.3 to 1.7 along a random direction."""
    axes = [axis for axis in range(3) if channel.shape[axis] > 1]
    way = random.normal(size=len(axes))
    grid = np.meshgrid(*(np.linspace(-1, 1, length) for length in channel.shape), indexing="ij")
    slope = sum(weight * grid[axis] for weight, axis in zip(way / np.abs(way).sum(), axes, strict=True))
    return channel * (1 + 0.7 * slope)


def _contrast(channel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return np.clip(channel, 0, None) ** (0.4 if random.random() < 0.5 else 2.5)


def _inverted(channel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return 1 - channel


def _halved(channel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half the resolution, on the same grid, as a scanner interpolates."""
    coarse = ndimage.zoom(channel, [0.5 if length > 1 else 1 for length in channel.shape], order=1)
    factors = [new / old for new, old in zip(channel.shape, coarse.shape, strict=True)]
    return ndimage.zoom(coarse, factors, order=1)


def _mirrored(image: Image, label: np.ndarray, random: np.random.Generator) -> Case:
    """The first axis in the plane runs the other way, and the header does not say so."""
    return replace(image, array=np.flip(image.array, 2).copy()), np.flip(label, 1).copy()


def _rotated(image: Image, label: np.ndarray, random: np.random.Generator) -> Case:
    """Turned by 90 degrees in the plane (y, x), and the header does not say so."""
    return (
        replace(image, array=np.rot90(image.array, axes=(2, 3)).copy()),
        np.rot90(label, axes=(1, 2)).copy(),
    )


def _cropped(image: Image, label: np.ndarray, random: np.random.Generator) -> Case:
    """The field of view ends in the middle of what is labelled, along the longest axis."""
    axis = int(np.argmax(label.shape))
    there = np.flatnonzero(label.any(axis=tuple(other for other in range(3) if other != axis)))
    middle = int(there.mean()) if there.size else label.shape[axis] // 2
    keep = slice(0, max(middle, 8))
    cut = [slice(None)] * 3
    cut[axis] = keep
    return replace(image, array=image.array[(slice(None), *cut)].copy()), label[tuple(cut)].copy()


SHIFTS: dict[str, Shift] = {
    "noise": _values(_noise),
    "bias field": _values(_bias),
    "contrast": _values(_contrast),
    "inverted": _values(_inverted),
    "half resolution": _values(_halved),
    "mirrored header": _mirrored,
    "rotated header": _rotated,
    "cropped": _cropped,
}


def another_organ(image: Image, source: Image, random: np.random.Generator) -> Case:
    """A piece of another body part with the size, spacing and range of a case; nothing to find in it."""
    shape = image.array.shape[1:]
    channel = source.array.astype(np.float32).mean(axis=0)
    pads = [(0, max(0, want - have)) for want, have in zip(shape, channel.shape, strict=True)]
    channel = np.pad(channel, pads, mode="reflect" if min(channel.shape) > 1 else "edge")
    starts = [
        int(random.integers(0, have - want + 1)) for want, have in zip(shape, channel.shape, strict=True)
    ]
    piece = channel[tuple(slice(start, start + want) for start, want in zip(starts, shape, strict=True))]
    low, high = np.percentile(image.array, [0.5, 99.5])
    least, most = np.percentile(piece, [0.5, 99.5])
    scaled = (piece - least) / max(float(most - least), 1e-6) * (high - low) + low
    array = np.repeat(scaled[None], len(image.array), axis=0).astype(np.float32)
    return replace(image, array=array), np.zeros(shape, np.uint8)
