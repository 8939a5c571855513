"""Preprocessed cases on disk: nnU-Net's CASE.b2nd, CASE_seg.b2nd and CASE.pkl.

Blosc2 arrays are read chunk by chunk, so that training unpacks little more than the patch that it needs.
"""

from __future__ import annotations

import os
import pickle
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from autoseg.data.bounds import check_announced
from autoseg.data.image import ImageError
from autoseg.errors import RunError
from autoseg.preprocessing.properties_file import read_properties
from autoseg.system.files import atomic_path

Array = NDArray[Any]
Shape = tuple[int, ...]

HIDDEN = ".autoseg"  # a folder: among the cases nnU-Net accepts files of one kind only

# Blosc stores a chunk of one value in a few bytes.
DENSEST = 2**22

_WORKSHOP = f"writing-{platform.node()}-"  # and the process: where it writes before it renames
_BLOCK_BYTES = 128 * 1024
_CHUNK_BYTES = 6 * 1024**2
_CHUNK_TO_PATCH = 1.5


def case_files(folder: Path, case: str) -> tuple[Path, Path, Path]:
    """Segmentation, properties and image of a case, in the order in which they have to appear.

    The image comes last: nnU-Net takes a case to be there when it sees CASE.b2nd.
    """
    return folder / f"{case}_seg.b2nd", folder / f"{case}.pkl", folder / f"{case}.b2nd"


def write_case(
    folder: Path,
    case: str,
    data: NDArray[np.float32],
    segmentation: Array,
    properties: Mapping[str, Any],
    patch_size: Sequence[int],
) -> None:
    """Write a case into `folder`, where it replaces an older one; it is never seen in part.

    Args:
        folder: the configuration's folder.
        case: identifier.
        data: (c, z, y, x).
        segmentation: (1, z, y, x); stored as int16.
        properties: see `preprocess_case`.
        patch_size: the configuration's; chunks are laid out for it.
    """
    workshop = folder / HIDDEN / f"{_WORKSHOP}{os.getpid()}"
    workshop.mkdir(parents=True, exist_ok=True)
    made, final = case_files(workshop, case), case_files(folder, case)
    try:
        interpolated = data.shape[1:] != tuple(properties["shape_after_cropping_and_before_resampling"])
        _write_array(made[2], data, patch_size, interpolated)
        _write_array(made[0], segmentation.astype(np.int16, copy=False), patch_size, interpolated=True)
        made[1].write_bytes(pickle.dumps(dict(properties)))
        final[2].unlink(missing_ok=True)
        for source, target in zip(made, final, strict=True):
            os.replace(source, target)
    finally:
        for path in made:
            path.unlink(missing_ok=True)
        workshop.rmdir()


def write_stage(path: Path, segmentation: Array, patch_size: Sequence[int]) -> None:
    """Write a first stage's segmentation (z, y, x) as nnU-Net's trainers read it; whole or not at all.

    Args:
        path: CASE.b2nd.
        segmentation: on the second stage's grid.
        patch_size: the second stage's; chunks are laid out for it.
    """
    with atomic_path(path) as temporary:
        _write_array(temporary, segmentation[None], patch_size, interpolated=True, axes=segmentation.ndim)


