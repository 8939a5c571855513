"""What fits into the time there is: batch, width, spacing and patch for a wall-clock budget.

A network that sees too few batches learns nothing, however good it is. The rule spends as little of the
published system as it can to reach enough steps: published system as it can to reach enough steps
declares it) the width, then the spacing grows, as long as the smallest structure stays large enough to see.
Where all that is not enough, the batch shrinks below what the trainer asks for, as far as its normalisation
bears it, and at last the patch, as the planner shrinks it for a smaller memory. Spacing and patch stay where
most of a step is what every step takes, whatever its size: they would be given away for little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

# On 3D MR with nnU-Net's loss and optimiser, learning from scratch needs about this many steps to be past
# its steep part; fewer than the second number leave any network far from it.
ENOUGH_STEPS = 1500
FEWEST_STEPS = 400
NARROWEST = 8
# Mirrored samples make a network learn each structure in up to eight poses, and those of structures that
# differ only by their place (head and tail, left and right) last. Where the line lies is a choice: one
# 3D data set lost much at 2000 steps and little at 3300; no other was tried.
STEPS_FOR_MIRRORING = 5000
# Of nnU-Net's SGD; see `autoseg.tailoring.training_length`. More than 2,300 were not compared.
STEPS_FOR_SGD = 3000
COARSENINGS = (1.0, 1.25, 1.5, 2.0)
PATCH_SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
# With fewer steps than this, weights are hardly other than the random ones that they started from.
LEAST_STEPS = 10
# Batch normalisation takes mean and variance over so many values at least, at the coarsest feature maps,
# which are 32 times smaller than the patch in the encoders that have it.
NORMALIZED_VALUES = 64
TOTAL_STRIDE = 32
SMALLEST_BATCH = 2
# A structure narrower than this loses its shape when the grid gets coarser.
NARROWEST_STRUCTURE = 24.0
SOURCE = "autoseg's choice"


@dataclass(frozen=True)
class Shape:
    """The size of a training.

    Attributes:
        batch_size: samples per step.
        width: features of the first stage; None where the network's size is not to be touched.
        coarsening: factor on the plan's spacing.
        patch_share: largest part of the planned patch's voxels that the patch has.
    """

    batch_size: int
    width: int | None
    coarsening: float
    patch_share: float = 1.0

    def changes(self, published: Shape) -> tuple[str, ...]:
        """What differs from the published system, in words."""
        found = []
        if self.width != published.width:
            found.append(f"width {published.width} -> {self.width}")
        if self.batch_size != published.batch_size:
            found.append(f"batch {published.batch_size} -> {self.batch_size}")
        if self.coarsening != published.coarsening:
            found.append(f"spacing x{self.coarsening:g}")
        return tuple(found)


def bearable_batch(smallest_batch: int, patch: Sequence[int]) -> int:
    """The batch that a trainer's normalisation still bears where time is short.

    Args:
        smallest_batch: the smallest batch that the trainer needs; above `SMALLEST_BATCH` where it normalises
            over the batch.
        patch: voxels along each axis.
    """
    if smallest_batch <= SMALLEST_BATCH:
        return smallest_batch
    values = math.prod(math.ceil(n / TOTAL_STRIDE) for n in patch)
    return min(smallest_batch, max(SMALLEST_BATCH, math.ceil(NORMALIZED_VALUES / values)))


def shapes(
    published: Shape,
    smallest_batch: int,
    structure_width: float,
    bearable: Callable[[Shape], int] | None = None,
) -> Iterator[tuple[Shape, int]]:
    """Shapes from the published one to the cheapest, each with the number of steps that it asks for.

    Args:
        published: batch and width of the plan.
        smallest_batch: the smallest batch that the trainer needs.
        structure_width: width of the smallest structure, in voxels of the plan's spacing.
        bearable: the smallest batch that the normalisation bears at a shape's patch; None: `smallest_batch`.
    """
    batches = list(_halvings(published.batch_size, min(smallest_batch, published.batch_size)))
    widths = [None] if published.width is None else list(_halvings(published.width, NARROWEST))
    for width in widths:
        for batch in batches:
            yield Shape(batch, width, 1.0), ENOUGH_STEPS
    factors = [f for f in COARSENINGS if f == 1.0 or structure_width / f >= NARROWEST_STRUCTURE]
    for factor in factors:
        yield Shape(batches[-1], widths[-1], factor), FEWEST_STEPS
    for share in (1.0, *PATCH_SHARES):
        shape = Shape(batches[-1], widths[-1], factors[-1], share)
        least = batches[-1] if bearable is None else min(bearable(shape), batches[-1])
        for batch in _halvings(batches[-1], least):
            yield replace(shape, batch_size=batch), FEWEST_STEPS


def choose(
    offers: Sequence[tuple[Shape, int]],
    seconds_of: Callable[[Shape], float],
    train_s: float | Callable[[Shape], float],
) -> tuple[Shape, int]:
    """The first shape that gets as many steps as it asks for, or the one that gets most.

    Args:
        offers: see `shapes`.
        seconds_of: time of one step.
        train_s: time for training, or what a shape leaves for it.

    Returns:
        The shape and the number of steps that it will get.
    """

    def steps_of(shape: Shape) -> float:
        seconds = train_s(shape) if callable(train_s) else train_s
        return seconds / seconds_of(shape)

    for shape, wanted in offers:
        steps = int(steps_of(shape))
        if steps >= wanted:
            return shape, steps
    longest = max((shape for shape, _ in offers), key=steps_of)
    return longest, int(steps_of(longest))


def structure_width(voxels: float, dimensions: int) -> float:
    """Diameter of the ball (disc in 2D) that has as many voxels as the structure."""
    if voxels <= 0:
        return 0.0
    return 2 * math.sqrt(voxels / math.pi) if dimensions == 2 else 2 * (3 * voxels / (4 * math.pi)) ** (1 / 3)


def _halvings(start: int, end: int) -> Iterator[int]:
    value = start
    while value > end:
        yield value
        value = max(value // 2, end)
    yield value
