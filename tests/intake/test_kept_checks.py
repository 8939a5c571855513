"""A verification that reads new and changed cases only has the findings of one from nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sound_data import declare, image, label, label_volume, truncate, volume, write
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.intake.verification import case_checks
from autoseg.intake.verification.dataset_check import verify

HUGE = np.float64(1e300)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, in order."""
    found: list[str] = []
    read = case_checks.read_file

    def noting(path: Path, reader: str, segmentation: bool = False) -> object:
        found.append(path.name)
        return read(path, reader, segmentation)

    monkeypatch.setattr(case_checks, "read_file", noting)
    return found


SPOILT: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "not a number": lambda root: write(image(root), np.full_like(volume(0), np.nan)),
    "beyond float32": lambda root: write(image(root), np.full(volume(0).shape, HUGE)),
    "constant": lambda root: write(image(root), np.zeros_like(volume(0))),
    "another grid": lambda root: write(image(root, 1), volume(1), origin=(0.0, 0.0, 0.0)),
    "turned label": lambda root: write(label(root), label_volume(), turn=1.0),
    "unknown label": lambda root: write(label(root), label_volume() + 7),
    "a label of fractions": lambda root: write(label(root), label_volume() + np.float32(0.5)),
    "truncated": lambda root: truncate(image(root)),
    "no label": lambda root: label(root).unlink(),
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_findings_are_those_of_a_run_from_nothing(
    spoil: str, raw: Path, tmp_path: Path, reads: list[str]
) -> None:
    SPOILT[spoil](raw)
    whole, kept = verify(raw, workers=1), tmp_path / "kept"
    assert verify(raw, workers=1, kept=kept) == whole
    reads.clear()
    assert verify(raw, workers=1, kept=kept) == whole
    # What may be the machine's fault is looked at again; all else is known.
    again = {"truncated", "no label"}
    assert {name[:2] for name in reads} == ({"c1"} if spoil in again else set())
    assert verify(raw, workers=2, kept=kept) == whole


def test_a_new_case_is_read_and_no_other(raw: Path, tmp_path: Path, reads: list[str]) -> None:
    kept = tmp_path / "kept"
    verify(raw, workers=1, kept=kept)
    for channel in (0, 1):
        write(raw / "imagesTr" / f"c9_{channel:04d}.nii.gz", volume(90 + channel))
    write(raw / "labelsTr" / "c9.nii.gz", label_volume())
    declare(raw, numTraining=5)
    reads.clear()
    found = verify(raw, workers=1, kept=kept)
    assert sorted(reads) == ["c9.nii.gz", "c9_0000.nii.gz", "c9_0001.nii.gz"]
    assert found == verify(raw, workers=1)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"background": 0, "core": 1}},
        {"labels": {"background": 0, "core": 2, "rim": 1}},
        {"channel_names": {"0": "T1"}},
        {"overwrite_image_reader_writer": "NibabelIO"},
    ],
)
def test_another_declaration_is_another_request(
    change: dict[str, object], raw: Path, tmp_path: Path, reads: list[str]
) -> None:
    kept = tmp_path / "kept"
    verify(raw, workers=1, kept=kept)
    declare(raw, **change)
    reads.clear()
    found = verify(raw, workers=1, kept=kept)
    assert len(reads) == 12
    assert found == verify(raw, workers=1)


def test_the_command_keeps_in_a_workspace_that_is_there(raw: Path, tmp_path: Path, reads: list[str]) -> None:
    place = tmp_path / "workspace"

    def run(*words: str) -> str:
        command = ["verify", str(raw), "--workspace", str(place), "--workers=1", "--json", *words]
        reads.clear()
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0
        return json.dumps(json.loads(result.stdout))

    first = run()
    assert not place.exists()
    place.mkdir()
    assert run() == first
    assert len(reads) == 12
    assert run() == first
    assert reads == []
    assert run("--again") == first
    assert len(reads) == 12


def test_a_store_of_something_else_is_made_anew(raw: Path, tmp_path: Path, reads: list[str]) -> None:
    kept = tmp_path / "kept"
    whole = verify(raw, workers=1, kept=kept)
    path = kept / "c1.verify"
    sound = path.read_bytes()
    for damage in (b"", sound[:-3], sound.replace(b"1", b"2"), b"\0" + sound):
        path.write_bytes(damage)
        reads.clear()
        assert verify(raw, workers=1, kept=kept) == whole
        assert len(reads) == 3
        assert path.read_bytes() == sound
