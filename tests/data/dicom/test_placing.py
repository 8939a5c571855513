"""Geometry of every slice: rounding is tolerated, gaps are found, tilt is made upright, values are right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, enhanced, position, pydicom, save, slice_of, volume, write_series

from autoseg.data.dicom import Found, SeriesVolume, find_volumes, read_volume
from autoseg.data.dicom.regular import onto_grid, onto_source
from autoseg.data.dicom.suv import suv_factor
from autoseg.data.dicom.voxels import unreadable_voxels
from autoseg.data.image import ImageError

ANGLE = np.deg2rad(1.812)
NEAR = (np.cos(ANGLE), np.sin(ANGLE), 0.0, -np.sin(ANGLE), np.cos(ANGLE), 0.0)


def found_in(place: Path, mend: bool = False) -> Found:
    return find_volumes([path for path in sorted(place.rglob("*")) if path.is_file()], mend)


def only(place: Path, mend: bool = False) -> SeriesVolume:
    found = found_in(place, mend)
    assert not found.problems
    (stack,) = found.stacks
    return read_volume(stack)


def places(count: int, step: float, sideways: float = 0.0) -> list[list[float]]:
    return [[-10.0, -20.0 + k * sideways, 30.0 + k * step] for k in range(count)]


@pytest.mark.parametrize("decimals", [1, 2])
@pytest.mark.parametrize("step", [0.625, 1.25, 2.5])
@pytest.mark.parametrize("multi", [False, True])
def test_rounded_positions_are_even(tmp_path: Path, decimals: int, step: float, multi: bool) -> None:
    stored = volume(shape=(33, 12, 10))
    rounded = [[round(value, decimals) for value in place] for place in places(33, step)]
    if multi:
        save(enhanced(stored, rounded), tmp_path / "file")
    else:
        write_series(tmp_path, stored, positions=rounded)
    found = only(tmp_path)
    assert found.spacing[0] == pytest.approx(step, abs=0.004) and found.stack.placing.plain


@pytest.mark.parametrize("jitter", [1e-6, 2e-6, 1e-4, 1e-3])
def test_cosines_that_wobble_make_one_series(tmp_path: Path, jitter: float) -> None:
    noise = np.random.default_rng(1).uniform(-jitter, jitter, (12, 6))
    stored = volume(shape=(12, 12, 10))
    for k in range(12):
        cosines = np.array(NEAR) + noise[k]
        save(slice_of(stored[k], position(k, 2.0, NEAR, (0, 0, 0)), k + 1, tuple(cosines)), tmp_path / str(k))
    found = only(tmp_path)
    direction = np.reshape(found.direction, (3, 3))
    assert found.array.shape == (12, 12, 10) and found.spacing[0] == pytest.approx(2.0, abs=1e-3)
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert np.abs(direction[:, 0] - NEAR[:3]).max() < max(jitter, 1e-9)


def test_cosines_rounded_to_three_decimals_are_no_tilt(tmp_path: Path) -> None:
    turn = np.deg2rad([11.3, 23.7, 31.1])
    x, y, z = (np.array(m) for m in _rotations(*turn))
    axes = x @ y @ z
    cosines = (*axes[:, 0], *axes[:, 1])
    exact = [position(k, 2.0, cosines, (0, 0, 0)) for k in range(100)]
    write_series(tmp_path, volume(shape=(100, 12, 10)), positions=exact, cosines=tuple(np.round(cosines, 3)))
    found = only(tmp_path)
    assert found.stack.placing.plain and found.spacing[0] == pytest.approx(2.0, abs=1e-3)
    end = np.reshape(found.direction, (3, 3)) @ (0, 0, 99 * found.spacing[0]) + found.origin
    assert np.linalg.norm(end - exact[-1]) < 0.3


def _rotations(a: float, b: float, c: float) -> Sequence[list[list[float]]]:
    return (
        [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]],
        [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]],
        [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]],
    )


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("missing", [1, 4, 6])
def test_a_missing_slice_is_found_by_the_positions_and_mended_on_request(
    tmp_path: Path, multi: bool, missing: int
) -> None:
    stored = np.arange(8, dtype=np.uint16)[:, None, None] * 100 + np.zeros((8, 12, 10), np.uint16)
    left = [k for k in range(8) if k != missing]
    if multi:
        save(enhanced(stored[left], [places(8, 2.0)[k] for k in left]), tmp_path / "file")
    else:
        write_series(tmp_path, stored)[missing].unlink()
    (problem,) = found_in(tmp_path).problems
    assert "are 4 mm, between most slices 2 mm" in str(problem)
    mended = only(tmp_path, mend=True)
    assert np.array_equal(mended.array[:, 0, 0], np.arange(8) * 100 - 1024)
    assert mended.spacing == (2.0, 1.0, 1.0) and not mended.stack.placing.even


def test_uneven_steps_are_interpolated_between_the_slices_around(tmp_path: Path) -> None:
    heights = [0.0, 2.0, 4.0, 7.0, 9.0, 11.0]
    stored = (np.array(heights)[:, None, None] * 100 + np.zeros((6, 12, 10))).astype(np.uint16)
    write_series(tmp_path, stored, positions=[[0, 0, height] for height in heights])
    assert "are 3 mm, between most slices 2 mm" in str(found_in(tmp_path).problems[0])
    mended = only(tmp_path, mend=True)
    at = np.arange(len(mended.array)) * mended.spacing[0]
    assert np.allclose(mended.array[:, 0, 0] + 1024, at * 100, atol=0.01) and at[-1] == pytest.approx(11.0)


def test_wide_gaps_are_not_interpolated_and_slices_apart_are_refused(tmp_path: Path) -> None:
    heights = [0.0, 2.0, 4.0, 6.0, 16.0, 18.0]
    write_series(tmp_path / "gap", volume()[:6], positions=[[0, 0, height] for height in heights])
    (problem,) = found_in(tmp_path / "gap", mend=True).problems
    assert "are 10 mm" in str(problem) and "too wide to interpolate" in str(problem)
    far = [*places(7, 2.0), [1e6, -20.0, 44.0]]
    write_series(tmp_path / "apart", volume(), positions=far)
    (problem,) = found_in(tmp_path / "apart", mend=True).problems
    assert "lies 1e+06 mm beside" in str(problem) and "more than a slice is wide" in str(problem)


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("degrees", [12.0, -20.0])
def test_a_tilted_gantry_is_made_upright(tmp_path: Path, multi: bool, degrees: float) -> None:
    """A bar that stands upright in the patient is upright in the volume, at its place."""
    step, shear = 2.5, 2.5 * np.tan(np.deg2rad(degrees))
    y = np.arange(40) - 20.0
    stored = np.zeros((10, 40, 16), np.uint16)
    for k in range(10):
        stored[k, :, 5:9] = (np.abs(y + k * shear) <= 5)[:, None] * 1000
    if multi:
        save(enhanced(stored, places(10, step, shear)), tmp_path / "file")
    else:
        write_series(tmp_path, stored, positions=places(10, step, shear))
    found = only(tmp_path)
    assert found.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1) and found.spacing == (step, 1.0, 1.0)
    world = found.origin[1] + np.arange(found.array.shape[1])
    bar = found.array[:, :, 6] > -524
    inside = np.abs(world) <= 4
    assert bar[:, inside].all() and not bar[:, np.abs(world) >= 6.5].any()
    placing = found.stack.placing
    assert placing.tilt_mm > 4 and not placing.plain
    # Labels go onto the upright grid and back.
    drawn = stored > 500
    upright = onto_grid(drawn, placing, labels=True)
    assert np.array_equal(onto_source(upright, placing, 40, 16), drawn)


def test_a_shift_within_a_quarter_of_a_pixel_is_no_tilt(tmp_path: Path) -> None:
    write_series(tmp_path, volume(), positions=places(8, 2.0, 0.02))
    assert only(tmp_path).stack.placing.plain


def test_inverted_pictures_are_turned_round_but_not_hounsfield_units(tmp_path: Path) -> None:
    stored = volume()
    for name, modality, wanted in (("dx", "DX", 4095.0 - stored), ("ct", "CT", stored.astype(float))):
        for k in range(8):
            found = slice_of(stored[k], places(8, 2.0)[k], k + 1, Modality=modality, RescaleIntercept="0")
            found.PhotometricInterpretation, found.BitsStored, found.HighBit = "MONOCHROME1", 12, 11
            save(found, tmp_path / name / str(k))
        assert np.array_equal(only(tmp_path / name).array, wanted)


def test_padding_becomes_the_least_value_of_the_rest(tmp_path: Path) -> None:
    stored = volume().astype(np.int16)
    stored[:, :2] = -2000
    write_series(tmp_path / "signed", stored, PixelPaddingValue=-2000)
    array = only(tmp_path / "signed").array
    # Some programs write the value without the voxels' sign.
    other = tmp_path / "unsigned"
    write_series(other, stored)
    for path in other.iterdir():
        found = pydicom.dcmread(path)
        found.add_new(0x00280120, "US", 65536 - 2000)
        found.save_as(path)
    assert np.array_equal(only(other).array, array)
    assert array.min() == stored[:, 2:].min() - 1024 and (array[:, :2] == array.min()).all()


def pet(tmp_path: Path, **more: object) -> SeriesVolume:
    for k in range(8):
        found = slice_of(volume()[k], places(8, 2.0)[k], k + 1, Modality="PT", RescaleIntercept="0")
        found.Units, found.CorrectedImage, found.DecayCorrection = "BQML", ["ATTN", "DECY"], "START"
        found.PatientWeight, found.AcquisitionDate, found.AcquisitionTime = "70", "20200101", "120100"
        given = pydicom.Dataset()
        given.RadionuclideTotalDose, given.RadionuclideHalfLife = "350000000", "6586.2"
        given.RadiopharmaceuticalStartTime = "110000"
        found.RadiopharmaceuticalInformationSequence = pydicom.Sequence([given])
        for key, value in more.items():
            setattr(found, key, value)
        save(found, tmp_path / str(k))
    return only(tmp_path)


def test_pet_in_suv_counts_the_decay_from_injection_to_scan(tmp_path: Path) -> None:
    left = 350e6 * 2 ** (-3600 / 6586.2)
    assert suv_factor(pet(tmp_path / "start").stack) == pytest.approx(70000 / left)
    admin = pet(tmp_path / "admin", DecayCorrection="ADMIN")
    assert suv_factor(admin.stack) == pytest.approx(70000 / 350e6)
    assert suv_factor(pet(tmp_path / "gml", Units="GML").stack) == 1.0
    with pytest.raises(ImageError, match="no weight or no injected dose"):
        suv_factor(pet(tmp_path / "weight", PatientWeight=None).stack)
    with pytest.raises(ImageError, match="values in CNTS, where BQML is needed"):
        suv_factor(pet(tmp_path / "counts", Units="CNTS").stack)
    with pytest.raises(ImageError, match="is CT, not PET"):
        write_series(tmp_path / "ct", volume())
        suv_factor(only(tmp_path / "ct").stack)


def test_a_single_axial_slice_is_a_volume_of_its_thickness(tmp_path: Path) -> None:
    write_series(tmp_path, volume()[:1], cosines=AXIAL, SliceThickness=3.0)
    assert only(tmp_path).spacing == (3.0, 1.0, 1.0)


def test_compression_that_nothing_decodes_is_named_with_what_brings_a_decoder() -> None:
    said = "Unable to decompress 'JPEG 2000' pixel data because all plugins are missing dependencies:"
    told = str(unreadable_voxels(Path("slice"), RuntimeError(said)))
    assert "in a way that nothing here decodes" in told and "pip install 'autoseg-medical[dicom]'" in told


def test_voxels_that_cannot_be_decoded_name_their_file(tmp_path: Path) -> None:
    for path in write_series(tmp_path, volume()):
        found = pydicom.dcmread(path)
        found.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
        found.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
        found["PixelData"].VR = "OB"
        save(found, path)
    with pytest.raises(ImageError, match=r"IM0001 .*voxels that cannot be read|nothing here decodes"):
        only(tmp_path)
