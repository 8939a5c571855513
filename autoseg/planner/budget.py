"""What fits into the time there is: batch, width, spacing and patch for a wall-clock budget.

A network that sees too few batches learns nothing, however good it is, and each way to more steps costs
something. All shapes between the published one and the cheapest are compared in what each is expected to
lack, in Dice: for its steps in what predicting leaves of the time, its width (only where the trainer
declares it), its spacing (as long as the smallest structure stays large enough to see) and its patch. Of
those that are as good as the best, the one closest to the published system is taken. Where none has enough
steps, the batch shrinks below what the trainer requires, as far as its normalisation bears it.
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
# Of nnU-Net's SGD; see `autoseg.tailoring.training_length`. At 3,000 AdamW was still ahead; more were not
# compared.
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
# Dice by which the expectations of two shapes have to differ to differ at all.
AS_GOOD = 0.001
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
) -> tuple[list[Shape], list[Shape]]:
    """Shapes that may be trained, closest to the published one first, and those for where none learns.

    Args:
        published: batch and width of the plan.
        smallest_batch: the smallest batch that the trainer needs.
        structure_width: width of the smallest structure, in voxels of the plan's spacing.
        bearable: the smallest batch that the normalisation bears at a shape's patch; None: `smallest_batch`.
    """
    batches = list(_halvings(published.batch_size, min(smallest_batch, published.batch_size)))
    widths = [None] if published.width is None else list(_halvings(published.width, NARROWEST))
    factors = [f for f in COARSENINGS if f == 1.0 or structure_width / f >= NARROWEST_STRUCTURE]
    usual = [
        Shape(batch, width, factor, share)
        for share in (1.0, *PATCH_SHARES)
        for factor in factors
        for width in widths
        for batch in batches
    ]
    small = []
    for share in (1.0, *PATCH_SHARES):
        shape = Shape(batches[-1], widths[-1], factors[-1], share)
        least = batches[-1] if bearable is None else min(bearable(shape), batches[-1])
        small += [replace(shape, batch_size=batch) for batch in _halvings(batches[-1], least)][1:]
    return usual, small


def choose(offers: Sequence[Shape], loss_of: Callable[[Shape], float]) -> Shape:
    """The first shape that is expected to lack hardly more than the best.

    Args:
        offers: shapes, those first that are preferred where nothing else decides.
        loss_of: what a shape lacks, in Dice.
    """
    losses = [loss_of(shape) for shape in offers]
    least = min(losses)
    return next(shape for shape, loss in zip(offers, losses, strict=True) if loss <= least + AS_GOOD)


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
