"""What makes one volume: repetitions, acquisitions, stacks, copies, localizers, objects without an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    AXIAL,
    CT,
    dataset,
    enhanced,
    pixels,
    position,
    pydicom,
    save,
    slice_of,
    uid,
    volume,
    write_series,
)

from autoseg.data.dicom import Found, find_volumes, is_dicom, read_volume

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def found_in(place: Path, mend: bool = False) -> Found:
    return find_volumes([path for path in sorted(place.rglob("*")) if path.is_file()], mend)


def reasons(found: Found) -> dict[str, str]:
    return {each.path.name: each.reason for each in found.left_out}


def places(count: int, step: float = 2.0, start: float = 30.0) -> list[list[float]]:
    return [position(k, step, AXIAL, (-10.0, -20.0, start)) for k in range(count)]


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_acquisitions_under_one_uid_are_volumes_of_their_own(tmp_path: Path, shift: float) -> None:
    first, second = volume(1), volume(2)
    for k in range(8):
        save(slice_of(first[k], places(8)[k], k + 1, AcquisitionNumber=1), tmp_path / f"a{k}")
        later = places(8, start=30.0 + shift)[k]
        save(slice_of(second[k], later, 100 + k, AcquisitionNumber=2), tmp_path / f"b{k}")
    found = found_in(tmp_path)
    assert [stack.part for stack in found.stacks] == ["acquisition 1", "acquisition 2"]
    for stack, stored in zip(found.stacks, (first, second), strict=True):
        assert np.array_equal(read_volume(stack).array, stored.astype(int) - 1024)


def test_passes_of_one_acquisition_stay_one_volume(tmp_path: Path) -> None:
    """Odd slices first, then even ones, as thick as the distance of neighbours."""
    stored = volume()
    for k in range(8):
        save(slice_of(stored[k], places(8)[k], k + 1, AcquisitionNumber=1 + k % 2), tmp_path / f"{k}")
    (stack,) = found_in(tmp_path).stacks
    assert stack.part == "" and stack.placing.shape == (8, 12, 10)


def test_repetitions_without_a_mark_follow_the_instance_numbers(tmp_path: Path) -> None:
    for run in range(3):
        for k in range(8):
            save(slice_of(volume(run)[k], places(8)[k], 8 * run + k + 1), tmp_path / f"{run}_{k}")
    found = found_in(tmp_path)
    assert [stack.part for stack in found.stacks] == ["repetition 1", "repetition 2", "repetition 3"]
    assert np.array_equal(read_volume(found.stacks[2]).array, volume(2).astype(int) - 1024)


def test_slices_in_one_place_that_nothing_tells_apart_are_a_problem(tmp_path: Path) -> None:
    write_series(tmp_path, volume())
    save(slice_of(volume(3)[2], places(8)[2], 77), tmp_path / "again")
    (problem,) = found_in(tmp_path).problems
    assert "again and" in str(problem) or "and" in str(problem)
    assert "lie in one place" in str(problem) and "Export each as a series of its own" in str(problem)


def test_phases_and_stacks_in_one_multi_frame_file_are_told_apart(tmp_path: Path) -> None:
    stored = np.concatenate([volume(1), volume(2)])
    phases = [{"TemporalPositionIndex": 1 + k // 8} for k in range(16)]
    save(enhanced(stored, places(8) * 2, content=phases), tmp_path / "phases" / "file")
    found = found_in(tmp_path / "phases")
    assert [stack.part for stack in found.stacks] == ["time point 1", "time point 2"]
    assert np.array_equal(read_volume(found.stacks[1]).array, volume(2).astype(int) - 1024)
    across = [position(k, 2.0, SAGITTAL, (0, 0, 0)) for k in range(8)]
    save(enhanced(stored, [*places(8), *across], [AXIAL] * 8 + [SAGITTAL] * 8), tmp_path / "stacks" / "file")
    found = found_in(tmp_path / "stacks")
    assert [stack.part for stack in found.stacks] == ["plane 1", "plane 2"]
    assert {stack.placing.direction[:3] for stack in found.stacks} == {(1, 0, 0), (0, 0, -1)}


def test_frames_in_any_order_with_a_rescale_of_their_own_are_right(tmp_path: Path) -> None:
    stored = volume()
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    rescale = [(1.0 + 0.25 * k, -1000.0) for k in range(8)]
    shuffled = [places(8)[k] for k in order], [rescale[k] for k in order]
    save(enhanced(stored[order], shuffled[0], rescale=shuffled[1]), tmp_path / "file")
    (stack,) = found_in(tmp_path).stacks
    wanted = stored * np.array([slope for slope, _ in rescale])[:, None, None] - 1000.0
    read = read_volume(stack)
    assert np.allclose(read.array, wanted) and read.spacing == (2.0, 1.0, 1.0)
    assert [frame.number for frame in read.slices] == [order.index(k) + 1 for k in range(8)]


def test_a_series_in_two_folders_is_one_and_two_in_one_folder_are_two(tmp_path: Path) -> None:
    for k, path in enumerate(write_series(tmp_path, volume())):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        path.rename(tmp_path / "ab"[k % 2] / path.name)
    write_series(tmp_path / "a", volume(1), series=2, names="other{:02d}")
    assert [len(stack.frames) for stack in found_in(tmp_path).stacks] == [8, 8]


def test_copies_of_an_object_are_dropped_but_not_slices_that_share_a_uid(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", volume())
    (tmp_path / "b").mkdir()
    for path in paths:
        (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    found = found_in(tmp_path)
    assert found.copies == 8 and [len(stack.frames) for stack in found.stacks] == [8]
    for k in range(8):
        bad = slice_of(volume()[k], places(8)[k], k + 1)
        bad.SOPInstanceUID = bad.file_meta.MediaStorageSOPInstanceUID = uid(1)
        save(bad, tmp_path / "anonymised" / str(k))
    found = found_in(tmp_path / "anonymised")
    assert found.copies == 0 and [len(stack.frames) for stack in found.stacks] == [8]


def test_localizers_single_slices_and_screens_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, volume(shape=(12, 12, 10)))
    write_series(
        tmp_path, volume()[:1], series=2, names="topogram", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    write_series(tmp_path, volume(), series=3, names="survey{}", SeriesDescription="3-plane localizer")
    write_series(tmp_path, volume()[:1], series=4, names="alone")
    for number, cosines in enumerate((AXIAL, SAGITTAL)):
        write_series(tmp_path, volume()[:3], series=5, cosines=cosines, names=f"plane{number}_{{}}", study=1)
    write_series(tmp_path, volume()[:1], cosines=SAGITTAL, names="across")
    screen = slice_of(volume()[0], places(1)[0], 1, series=6)
    screen.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    save(screen, tmp_path / "screen")
    coloured = slice_of(volume()[0], places(1)[0], 1, series=7)
    coloured.SamplesPerPixel, coloured.PhotometricInterpretation, coloured.BitsAllocated = 3, "RGB", 8
    save(coloured, tmp_path / "coloured")
    found = found_in(tmp_path)
    assert [len(stack.frames) for stack in found.stacks] == [12] and not found.problems
    why = reasons(found)
    assert why["topogram"] == "a localizer" and why["survey1"] == "a localizer, by its description"
    assert why["alone"] == "a single slice among volumes" and why["screen"] == "a secondary capture"
    assert (
        why["plane0_1"].startswith("a few slices in several planes")
        and why["coloured"] == "a picture in colour"
    )
    assert why["across"] == "a slice in another plane or size than the other 12 of its series"


OBJECTS = {
    "88.11": "a structured report",
    "88.59": "a selection of key objects",
    "88.67": "a radiation dose report",
    "104.1": "an encapsulated document (PDF, CDA, model)",
    "11.1": "a presentation state",
    "481.5": "a radiotherapy plan or record",
    "481.2": "a radiotherapy dose",
    "66": "raw data",
    "66.1": "a registration",
    "4.2": "spectroscopy",
    "9.1.1": "a waveform",
    "481.3": "a SEG or RTSTRUCT without a structure",
    "66.4": "a SEG or RTSTRUCT without a structure",
    "9999.1": "an object without an image",
}


@pytest.mark.parametrize("ending", OBJECTS)
def test_objects_without_an_image_are_left_out_with_their_kind(tmp_path: Path, ending: str) -> None:
    write_series(tmp_path, volume())
    save(dataset(f"1.2.840.10008.5.1.4.1.1.{ending}", uid(9, 1), series=9, Modality="OT"), tmp_path / "other")
    found = found_in(tmp_path)
    assert len(found.stacks) == 1 and reasons(found) == {"other": OBJECTS[ending]}


def test_slices_without_a_preamble_are_read_and_broken_ones_listed(tmp_path: Path) -> None:
    import pydicom

    paths = write_series(tmp_path, volume())
    for path in paths[5:]:
        plain = pydicom.Dataset(pydicom.dcmread(path))
        pydicom.dcmwrite(path, plain, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM" and is_dicom(path)
    (stack,) = found_in(tmp_path).stacks
    assert np.array_equal(read_volume(stack).array, volume().astype(int) - 1024)
    paths[7].write_bytes(b"")
    paths[6].write_bytes(paths[6].read_bytes()[:100])
    paths[0].write_bytes(paths[0].read_bytes()[:-50])
    (tmp_path / "notes.txt").write_text("Slices of a phantom, made up for a test. " * 9)
    found = found_in(tmp_path)
    assert reasons(found) == {
        "IM0001": "damaged: cut off, 50 bytes are missing",
        "IM0007": "no DICOM, or cut off (100 bytes)",
        "IM0008": "empty",
        "notes.txt": "no DICOM",
    }
    assert [len(stack.frames) for stack in found.stacks] == [5]
    paths[3].write_bytes(b"")
    (problem,) = found_in(tmp_path).problems
    assert "are 4 mm, between most slices 2 mm" in str(problem) and "IM0004 (empty)" in str(problem)


def test_images_without_a_place_are_pictures_or_left_out(tmp_path: Path) -> None:
    for k in range(2):
        flat = slice_of(
            volume()[k], places(2)[k], k + 1, Modality="DX", study=k + 1, ImagerPixelSpacing=[0.2, 0.3]
        )
        del flat.ImagePositionPatient, flat.ImageOrientationPatient, flat.PixelSpacing
        save(flat, tmp_path / "dx" / f"{k}")
        flat.Modality, flat.SOPClassUID = "MR", CT
        save(flat, tmp_path / "mr" / f"{k}")
    found = found_in(tmp_path / "dx")
    assert [stack.placing.spacing for stack in found.stacks] == [(1.0, 0.2, 0.3)] * 2
    assert set(reasons(found_in(tmp_path / "mr")).values()) == {"an image that does not state where it lies"}


def test_files_that_announce_more_than_they_hold_or_describe_no_frame_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, volume())
    packed = enhanced(volume(), places(8), series=2)
    packed.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    packed.PixelData = pydicom.encaps.encapsulate([b"\0" * 8] * 8)
    packed["PixelData"].VR = "OB"
    packed.Rows = packed.Columns = 65535
    save(packed, tmp_path / "packed")
    plain = enhanced(volume(), places(8), series=3)
    del plain.PerFrameFunctionalGroupsSequence, plain.SharedFunctionalGroupsSequence
    save(plain, tmp_path / "plain")
    found = found_in(tmp_path)
    assert len(found.stacks) == 1 and "cannot hold" in reasons(found)["packed"]
    assert reasons(found)["plain"] == "an image that does not state where it lies"


def test_frames_at_a_regular_step_are_placed_and_projections_are_not(tmp_path: Path) -> None:
    """As nuclear medicine writes volumes: one position and a step, which may run backwards."""
    whole = dataset("1.2.840.10008.5.1.4.1.1.20", uid(4, 1), series=4, Modality="NM", InstanceNumber=1)
    whole.ImageType, whole.PixelSpacing = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], [1.5, 1.5]
    detector = pydicom.Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [1, 2, 50], list(AXIAL)
    whole.DetectorInformationSequence, whole.SpacingBetweenSlices = pydicom.Sequence([detector]), "-2.5"
    pixels(whole, volume())
    whole.NumberOfFrames = 8
    save(whole, tmp_path / "nm")
    (stack,) = found_in(tmp_path).stacks
    read = read_volume(stack)
    assert read.spacing == (2.5, 1.5, 1.5) and read.origin == (1.0, 2.0, 32.5)
    assert np.array_equal(read.array, volume()[::-1])
    whole.ImageType = ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    save(whole, tmp_path / "nm")
    assert reasons(found_in(tmp_path)) == {"nm": "an image that does not state where it lies"}


def test_a_slice_with_senseless_geometry_or_rescale_is_listed_and_leaves_a_hole(tmp_path: Path) -> None:
    for name, change, reason in (
        ("cosines", {"ImageOrientationPatient": [0] * 6}, "an image that does not state where it lies"),
        ("slope", {"RescaleSlope": "0"}, "damaged: RescaleSlope is 0"),
    ):
        write_series(tmp_path / name, volume())
        bad = pydicom.dcmread(tmp_path / name / "IM0004")
        for keyword, value in change.items():
            setattr(bad, keyword, value)
        save(bad, tmp_path / name / "IM0004")
        found = found_in(tmp_path / name)
        assert reasons(found) == {"IM0004": reason} and "are 4 mm" in str(found.problems[0])
    for path in write_series(tmp_path / "size", volume()):
        bad = pydicom.dcmread(path)
        bad.PixelSpacing = [0, 0]
        save(bad, path)
    assert "does not state how large its pixels are" in str(found_in(tmp_path / "size").problems[0])


def test_mosaics_are_left_out_and_volumes_of_programs_without_a_class_are_taken(tmp_path: Path) -> None:
    for k in range(8):
        found = slice_of(volume()[k], places(8)[k], k + 1, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
        save(found, tmp_path / "mosaic" / str(k))
        found.SOPClassUID, found.ImageType = "1.2.840.10008.5.1.4.1.1.7", ["DERIVED", "SECONDARY"]
        save(found, tmp_path / "program" / str(k))
    assert set(reasons(found_in(tmp_path / "mosaic")).values()) == {
        "a mosaic of slices (Siemens); export it as slices or multi-frame"
    }
    assert len(found_in(tmp_path / "program").stacks) == 1


def test_phases_of_a_heart_are_told_apart_by_their_rank_at_each_place(tmp_path: Path) -> None:
    """Trigger times are measured anew at each place; files come place by place."""
    noise = np.random.default_rng(0).uniform(-5, 5, (6, 3)).round(1)
    for k in range(6):
        for phase in range(3):
            time = str(40.0 * phase + noise[k, phase] + 20)
            found = slice_of(volume(phase)[k], places(6)[k], 3 * k + phase + 1, TriggerTime=time)
            save(found, tmp_path / f"{k}_{phase}")
    found = found_in(tmp_path)
    assert [stack.part for stack in found.stacks] == ["phase 1", "phase 2", "phase 3"]
    assert np.array_equal(read_volume(found.stacks[1]).array, volume(1)[:6].astype(int) - 1024)


def test_overlapping_slices_of_one_volume_stay_together(tmp_path: Path) -> None:
    """Slices of 2 mm at every 0.7 mm, as CT is made; and two passes of one volume, by their times."""
    for k in range(8):
        place = places(8, step=0.7)[k]
        times = {"AcquisitionTime": f"1010{k // 3:02d}.00", "ContentTime": f"1011{k:02d}.00"}
        save(slice_of(volume()[k], place, k + 1, **times), tmp_path / "ct" / f"{k}")
    (stack,) = found_in(tmp_path / "ct").stacks
    assert stack.placing.shape == (8, 12, 10)
    for n, k in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
        times = {"AcquisitionTime": f"1010{n:02d}.00", "TriggerTime": str(100 + 400 * (k % 2))}
        save(slice_of(volume()[k], places(8)[k], n + 1, **times), tmp_path / "passes" / f"{k}")
    (stack,) = found_in(tmp_path / "passes").stacks
    assert stack.placing.shape == (8, 12, 10)


def test_bolus_tracking_and_screens_in_one_place_stop_nobody(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", volume())
    write_series(tmp_path / "bolus", volume(), series=2, positions=[[0, 0, 40]] * 8)
    for k in range(3):
        screen = slice_of(volume()[k], places(2)[k // 2], k + 1, series=3)
        screen.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        save(screen, tmp_path / "screens" / f"screen{k}")
    found = found_in(tmp_path)
    assert len(found.stacks) == 1 and not found.problems
    why = reasons(found)
    assert (
        why["IM0003"] == "slices in one place, as of bolus tracking or a film"
        and why["screen0"] == "a secondary capture"
    )


def test_a_slice_that_is_missing_between_two_passes_is_found(tmp_path: Path) -> None:
    """Each pass is even in itself; together they lack the slice between them."""
    for k in (0, 1, 2, 3, 5, 6, 7):
        save(slice_of(volume()[k], places(8)[k], k + 1, AcquisitionNumber=1 + k // 4), tmp_path / str(k))
    found = found_in(tmp_path)
    assert not found.stacks and "are 4 mm, between most slices 2 mm" in str(found.problems[0])