def read_stage(path: Path, shape: Sequence[int]) -> Array:
    """A first stage's segmentation (z, y, x), as `write_stage` and nnU-Net leave it.

    Raises:
        RunError: if it is not there, damaged, or of another shape than the case.
    """
    import blosc2

    if not path.is_file():
        raise RunError(f"There is no {path}, the first stage's segmentation. Train the first stage again.")
    try:
        stored = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})
        check_announced(path, stored.shape, stored.dtype.itemsize, DENSEST)
        found: Array = stored[:]
    except ImageError as problem:
        raise RunError(f"{problem.path} {problem.reason}. Remove it; it is made again.") from None
    except (RuntimeError, ValueError, TypeError, AttributeError, OSError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise RunError(f"{path} cannot be read ({said}). Remove it; it is made again.") from None
    if found.shape != tuple(shape):
        raise RunError(
            f"{path} has the shape {found.shape}, the case {tuple(shape)}. Remove it; it is made again."
        )
    return found


def clear_workshops(folder: Path) -> None:
    """Remove what processes of this machine left half written when they were killed."""
    for path in (folder / HIDDEN).glob(f"{_WORKSHOP}*"):
        try:
            os.kill(int(path.name[len(_WORKSHOP) :]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (PermissionError, ValueError):
            continue


@overload
def read_preprocessed(
    folder: Path, case: str, array: Literal[True] = True
) -> tuple[NDArray[np.float32], dict[str, Any]]: ...


@overload
def read_preprocessed(folder: Path, case: str, array: Literal[False]) -> tuple[None, dict[str, Any]]: ...


def read_preprocessed(
    folder: Path, case: str, array: bool = True
) -> tuple[NDArray[np.float32] | None, dict[str, Any]]:
    """Read a preprocessed case.

    Args:
        folder: the configuration's folder.
        case: identifier.
        array: False leaves out the array, which costs nearly all of the time.

    Returns:
        The image (c, z, y, x) or None, and the properties with ``shape``, the image's (z, y, x), beside what
        is on disk.

    Raises:
        RunError: if the case is not there, or its files are damaged.
    """
    import blosc2

    _, properties, image = case_files(folder, case)
    if not (image.is_file() and properties.is_file()):
        raise RunError(f"The case {case} is not in {folder}. Preprocess this configuration first.")
    known = read_properties(properties)
    try:
        stored = blosc2.open(str(image), mode="r", dparams={"nthreads": 1})
        check_announced(image, stored.shape, stored.dtype.itemsize, DENSEST)
        return (stored[:] if array else None), {**known, "shape": tuple(stored.shape[1:])}
    except ImageError as problem:
        raise RunError(f"{problem.path} {problem.reason}. {_again(folder)}") from None
    except (RuntimeError, ValueError, TypeError, AttributeError, OSError) as problem:
        said = " ".join(str(problem).split())[:200]
        raise RunError(f"{image} cannot be read ({said}). {_again(folder)}") from None


def _again(folder: Path) -> str:
    return f"Remove {folder} and preprocess again."


def block_and_chunk(shape: Sequence[int], patch_size: Sequence[int], itemsize: int) -> tuple[Shape, Shape]:
    """Blosc2's blocks and chunks for an array that is read patch by patch; nnU-Net 2.8's layout.

    A block, which is unpacked as a whole, starts as the patch rounded up to powers of two and is halved along
    its relatively longest axis until it fits 128 KiB, part of a core's cache. A chunk grows from it by whole
    blocks along the axis that lags most, to at most 1.5 patches along an axis and 6 MiB.

    Args:
        shape: (c, z, y, x) of the array; blocks and chunks hold one channel.
        patch_size: three axes, or two for slices.
        itemsize: bytes per voxel.
    """
    image = tuple(shape[1:])
    flat = len(patch_size) == 2
    patch = (1, *patch_size) if flat else tuple(patch_size)
    goal = [max(1, min(n, int(_CHUNK_TO_PATCH * p))) for n, p in zip(image, patch, strict=True)]
    block = [min(1 << (p - 1).bit_length(), n) for n, p in zip(image, patch, strict=True)]
    while prod(block) * itemsize > _BLOCK_BYTES:
        axis = max((a for a in range(3) if block[a] > 1), key=lambda a: (block[a] / goal[a], a))
        block[axis] = 1 << ((block[axis] - 1).bit_length() - 1)
    chunk = list(block)
    while grown := [
        (chunk[a] / goal[a], -image[a], a, longer)
        for a in range(3)
        if chunk[a] < goal[a] and patch[a] > 1 and not (flat and a == 0)
        for longer in [min(chunk[a] + block[a], goal[a])]
        if prod(chunk) // chunk[a] * longer * itemsize <= _CHUNK_BYTES
    ]:
        _, _, axis, longer = min(grown)
        chunk[axis] = longer
    return (1, *block), (1, *chunk)


def _write_array(
    path: Path, array: Array, patch_size: Sequence[int], interpolated: bool, axes: int = 4
) -> None:
    """Write (c, z, y, x), or with 3 axes its only channel (z, y, x)."""
    import blosc2

    blocks, chunks = block_and_chunk(array.shape, patch_size, array.itemsize)
    if axes == 3:
        array, blocks, chunks = array[0], blocks[1:], chunks[1:]
    # The lightest zstd is as small as nnU-Net's LZ4HC at a fifth of the time and is read as fast. Bytes of
    # interpolated values compress better apart, whole numbers better together.
    cparams = {
        "codec": blosc2.Codec.ZSTD,
        "clevel": 1,
        "filters": [blosc2.Filter.SHUFFLE if interpolated else blosc2.Filter.NOFILTER],
        "nthreads": 1,
    }
    array = np.ascontiguousarray(array)
    with _without_threads():
        blosc2.asarray(array, urlpath=str(path), chunks=chunks, blocks=blocks, cparams=cparams, mode="w")


@contextmanager
def _without_threads() -> Iterator[None]:
    """Blosc's own index of chunks is packed by new threads, chunk after chunk, whatever `nthreads` says."""
    before = os.environ.get("BLOSC_NTHREADS")
    os.environ["BLOSC_NTHREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["BLOSC_NTHREADS"]
        else:
            os.environ["BLOSC_NTHREADS"] = before
