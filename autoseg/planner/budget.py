"""What fits into the time there is: batch, width, spacing and patch for a wall-clock budget.

A network that sees too few batches learns nothing, however good it is. The rule spends as little of the
published system as it can to reach enough steps: first the batch shrinks, then (only where the trainer
declares it) the width, then the spacing grows, as long as the smallest structure stays large enough to see,
and at last the patch shrinks, as the planner shrinks it for a smaller memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# On 3D MR with nnU-Net's loss and optimiser, learning from scratch needs about this many steps to be past
# its steep part; fewer than the second number leave any network far from it.
ENOUGH_STEPS = 1500
FEWEST_STEPS = 400
NARROWEST = 8
# Mirrored samples make a network learn each structure in up to eight poses, and those of structures that
# differ only by their place (head and tail, left and right) last. Where the line lies is a choice: one
# 3D data set lost much at 2000 steps and little at 3300; no other was tried.
STEPS_FOR_MIRRORING = 5000
COARSENINGS = (1.0, 1.25, 1.5, 2.0)
MEMORY_SHARES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
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
        memory_share: factor on the planner's memory target, which a smaller patch follows.
    """

    batch_size: int
    width: int | None
    coarsening: float
    memory_share: float = 1.0

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


def shapes(published: Shape, smallest_batch: int, structure_width: float) -> Iterator[tuple[Shape, int]]:
    """Shapes from the published one to the cheapest, each with the number of steps that it asks for.

    Args:
        published: batch and width of the plan.
        smallest_batch: what the trainer's normalisation bears.
        structure_width: of the smallest structure, in voxels of the plan's spacing.
    """
    batches = list(_halvings(published.batch_size, min(smallest_batch, published.batch_size)))
    widths = [None] if published.width is None else list(_halvings(published.width, NARROWEST))
    for width in widths:
        for batch in batches:
            yield Shape(batch, width, 1.0), ENOUGH_STEPS
    bearable = [f for f in COARSENINGS if f == 1.0 or structure_width / f >= NARROWEST_STRUCTURE]
    for factor in bearable:
        yield Shape(batches[-1], widths[-1], factor), FEWEST_STEPS
    for share in MEMORY_SHARES:
        yield Shape(batches[-1], widths[-1], bearable[-1], share), FEWEST_STEPS


def choose(
    offers: Sequence[tuple[Shape, int]], seconds_of: Callable[[Shape], float], train_seconds: float
) -> tuple[Shape, int]:
    """The first shape that gets as many steps as it asks for, or the cheapest of all.

    Args:
        offers: see `shapes`.
        seconds_of: time of one step.
        train_seconds: time for training.

    Returns:
        The shape and the number of steps that it will get.
    """
    for shape, asked in offers:
        steps = int(train_seconds / seconds_of(shape))
        if steps >= asked:
            return shape, steps
    cheapest = min((shape for shape, _ in offers), key=seconds_of)
    return cheapest, int(train_seconds / seconds_of(cheapest))


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
