"""What a training step is worth, and what is lost with a smaller network, grid or patch; all in Dice.

The law of the steps is fitted to 24 trainings of eight curves (benchmarks/results/learning_curves.md): a
training is below what it tends to by 0.012 at 1500 steps of a batch of 2, and by half of that at 3000. What
a smaller shape loses for good is read off few pairs of trainings (benchmarks/results/budgets_*.md and
patch_share.md) and rough; it decides only where shapes are far apart.
"""

from __future__ import annotations

import math

from autoseg.planner.budget import FEWEST_STEPS

GAP, GAP_STEPS, GAP_BATCH = 0.012, 1500.0, 2
# Of the batch: a choice between 0, as fitted beside steps that grew with it, and what pairs showed.
BATCH_POWER = 0.25
# nnunet on Hippocampus: width 16 for 8 gave 0.009 with the same steps. A further doubling is taken to give a
# third of that.
WIDTH_LOSS, WIDTH_FALL = 0.009, 3.0
NARROW = 8
# A patch that sees less of the image loses by how much of the image the structures take: with three fifths
# of it along each axis nnunet lost 0.13 on fetal heads, 0.04 on hearts and nothing on hippocampi
# (patch_share.md). This is what half of it along each axis loses for structures that fill the image. Those
# that take hardly any of it lose as the least part does: on nuclei nothing was lost in one fold, and 0.06 in
# another, whose pictures look unlike the rest. The usual part stands for unknown ones.
PATCH_LOSS, LEAST_STRUCTURES, USUAL_STRUCTURES = 0.5, 0.06, 0.1
# A border is off by part of a voxel; what that costs goes by how many voxels a structure is wide.
SPACING_LOSS = 0.3
SOURCE = "autoseg, from measured learning curves: benchmarks/results/learning_curves.md"


def gap(steps: float, batch: float = GAP_BATCH) -> float:
    """How far a training is below what its network tends to.

    Below `FEWEST_STEPS` no network learns, and what it lacks grows with the square, beyond 1 as well, so that
    more steps are always better.

    Args:
        steps: length of the training.
        batch: samples of a step.
    """
    counted = max(steps, 0.5)
    short = max(FEWEST_STEPS / counted, 1.0)
    return float(GAP * GAP_STEPS / counted * short * (batch / GAP_BATCH) ** -BATCH_POWER)


def width_loss(width: int | None) -> float:
    """What a narrower network loses against a wide one; 0 where the width is not to be touched."""
    if width is None:
        return 0.0
    step = WIDTH_LOSS / (1 - 1 / WIDTH_FALL)
    return float(step * WIDTH_FALL ** -math.log2(width / NARROW))


def patch_loss(share: float, structures: float = USUAL_STRUCTURES, axes: int = 2) -> float:
    """What a smaller patch loses: it grows with the square of the halvings of its sides.

    Args:
        share: of what the planned patch sees of an image, the part that this one sees.
        structures: part of the image that the boxes around one of each structure take.
        axes: of the patch; a share is spread over them.
    """
    return PATCH_LOSS * max(structures, LEAST_STRUCTURES) * (math.log2(share) / axes) ** 2


def spacing_loss(coarsening: float, structure_width: float) -> float:
    """What a coarser grid loses.

    Args:
        coarsening: factor on the spacing.
        structure_width: width of the smallest structure in voxels of the planned spacing; 0: not known.
    """
    if coarsening == 1.0:
        return 0.0
    return SPACING_LOSS * (coarsening - 1) * coarsening / structure_width if structure_width else 1.0
