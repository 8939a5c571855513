"""Series to volumes: values, spacing, origin and direction come from every slice's own header."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, enhanced, position, save, volume, write_series

from autoseg.data.dicom import SeriesVolume, find_volumes, read_volume, voxels
from autoseg.data.image import ImageError

TURNED = (0.8660254037844387, 0.5, 0.0, -0.5, 0.8660254037844387, 0.0)
PLANES = {
    "axial": AXIAL,
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "oblique": TURNED,
}


def only_volume(*places: Path) -> SeriesVolume:
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]
    found = find_volumes(files)
    assert not found.problems and not found.left_out
    (stack,) = found.stacks
    return read_volume(stack)


def value_at(found: SeriesVolume, place: Sequence[float]) -> float:
    """The value of the voxel whose centre is a place in the patient."""
    axes = np.reshape(found.direction, (3, 3)) * np.array(found.spacing[::-1])
    x, y, z = np.linalg.solve(axes, np.subtract(place, found.origin))
    index = np.rint((z, y, x)).astype(int)
    assert np.abs(index - (z, y, x)).max() < 0.01
    return float(found.array[tuple(index)])


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("multi", [False, True])
def test_every_voxel_lies_where_its_slice_says(
    tmp_path: Path, plane: str, backwards: bool, multi: bool
) -> None:
    stored, cosines = volume(), PLANES[plane]
    places = [position(-k if backwards else k, 2.5, cosines, (5, -7, 11)) for k in range(len(stored))]
    if multi:
        save(enhanced(stored, places, cosines, (0.7, 0.9)), tmp_path / "file")
    else:
        write_series(tmp_path, stored, positions=places, cosines=cosines, spacing=(0.7, 0.9))
    found = only_volume(tmp_path)
    assert np.allclose(found.spacing, (2.5, 0.7, 0.9))
    row, column = np.reshape(cosines, (2, 3))
    for z, y, x in [(0, 0, 0), (7, 11, 9), (2, 3, 4), (5, 1, 8)]:
        place = np.array(places[z]) + row * 0.9 * x + column * 0.7 * y
        assert value_at(found, place) == stored[z, y, x] - 1024.0
    for number, frame in enumerate(found.slices):
        (index,) = [k for k, place in enumerate(places) if np.allclose(place, frame.position)]
        assert np.array_equal(found.array[number], stored[index].astype(int) - 1024)
        assert frame.number == (index + 1 if multi else None)


def test_a_compressed_series_without_uids_is_read_as_simpleitk_reads_it(
    shared_data: Callable[[str], Path],
) -> None:
    folder = shared_data("intake_quirks/ct_dicom_20slices")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    wanted = reader.Execute()
    found = only_volume(folder)
    assert np.array_equal(found.array, sitk.GetArrayFromImage(wanted)) and found.array.dtype == np.int16
    assert np.allclose(found.spacing[::-1], wanted.GetSpacing()) and np.allclose(
        found.origin, wanted.GetOrigin()
    )
    assert found.direction == wanted.GetDirection()


@pytest.mark.parametrize("element", [b"\x02\x00\x02\x00", b"\x02\x00\x03\x00"])
def test_a_file_whose_own_group_cannot_be_parsed_is_left_out(tmp_path: Path, element: bytes) -> None:
    path = write_series(tmp_path, volume())[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(element + b"UI", element + b"U?", 1))
    (left_out,) = find_volumes([path]).left_out
    assert left_out.broken and "damaged" in left_out.reason


def test_voxels_of_another_size_than_the_header_says_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path, volume())
    (stack,) = find_volumes(files).stacks
    stored = voxels._stored
    monkeypatch.setattr(voxels, "_stored", lambda *given: stored(*given)[:, 1:])
    with pytest.raises(ImageError, match=r"IM\d+ .*1 x 11 x 10 values, where the header says 1 x 12 x 10"):
        read_volume(stack)
