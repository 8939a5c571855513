"""Predictions that are stored along other axes than their references, or that lie elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoseg.data.image import Image
from autoseg.data.world import Turn, turn_between, voxel_to_world
from autoseg.errors import DataError
from autoseg.evaluation.pair_files import Pair

# A prediction that is so little off is compared voxel by voxel: half-voxel conventions, rounded headers.
NEAR_VOXELS = 0.55


def laid_onto(pair: Pair, prediction: Image, reference: Image) -> tuple[Image, Turn | None]:
    """The prediction with its voxels in the order of the reference's, and the turn if that took one.

    Where the voxels of both lie at the same places, the array is permuted and flipped, which loses nothing.

    Raises:
        DataError: if both have the same shape, but their headers place them elsewhere or turn them.
    """
    turn = turn_between(prediction, reference)
    if turn is not None and turn.exact and turn.changes:
        array = turn.apply(prediction.array)
        return replace(reference, array=array, replaced=prediction.replaced), turn
    # Another shape or spacing is refused by whoever compares them, in words of its own.
    same = prediction.array.shape == reference.array.shape and np.allclose(
        prediction.spacing[1:], reference.spacing[1:], rtol=1e-3, atol=0
    )
    if voxel_to_world(prediction) is None or voxel_to_world(reference) is None or not same:
        return prediction, None
    if turn is not None and not turn.changes and turn.apart <= NEAR_VOXELS:
        return prediction, None
    how = (
        f"lie up to {turn.apart:.3g} voxels apart"
        if turn is not None and not turn.changes
        else "run in other directions, and no flip brings them to the same places"
    )
    raise DataError(
        f"{pair.prediction}: by the headers its voxels and those of its reference {pair.reference} {how}. "
        f"Correct the header that is wrong, or resample the prediction onto the reference's grid (nearest "
        f"neighbour). If the voxels match and only the header was lost, compare with --by-voxels."
    )
