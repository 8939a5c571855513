"""Strides and kernels of a U-Net from patch size and spacing.

The rules are nnU-Net's (get_pool_and_conv_props in 2.8.1; Isensee et al., Nature Methods 2021): halve the
axes that are finest, until the coarsest feature maps would become too small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoseg.architectures import Topology
from autoseg.planner.plan import Configuration

# Axes are pooled together while their spacings are within this factor; kernels span 3 voxels from there on.
WITHIN = 2

# A patch as nnU-Net plans it for isotropic data, at which sizes of networks are given.
REFERENCE_PATCH = {2: (256, 256), 3: (128, 128, 128)}


def pooled(spacing: Sequence[float], size: Sequence[float], shortest_edge: int) -> Topology:
    """The topology for a patch of about `size`.

    Args:
        spacing: mm per axis.
        size: wanted patch size, voxels per axis; medians of shapes can be half-integral.
        shortest_edge: voxels that every axis keeps in the coarsest feature maps.

    Returns:
        The topology; its patch size is `size`, rounded up to what the strides divide.
    """
    strides, kernels = _stages(list(map(float, spacing)), list(map(float, size)), shortest_edge)
    divisors = (math.prod(column) for column in zip(*strides, strict=True))
    patch = tuple(math.ceil(n / divisor) * divisor for n, divisor in zip(size, divisors, strict=True))
    return Topology(patch, tuple(map(float, spacing)), tuple(strides), tuple(kernels))


def divisors(topology: Topology) -> tuple[int, ...]:
    """What each axis of the patch must be a multiple of."""
    return tuple(math.prod(column) for column in zip(*topology.strides, strict=True))


def _stages(
    spacing: list[float], size: list[float], shortest_edge: int
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Strides and kernel sizes of all stages; both lists are worked on in place."""
    axes = range(len(spacing))
    strides: list[tuple[int, ...]] = [(1,) * len(spacing)]
    kernels: list[tuple[int, ...]] = []
    kernel = [1] * len(spacing)
    while pool := _axes_to_pool(spacing, size, shortest_edge):
        finest = min(spacing)
        kernel = [3 if kernel[a] == 3 or spacing[a] / finest < WITHIN else 1 for a in axes]
        strides.append(tuple(2 if a in pool else 1 for a in axes))
        kernels.append(tuple(kernel))
        for axis in pool:
            spacing[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
    kernels.append((3,) * len(spacing))
    return strides, kernels


def _axes_to_pool(spacing: Sequence[float], size: Sequence[float], shortest_edge: int) -> list[int]:
    """The axes that are long enough and within a factor of 2 of the finest of those.

    A single axis is pooled only if it is half as long again, so that no stage is spent on little.
    """
    long_enough = [axis for axis, n in enumerate(size) if n >= 2 * shortest_edge]
    if not long_enough:
        return []
    finest = min(spacing[axis] for axis in long_enough)
    pool = [axis for axis in long_enough if spacing[axis] / finest < WITHIN]
    return pool if len(pool) > 1 or size[pool[0]] >= 3 * shortest_edge else []


def topology_of(configuration: Configuration) -> Topology:
    """Patch, strides and kernels of a planned configuration."""
    kwargs = configuration.architecture.kwargs
    return Topology(
        configuration.patch_size,
        configuration.spacing,
        tuple(kwargs["strides"]),
        tuple(kwargs["kernel_sizes"]),
    )


def reference_topology(dimensions: int) -> Topology:
    """Patch and strides for which sizes are listed."""
    stages = 6 if dimensions == 3 else 7
    return Topology(
        REFERENCE_PATCH[dimensions],
        (1.0,) * dimensions,
        ((1,) * dimensions, *((2,) * dimensions,) * (stages - 1)),
        ((3,) * dimensions,) * stages,
    )
