"""Time points under one series: never interleaved, whatever states the time, and however places shift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import AXIAL, enhanced, position, pydicom, save, slice_of, volume

from autoseg.data.dicom import Found, find_volumes, read_volume


def found_in(place: Path) -> Found:
    return find_volumes([path for path in sorted(place.rglob("*")) if path.is_file()], False)


def places(count: int, step: float = 2.0, start: float = 30.0) -> list[list[float]]:
    return [position(k, step, AXIAL, (-10.0, -20.0, start)) for k in range(count)]


_POINTS = {
    "TemporalPositionIdentifier": lambda t, k: {"TemporalPositionIdentifier": t + 1},
    "TriggerTime": lambda t, k: {"TriggerTime": str(40 * t + 10)},
    "AcquisitionTime": lambda t, k: {"AcquisitionTime": f"1010{10 * t + k:02d}.00"},
    "AcquisitionDateTime": lambda t, k: {"AcquisitionDateTime": f"202401011010{10 * t + k:02d}.00"},
    "FrameReferenceTime": lambda t, k: {"FrameReferenceTime": str(1000 * t + 500)},
    "ContentTime": lambda t, k: {"ContentTime": f"1010{10 * t + k:02d}.00"},
}


@pytest.mark.parametrize("shift", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", _POINTS)
def test_time_points_of_a_series_are_never_interleaved(tmp_path: Path, kind: str, shift: float) -> None:
    """Also where each lies a little further on, so that all their slices together are evenly spaced."""
    wanted = [volume(t)[:6].astype(int) - 1024 for t in range(3)]
    for t in range(3):
        for k in range(6):
            place = places(6, start=30.0 + shift * t)[k]
            save(slice_of(volume(t)[k], place, 3 * k + t + 1, **_POINTS[kind](t, k)), tmp_path / f"{k}_{t}")
    found = found_in(tmp_path)
    assert len(found.stacks) == 3
    for stack, one in zip(found.stacks, wanted, strict=True):
        assert np.array_equal(read_volume(stack).array, one)


_GROUPS = {
    "TemporalPositionIndex": lambda t, k: ("FrameContentSequence", t + 1),
    "FrameAcquisitionDateTime": lambda t, k: ("FrameContentSequence", f"202401011010{10 * t + k:02d}.00"),
    "TemporalPositionTimeOffset": lambda t, k: ("TemporalPositionSequence", 10.0 * t),
    "NominalCardiacTriggerDelayTime": lambda t, k: ("CardiacSynchronizationSequence", 40.0 * t),
    "NominalPercentageOfCardiacPhase": lambda t, k: ("CardiacSynchronizationSequence", 30.0 * t),
}


@pytest.mark.parametrize("shift", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("kind", _GROUPS)
def test_time_points_of_a_multi_frame_file_are_never_interleaved(
    tmp_path: Path, kind: str, shift: float
) -> None:
    cells = [(t, k) for k in range(6) for t in range(3)]
    stored = np.stack([volume(t)[k] for t, k in cells])
    made = enhanced(stored, [places(6, start=30.0 + shift * t)[k] for t, k in cells])
    for item, (t, k) in zip(made.PerFrameFunctionalGroupsSequence, cells, strict=True):
        name, value = _GROUPS[kind](t, k)
        if name not in item:
            setattr(item, name, pydicom.sequence.Sequence([pydicom.dataset.Dataset()]))
        setattr(getattr(item, name)[0], kind, value)
    save(made, tmp_path / "file")
    found = found_in(tmp_path)
    assert len(found.stacks) == 3
    for t, stack in enumerate(found.stacks):
        assert np.array_equal(read_volume(stack).array, volume(t)[:6].astype(int) - 1024)
        assert "2024" not in stack.part  # a date


@pytest.mark.parametrize("shift", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(
    "pointers", [(0x00209056, 0x00209128, 0x00200032), (0x00209056, 0x00209128, 0x00209057), ()]
)
def test_time_points_that_only_the_dimensions_of_a_file_state(
    tmp_path: Path, pointers: tuple[int, ...], shift: float
) -> None:
    """A file may say that its second dimension is time (or nothing of the kind), and number no time point."""
    for times in (2, 3):
        cells = [(t, k) for k in range(6) for t in range(times)]
        content = [{"StackID": "1", "DimensionIndexValues": [1, t + 1, k + 1]} for t, k in cells]
        made = enhanced(
            np.stack([volume(t)[k] for t, k in cells]),
            [places(6, start=30.0 + shift * t)[k] for t, k in cells],
            content=content,
        )
        items = [pydicom.dataset.Dataset() for _ in pointers]
        for item, pointer in zip(items, pointers, strict=True):
            item.DimensionIndexPointer = pointer
        made.DimensionIndexSequence = pydicom.sequence.Sequence(items)
        save(made, tmp_path / "file")
        found = found_in(tmp_path)
        assert len(found.stacks) == times
        for t, stack in enumerate(found.stacks):
            assert np.array_equal(read_volume(stack).array, volume(t)[:6].astype(int) - 1024)


@pytest.mark.parametrize("each", ["place", "time"])
@pytest.mark.parametrize("times", [2, 3])
def test_time_points_that_only_repeated_instance_numbers_state(tmp_path: Path, times: int, each: str) -> None:
    """Evenly shifted, files place by place; the number counts the places, or the times at each place."""
    for k in range(6):
        for t in range(times):
            place = places(6, start=30.0 + 2.0 / times * t)[k]
            number = {"place": k + 1, "time": t + 1}[each]
            made = slice_of(volume(t)[k], place, times * k + t + 1, InstanceNumber=number)
            save(made, tmp_path / f"{times * k + t}")
    found = found_in(tmp_path)
    assert [stack.part for stack in found.stacks] == [f"repetition {t + 1}" for t in range(times)]
    for t, stack in enumerate(found.stacks):
        assert np.array_equal(read_volume(stack).array, volume(t)[:6].astype(int) - 1024)


def test_passes_of_one_volume_that_are_each_numbered_from_one_stay_together(tmp_path: Path) -> None:
    """Slices are as thick as the distance of neighbours, or all have one number."""
    for k in range(8):
        for name, number in (("passes", k // 2 + 1), ("alike", 1)):
            made = slice_of(volume()[k], places(8)[k], k + 1, InstanceNumber=number)
            save(made, tmp_path / name / f"{k}")
    for name in ("passes", "alike"):
        assert [stack.placing.shape for stack in found_in(tmp_path / name).stacks] == [(8, 12, 10)]


def test_no_date_of_an_exam_names_a_time_point(tmp_path: Path) -> None:
    for t in range(2):
        for k in range(6):
            when = {"AcquisitionDateTime": f"202401{11 + t}101000.00"}
            save(slice_of(volume(t)[k], places(6)[k], 6 * t + k, **when), tmp_path / f"{t}_{k}")
    assert [stack.part for stack in found_in(tmp_path).stacks] == ["acquisition time 1", "acquisition time 2"]
