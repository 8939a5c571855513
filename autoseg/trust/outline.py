"""Whether an outline lies where outlines lie: the image across it, against that of the other labels.

A reference that is a few voxels too small or in the wrong place has a Dice that the model's own errors hide.
The image does not hide it: people draw along edges, and what lies one voxel inside or three outside of an
outline looks alike from case to case. No network is asked, so that a hard case is not doubted for being hard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Layers of voxels to each side of an outline.
LAYERS = 5
# Fewer outlines say nothing of what is usual.
FEWEST = 10
# Twice the share of wrong labels that is reckoned with: what is usual is taken from the others.
_TRIMMED = 0.2
_ROUNDS = 3
# Standard deviations of a normal distribution between its median and its third quartile.
_QUARTILE = 0.6745


def outlines_of(
    image: Array, label: Array, steps: Sequence[float], structures: Mapping[str, Sequence[int]]
) -> dict[str, list[float]]:
    """The image across the outline of each structure that is there and does not fill the image.

    Args:
        image: (channels, z, y, x).
        label: (z, y, x), whole numbers.
        steps: size of a voxel along z, y, x.
        structures: the values of each by name.

    Returns:
        By name: of each channel the mean in each layer of a voxel's thickness, from `LAYERS` outside to
        `LAYERS` inside, in standard deviations of the channel. A layer that is not there has the value of the
        next one.
    """
    found = {}
    scaled = [_standard(channel) for channel in image]
    for name, values in structures.items():
        mask = np.isin(label, list(values))
        if mask.any() and not mask.all():
            box = _box(mask)
            found[name] = _profile([channel[box] for channel in scaled], mask[box], steps)
    return found


def _standard(channel: Array) -> Array:
    values = channel.astype(np.float32)
    there = values[values != 0]
    used = there if there.size else values
    return np.asarray((values - used.mean()) / max(float(used.std()), 1e-6))


def _box(mask: Array) -> tuple[slice, ...]:
    """Around a mask with room for the layers."""
    found = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        found.append(slice(max(0, int(along[0]) - LAYERS - 1), int(along[-1]) + LAYERS + 2))
    return tuple(found)


def _profile(channels: Sequence[Array], mask: Array, steps: Sequence[float]) -> list[float]:
    from scipy import ndimage

    axes = [axis for axis in range(mask.ndim) if mask.shape[axis] > 1]
    # In voxels of the finest axis.
    finest = min((steps[axis] for axis in axes), default=1.0)
    sampling = [steps[axis] / finest if axis in axes else 1e6 for axis in range(mask.ndim)]
    inside, outside = (ndimage.distance_transform_edt(side, sampling) for side in (mask, ~mask))
    layer = np.where(mask, np.ceil(inside), -np.ceil(outside) + 1)
    kept = (layer > -LAYERS) & (layer <= LAYERS)
    index = (layer[kept] + LAYERS - 1).astype(np.intp)
    counts = np.bincount(index, minlength=2 * LAYERS)
    found = []
    for channel in channels:
        sums = np.bincount(index, weights=channel[kept], minlength=2 * LAYERS)
        means = sums / np.maximum(counts, 1)
        there = np.flatnonzero(counts)
        nearest = there[np.abs(np.arange(2 * LAYERS)[:, None] - there).argmin(axis=1)]
        found += [round(float(value), 4) for value in means[nearest]]
    return found


def oddness(outlines: Sequence[Sequence[float] | None]) -> Floats:
    """How unlike the others each outline is, in robust standard deviations; 0 of none or of too few.

    The distance is Mahalanobis', with a covariance that is drawn towards its diagonal, the more the fewer
    cases there are. Middle and covariance are of the nearest four fifths of the cases, so that wrong labels
    do not make themselves usual (the minimum covariance determinant of Rousseeuw and Van Driessen,
    Technometrics 1999, by its concentration steps).
    """
    scores = np.zeros(len(outlines))
    there = [index for index, outline in enumerate(outlines) if outline]
    if len(there) < FEWEST:
        return scores
    rows = np.array([outlines[index] for index in there], dtype=np.float64)
    middle, scale = np.median(rows, axis=0), np.maximum(_spread(rows), 1e-3)
    far = (((rows - middle) / scale) ** 2).mean(axis=1)
    for _ in range(_ROUNDS):
        near = rows[np.argsort(far, kind="stable")[: max(int(len(rows) * (1 - _TRIMMED)), FEWEST // 2)]]
        middle, covariance = near.mean(axis=0), np.cov(near.T)
        share = len(middle) / (len(middle) + len(near))
        diagonal = np.diag(np.diag(covariance))
        shrunk = (1 - share) * covariance + share * diagonal + 1e-4 * np.eye(len(middle))
        gap = rows - middle
        far = (gap * np.linalg.solve(shrunk, gap.T).T).sum(axis=1)
    distances = np.sqrt(far)
    half, upper = np.percentile(distances, [50, 75])
    scores[there] = (distances - half) / max(float(upper - half) / _QUARTILE, 0.05 * float(half), 1e-9)
    return scores


def _spread(rows: Floats) -> Floats:
    low, high = np.percentile(rows, [25, 75], axis=0)
    return np.asarray((high - low) / (2 * _QUARTILE))
