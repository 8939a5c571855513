"""Every file read by a second library: where two that are both in wide use differ, a header says two things.

| files | read by | and by |
|---|---|---|
| NIfTI | SimpleITK, or nibabel where the data set says so | the other one |
| TIFF | tifffile | SimpleITK |
| PNG, BMP | scikit-image | SimpleITK |

Other formats have no second library here; they are counted and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.formats import read_itk, read_nibabel
from autoseg.data.image import Image
from autoseg.data.readers import read_file
from autoseg.data.world import voxel_to_world
from autoseg.errors import DataError
from autoseg.intake.verification.findings import Finding, warning
from autoseg.system import progress

_NIFTI, _PICTURES = (".nii", ".nii.gz"), (".png", ".bmp", ".tif", ".tiff")
Read = Callable[[Path, bool], Image]


def check_with_second_library(dataset: Dataset) -> Iterator[Finding]:
    """Read every file twice, and compare values, voxel size and place."""
    second = _second_of(dataset)
    if second is None:
        message = f"No second library reads {dataset.file_ending} here, so that nothing was compared."
        yield warning("no_second_library", message, "Convert a case to NIfTI to have it compared.")
        return
    name, read = second
    with progress.stage("Second library", len(dataset.cases)) as advance:
        for case in dataset.cases:
            for path, label in _files(case):
                if difference := _difference(dataset, path, label, read):
                    message = f"{name} reads another {difference} from this file than what training reads."
                    remedy = "Look at it in a viewer, and write it anew with the header that is right."
                    yield warning("readers_disagree", message, remedy, case=case.identifier, file=path)
            advance()


def _second_of(dataset: Dataset) -> tuple[str, Read] | None:
    if dataset.file_ending in _NIFTI:
        nibabel = dataset.reader.startswith("Nibabel")
        return ("SimpleITK", read_itk) if nibabel else ("nibabel", read_nibabel)
    return ("SimpleITK", _picture) if dataset.file_ending in _PICTURES else None


def _picture(path: Path, label: bool) -> Image:
    """A picture or a TIFF volume as SimpleITK has it, colours first: (channels, z, y, x)."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    colours = image.GetNumberOfComponentsPerPixel() > 1
    array = np.moveaxis(array, -1, 0) if colours else array[None]
    return Image(array if array.ndim == 4 else array[:, None], (1.0, 1.0, 1.0), {})


def _files(case: Case) -> Iterator[tuple[Path, bool]]:
    yield from ((path, False) for path in case.images)
    if case.label is not None:
        yield case.label, True


def _difference(dataset: Dataset, path: Path, label: bool, read: Read) -> str:
    """What differs, in a word; empty if nothing does, or if the first reader has a finding of its own."""
    try:
        one = read_file(path, dataset.reader, segmentation=label)
    except DataError:
        return ""
    try:
        other = read(path, label)
    except (DataError, RuntimeError):
        return "format (it refuses it)"
    if one.array.size != other.array.size:
        return "shape"
    if not np.array_equal(_values(one), _values(other)):
        return "value of voxels"
    if dataset.file_ending not in _NIFTI:
        return ""
    if not np.allclose(one.spacing, other.spacing, rtol=1e-4):
        return "voxel size"
    return "place" if _moved(one, other) else ""


def _values(image: Image) -> np.ndarray:
    """All values, without axes of length one."""
    return image.array.astype(np.float32).squeeze()


def _moved(one: Image, other: Image) -> bool:
    """Whether the corners of the image lie more than a hundredth of a voxel apart."""
    first, second = voxel_to_world(one), voxel_to_world(other)
    if first is None or second is None:
        return False
    size = np.array(one.array.shape[:0:-1])
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij"), -1).reshape(-1, 3)
    apart = np.linalg.norm(corners @ (first - second)[:, :3].T + (first - second)[:, 3], axis=1)
    return bool(apart.max() > 0.01 * min(one.spacing))
