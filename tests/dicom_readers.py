"""Results read back without the product: with pydicom's elements alone, and with dcmqi's programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import Series
from skimage.measure import points_in_poly


def program(name: str) -> str:
    """A program of another project, from the environment that runs the tests; skip the test without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        beside = Path(pydicom.__file__).parents[4] / "bin" / name
        found = str(beside) if beside.is_file() else None
    if found is None:
        pytest.skip(f"{name} is not installed (dcmqi and dicom3tools, of the extra dev)")
    return found


def near(places: np.ndarray) -> set[tuple[int, int, int]]:
    """Places in mm (n, 3) as a set, to a hundredth of a mm."""
    return set(map(tuple, np.round(places * 100).astype(np.int64).tolist()))


def seg_places(path: Path) -> dict[str, np.ndarray]:
    """Where the voxels of each segment of a SEG lie, mm (n, 3), by the elements of every frame."""
    found = pydicom.dcmread(path)
    frames = np.atleast_3d(found.pixel_array) if found.get("NumberOfFrames", 1) == 1 else found.pixel_array
    frames = frames.reshape(-1, found.Rows, found.Columns)
    shared = found.SharedFunctionalGroupsSequence[0]
    names = {int(each.SegmentNumber): str(each.SegmentLabel) for each in found.SegmentSequence}
    places: dict[str, list[np.ndarray]] = {name: [] for number, name in names.items() if number}
    for frame, about in zip(frames, found.PerFrameFunctionalGroupsSequence, strict=True):
        rows, columns = map(float, _of(about, shared, "PixelMeasuresSequence").PixelSpacing)
        cosines = np.array(_of(about, shared, "PlaneOrientationSequence").ImageOrientationPatient, float)
        start = np.array(_of(about, shared, "PlanePositionSequence").ImagePositionPatient, float)
        for number in _segments(about, found, frame):
            row, column = np.nonzero(frame == (number if found.SegmentationType == "LABELMAP" else 1))
            where = start + np.outer(column * columns, cosines[:3]) + np.outer(row * rows, cosines[3:])
            places[names[number]].append(where)
    return {name: np.concatenate([np.empty((0, 3)), *parts]) for name, parts in places.items()}


def _of(frame: Any, shared: Any, group: str) -> Any:
    return (frame if group in frame else shared)[group][0]


def _segments(about: Any, found: Any, frame: np.ndarray) -> list[int]:
    if found.SegmentationType == "LABELMAP":
        return [int(number) for number in np.unique(frame) if number]
    return [int(about.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]


def seg_references(path: Path) -> dict[tuple[int, int, int], tuple[str, int]]:
    """Position of each frame of a SEG, hundredths of a mm, to the instance and frame that it names."""
    found = pydicom.dcmread(path)
    named = {}
    for about in found.PerFrameFunctionalGroupsSequence:
        (place,) = near(np.array([about.PlanePositionSequence[0].ImagePositionPatient], float))
        (image,) = about.DerivationImageSequence[0].SourceImageSequence
        number = image.get("ReferencedFrameNumber")
        named[place] = (str(image.ReferencedSOPInstanceUID), int(number) if number else 0)
    return named


def contour_masks(path: Path, series: Series, how: str = "xor") -> dict[str, np.ndarray]:
    """The voxels (slice, row, column) whose centres lie in the contours of an RTSTRUCT.

    Args:
        path: the file.
        series: the series that it was drawn upon.
        how: what several contours in one plane make: ``xor`` or ``union``.
    """
    found = pydicom.dcmread(path)
    names = {int(each.ROINumber): str(each.ROIName) for each in found.StructureSetROISequence}
    centres = np.stack([index.ravel() for index in np.indices(series.labels.shape[1:])], axis=1)
    masks = {}
    for roi in found.ROIContourSequence:
        mask = masks[names[int(roi.ReferencedROINumber)]] = np.zeros(series.labels.shape, bool)
        for line in roi.get("ContourSequence", ()):
            points = np.array(line.ContourData, float).reshape(-1, 3)
            assert len(points) == int(line.NumberOfContourPoints)
            away = np.abs((points.mean(axis=0) - series.positions) @ series.axes[:, 2])
            slice_ = int(away.argmin())
            assert away[slice_] < 1e-3
            (image,) = line.ContourImageSequence
            number = image.get("ReferencedFrameNumber")
            named = (str(image.ReferencedSOPInstanceUID), int(number) if number else 0)
            assert named == series.uids[slice_]
            flat = (points - series.positions[slice_]) @ series.axes[:, [1, 0]] / series.spacing
            inside = points_in_poly(centres, flat).reshape(mask.shape[1:])
            mask[slice_] = mask[slice_] ^ inside if how == "xor" else mask[slice_] | inside
    return masks


def dcmqi_places(path: Path, folder: Path) -> dict[int, np.ndarray]:
    """Where the voxels of each segment of a SEG lie, mm (n, 3), as dcmqi's segimage2itkimage has them."""
    folder.mkdir()
    done = subprocess.run(
        [program("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-t", "nrrd"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    places: dict[int, list[np.ndarray]] = {}
    for file in sorted(folder.glob("*.nrrd")):
        image = sitk.ReadImage(str(file))
        array = sitk.GetArrayFromImage(image)
        direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        for number in np.unique(array[array > 0]):
            index = np.argwhere(array == number)[:, ::-1]
            places.setdefault(int(number), []).append(image.GetOrigin() + index @ direction.T)
    return {number: np.concatenate(parts) for number, parts in places.items()}


def complaints(path: Path) -> str:
    """What dciodvfy says against a DICOM file; empty if nothing.

    What a series itself lacks for a table of contents, a patient or a date, is no fault of a result.
    """
    done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    said = [line for line in lines if line.startswith(("Error", "Warning"))]
    return "\n".join(line for line in said if "needed to build DICOMDIR" not in line)
