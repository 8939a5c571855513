"""Artefacts of magnetic resonance imaging for a whole batch at once, on the device that it lies on.

Each function gives what its transform in `autoseg.augmentation.mri` gives for the same draws. It changes the
image in place and waits for no GPU: what is drawn is known on the host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autoseg.augmentation.batch_spatial import linear
from autoseg.augmentation.mri import acquired_parts, ghost_weights, half_weights

# What was drawn for a sample, by name; None: the sample is left alone.
Draws = Sequence[Mapping[str, Any] | None]


def move(image: Tensor, draws: Draws) -> None:
    """Rigid movements between the parts of an acquisition: ``poses`` at ``times``."""
    length = image.shape[-1]
    for number, drawn in enumerate(draws):
        if drawn is None:
            continue
        sample = image[number]
        darkest = sample.amin(dim=tuple(range(1, sample.ndim)), keepdim=True)
        spectrum: Any = 0
        for pose, lines in acquired_parts(drawn["poses"], drawn["times"], length):
            seen = sample if pose is None else linear(sample - darkest, pose, sample.shape[1:]) + darkest
            weights = half_weights(lines).to(image.device, non_blocking=True)
            spectrum = spectrum + torch.fft.rfft(seen) * weights
        image[number] = torch.fft.irfft(spectrum, n=length)


def ghost(image: Tensor, draws: Draws) -> None:
    """Weaken every n-th line of k-space: ``ghosts``, ``axis`` (from 1 on) and ``intensity``."""
    for axis in range(2, image.ndim):
        length = image.shape[axis]
        rows = [
            (number, half_weights(ghost_weights(length, each["ghosts"], each["intensity"])))
            for number, each in enumerate(draws)
            if each is not None and each["axis"] == axis - 1
        ]
        if not rows:
            continue
        picked = torch.tensor([number for number, _ in rows]).to(image.device, non_blocking=True)
        weights = torch.stack([each for _, each in rows]).to(image.device, non_blocking=True)
        shape = [-1 if each in (0, axis) else 1 for each in range(image.ndim)]
        shape[0], shape[axis] = weights.shape
        spectrum = torch.fft.rfft(image[picked], dim=axis) * weights.reshape(shape)
        image[picked] = torch.fft.irfft(spectrum, n=length, dim=axis)


def bias(image: Tensor, draws: Draws) -> None:
    """Multiply the distance from the darkest value by the exponential of a polynomial: ``coefficients``."""
    chosen = [(number, each["coefficients"]) for number, each in enumerate(draws) if each is not None]
    if not chosen:
        return
    order = max(max(powers) for _, each in chosen for powers in each)
    dimensions = image.ndim - 2
    table = torch.zeros((len(chosen), *(order + 1,) * dimensions))
    for row, (_, coefficients) in enumerate(chosen):
        for powers, coefficient in coefficients.items():
            table[(row, *powers)] = coefficient
    field = table.to(image.device, non_blocking=True)
    for length in image.shape[2:]:
        grid = torch.linspace(-1, 1, length, device=image.device)
        basis = torch.stack([grid**power for power in range(order + 1)], dim=1)
        # The axis of powers that comes first is summed over, and its axis of voxels is put last.
        field = torch.tensordot(field, basis, dims=([1], [1]))
    picked = torch.tensor([number for number, _ in chosen]).to(image.device, non_blocking=True)
    found = image[picked]
    darkest = found.amin(tuple(range(2, image.ndim)), keepdim=True)
    image[picked] = (found - darkest).mul_(field.exp_()[:, None]).add_(darkest)


def shift(image: Tensor, draws: Draws) -> None:
    """Add one number to all channels of a sample: ``shift``."""
    shifts = torch.tensor([0.0 if each is None else each["shift"] for each in draws], dtype=image.dtype)
    image += shifts.to(image.device, non_blocking=True).reshape(-1, *(1,) * (image.ndim - 1))
