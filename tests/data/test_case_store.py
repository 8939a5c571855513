"""A fingerprint that reads new and changed cases only equals one from nothing, whatever was kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import fingerprint, intensities
from autoseg.data.case_store import CaseStore, files_of
from autoseg.data.dataset import Case, load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.pipeline.prepare import raw_state

SHAPE = (6, 8, 10)


def add_case(root: Path, number: int, channels: int = 1, ending: str = ".mha") -> None:
    random = np.random.default_rng(number)
    label = (random.random(SHAPE) < 0.5).astype(np.uint8) * (number != 1)
    for channel in range(channels):
        values = random.normal(100 + channel, 20, SHAPE)
        # The first channel holds whole numbers, as CT does; the others are kept as floats.
        image = values.astype(np.int16) if channel == 0 else values.astype(np.float32)
        sitk.WriteImage(
            sitk.GetImageFromArray(image), str(root / "imagesTr" / f"c{number:02d}_{channel:04d}{ending}")
        )
    sitk.WriteImage(sitk.GetImageFromArray(label), str(root / "labelsTr" / f"c{number:02d}{ending}"))
    describe(root, channels, ending)


def describe(root: Path, channels: int = 1, ending: str = ".mha", **labels: int) -> None:
    about = {
        "channel_names": {str(n): f"MR{n}" for n in range(channels)},
        "labels": {"background": 0, **(labels or {"organ": 1})},
        "numTraining": len(list((root / "labelsTr").iterdir())),
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(about))


def data_set(place: Path, cases: int, channels: int = 1) -> Path:
    root = place / "Dataset001_Kept"
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for number in range(cases):
        add_case(root, number, channels)
    return root


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases whose images are read, in order."""
    found: list[str] = []
    read = fingerprint.read_images

    def noting(paths: tuple[Path, ...], reader: str) -> object:
        found.append(paths[0].name[:3])
        return read(paths, reader)

    monkeypatch.setattr(fingerprint, "read_images", noting)
    return found


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("samples", [1_000, 3_000, 100_000])  # from fewer draws than voxels to more
def test_adding_a_case_reads_a_case(
    channels: int, samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(intensities, "SAMPLES", samples)
    root, kept = data_set(tmp_path, 9, channels), tmp_path / "kept"
    first = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    assert first == extract_fingerprint(load_dataset(root), workers=1)
    for added in (9, 10):  # 11 cases are fewer than 5/4 of 9: the draws that were kept are enough
        add_case(root, added, channels)
        reads.clear()
        found = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
        assert set(reads) == {f"c{added:02d}"}
        assert found == extract_fingerprint(load_dataset(root), workers=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_any_growth_and_loss_gives_the_same(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(intensities, "SAMPLES", 900)
    root, kept = data_set(tmp_path, 4, channels), tmp_path / "kept"
    extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    for number in range(4, 10):
        add_case(root, number, channels)
    found = extract_fingerprint(load_dataset(root), workers=2, kept=kept)
    assert found == extract_fingerprint(load_dataset(root), workers=1)
    for path in (*root.glob("*/c0[0-6]*"),):
        path.unlink()
    describe(root, channels)
    found = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    assert found == extract_fingerprint(load_dataset(root), workers=1)
    assert sorted(path.name for path in kept.iterdir()) == [f"c0{n}.fingerprint" for n in (7, 8, 9)]


def test_a_changed_file_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    root, kept = data_set(tmp_path, 4), tmp_path / "kept"
    before = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    label = root / "labelsTr" / "c02.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones(SHAPE, np.uint8)), str(label))
    reads.clear()
    found = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    assert reads == ["c02"]
    assert before != found == extract_fingerprint(load_dataset(root), workers=1)


def test_another_content_of_the_same_size_and_date_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    """As programs write that set the date of what they copy (rsync, unzip, touch)."""
    root, kept = data_set(tmp_path, 4), tmp_path / "kept"
    before = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    label = root / "labelsTr" / "c02.mha"
    about, content = label.stat(), bytearray(label.read_bytes())
    content[-1] ^= 1
    label.write_bytes(content)
    os.utime(label, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (label.stat().st_size, label.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)
    reads.clear()
    found = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    assert reads == ["c02"]
    assert before != found == extract_fingerprint(load_dataset(root), workers=1)


def test_other_labels_are_another_request(tmp_path: Path, reads: list[str]) -> None:
    root, kept = data_set(tmp_path, 3), tmp_path / "kept"
    extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    describe(root, organ=1, tumour=2)
    reads.clear()
    found = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    assert len(reads) == 3
    assert found == extract_fingerprint(load_dataset(root), workers=1)


def test_a_damaged_store_is_made_anew(tmp_path: Path, reads: list[str]) -> None:
    root, kept = data_set(tmp_path, 3), tmp_path / "kept"
    whole = extract_fingerprint(load_dataset(root), workers=1, kept=kept)
    path = kept / "c00.fingerprint"
    sound = path.read_bytes()
    for number, damage in enumerate(
        (
            b"",
            b"\0" * len(sound),
            sound[:-1],
            sound + b" ",
            *(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :] for at in range(0, len(sound), 41)),
        )
    ):
        path.write_bytes(damage)
        reads.clear()
        assert extract_fingerprint(load_dataset(root), workers=1, kept=kept) == whole, number
        assert reads == ["c00"]
        assert path.read_bytes() == sound
    path.unlink()
    path.mkdir()  # nothing can be kept there, and nothing is lost by that
    assert extract_fingerprint(load_dataset(root), workers=1, kept=kept) == whole


def test_other_content_under_a_sound_head_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    root, kept = data_set(tmp_path, 3), tmp_path / "kept"
    dataset = load_dataset(root)
    whole = extract_fingerprint(dataset, workers=1, kept=kept)
    store = fingerprint._store(dataset, kept)
    for text in (b"", b"{}", b"[1, 2]", b"null", b'[{"shape": "x"}, {"types": ["O"], "sizes": [1]}]'):
        store.write(dataset.cases[0], store.key(dataset.cases[0]), text)
        reads.clear()
        assert extract_fingerprint(dataset, workers=1, kept=kept) == whole
        assert reads == ["c00"]


def test_a_file_that_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    case = Case("a", (tmp_path / "a_0000.mha",), None)
    store = CaseStore.at(tmp_path / "kept", "test", {}, [])
    case.images[0].write_bytes(b"one")
    key = store.key(case)
    case.images[0].write_bytes(b"another")
    store.write(case, key, b"{}")
    assert store.read(case, key) is None
    store.write(case, store.key(case), b"{}", b"numbers\nof lines")
    assert store.read(case, store.key(case)) == (b"{}", b"numbers\nof lines")


def test_the_code_and_the_request_are_part_of_the_key(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    case = Case("a", (tmp_path / "a_0000.mha",), None)

    def key(request: object, folder: Path) -> str:
        return CaseStore.at(tmp_path, "test", request, [folder]).key(case)

    assert key(1, code) == key(1, code) != key(2, code)
    other = shutil.copytree(code, tmp_path / "other")
    (other / "reader.py").write_text("")
    assert key(1, other) != key(1, code)


def spacing_beside(root: Path) -> tuple[Path, Path]:
    return root / "c00_0000.tif", root / "c00.json"


def voxels_beside(root: Path) -> tuple[Path, Path]:
    header = root / "c00_0000.mha"
    header.write_text("ObjectType = Image\nElementDataFile = c00.raw\n")
    return header, root / "c00.raw"


@pytest.mark.parametrize("beside", [spacing_beside, voxels_beside])
def test_what_lies_beside_an_image_counts(
    beside: Callable[[Path], tuple[Path, Path]], tmp_path: Path
) -> None:
    image, other = beside(tmp_path)
    case = Case("c00", (image,), None)
    assert other in files_of(case)
    store = CaseStore.at(tmp_path / "kept", "test", {}, [])
    without = store.key(case)
    other.write_text("{}")
    assert store.key(case) != without


def test_a_spacing_that_is_written_beside_a_volume_changes_the_state(tmp_path: Path) -> None:
    import tifffile

    root = tmp_path / "Dataset002_Tiff"
    for name, file in (("imagesTr", "a_0000.tif"), ("labelsTr", "a.tif")):
        (root / name).mkdir(parents=True)
        tifffile.imwrite(root / name / file, np.ones((4, 5, 6), np.uint8))
    describe(root, ending=".tif")
    before = raw_state(load_dataset(root))
    (root / "imagesTr" / "a.json").write_text('{"spacing": [1, 1, 5]}')
    assert raw_state(load_dataset(root)) != before
