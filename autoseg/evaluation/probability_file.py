"""The probabilities that nnU-Net writes beside a prediction (CASE.npz), checked before they are read."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import DataError

ENTRY = "probabilities"
_ROUNDING = 1e-3


def read_probabilities(path: Path, heads: int, voxels: int) -> NDArray[np.float32]:
    """Read probabilities (heads, z, y, x).

    Args:
        path: the file; no object in it is unpickled.
        heads: channels that the labels need.
        voxels: of the prediction's grid.

    Raises:
        DataError: if it is another file, announces another shape, or holds no probabilities.
    """
    try:
        shape, kind = _announced(path)
        if len(shape) == 4 and shape[0] != heads:
            raise DataError(
                f"{path} has {shape[0]} channels, the labels need {heads}. Predict again with the data set's "
                f"labels, or remove the file."
            )
        if len(shape) != 4 or prod(shape[1:]) != voxels or kind.kind != "f":
            raise DataError(
                f"{path} has {' x '.join(map(str, shape))} values of {kind}; expected {heads} channels of "
                f"{voxels} probabilities, as the prediction has voxels. Predict again, or remove the file."
            )
        with np.load(path) as stored:
            found: NDArray[np.float32] = stored[ENTRY]
    except DataError:
        raise
    except Exception as problem:  # zipfile's, its unpackers' and numpy's on foreign bytes: the file is bad
        said = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise DataError(
            f"{path} holds no array {ENTRY!r} that can be read ({said}). Predict again, or remove the file."
        ) from None
    low, high = float(found.min(initial=0)), float(found.max(initial=0))
    if not -_ROUNDING <= low <= high <= 1 + _ROUNDING:
        raise DataError(
            f"{path} holds values from {low:g} to {high:g}, which are no probabilities. Predict again, or "
            f"remove the file."
        )
    return found


def _announced(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of the array by its header; nothing else is read.

    Raises:
        KeyError, ValueError, zipfile.BadZipFile: if there is no such array.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{ENTRY}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, kind = read[version](file)
    return shape, kind
