"""Nothing of a patient is written: no name, id, date or path of the source, in any file of the workspace."""

from __future__ import annotations

import gzip
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import volume, write_series
from dicom_labels import write_seg
from test_dicom_labels import brought, masks_of
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.errors import DataError
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.pseudonyms import Pseudonyms
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

# What the headers of these series and the folders' names hold of patients.
TELLTALE = re.compile(rb"doe|synthia|mrn77|19500203|acc4711|1\.2\.826\.0\.1\.3680043\.10\.999", re.IGNORECASE)


def scans(tmp_path: Path) -> Path:
    source = tmp_path / "scans" / "Doe_Synthia"
    for number in (1, 2):
        for series in (1, 2):
            folder = source / f"MRN77{number:04d}" / f"se{series}"
            stored = volume(10 * number + series)
            sources = write_series(folder, stored, patient=number, series=series, study=number)
            write_seg(folder / "seg", sources, masks_of(stored), ["liver", "tumour"], series=60 + series)
    (source / "MRN770001" / "report").write_text("Synthia Doe, born 1950-02-03")
    os.mkfifo(source / "MRN770001" / "Doe_pipe")
    return source


def written(root: Path) -> dict[Path, bytes]:
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {path: gzip.decompress(raw) if path.suffix == ".gz" else raw for path, raw in files.items()}


def test_nothing_that_is_written_says_who_a_patient_is(tmp_path: Path) -> None:
    source = scans(tmp_path)
    options = ["import", str(source), "--name", "Case", "--workspace", str(tmp_path / "workspace"), "--quiet"]
    told = CliRunner().invoke(app, options)
    assert told.exit_code == 0, told.output
    (root,) = (tmp_path / "workspace" / "raw").glob("Dataset*")
    CliRunner().invoke(app, ["verify", root.name, "--workspace", str(tmp_path / "workspace"), "--quiet"])
    document = CliRunner().invoke(app, [*options, "--json"])
    everything = {**written(tmp_path / "workspace"), Path("stdout.json"): document.stdout.encode()}
    assert len(everything) > 12
    for path, content in everything.items():
        assert not TELLTALE.search(content), path
        assert not TELLTALE.search(
            str(path.relative_to(tmp_path) if path.is_absolute() else path).encode()
        ), path
    # Whoever has the source and the key finds the folder of a case again.
    listed = CliRunner().invoke(app, [*options, "--list-cases"])
    places = dict(line.split("\t") for line in listed.stdout.splitlines())
    assert places.keys() == {path.name.removesuffix("_0000.nii.gz") for path in (root / "imagesTr").iterdir()}
    assert str(source / "MRN770001" / "se2") in places.values()
    # On the terminal what was left out is listed by name, relative to the source.
    assert "a pipe: MRN770001/Doe_pipe" in told.stdout


def test_names_are_the_same_by_one_key_and_others_by_another(tmp_path: Path) -> None:
    source = scans(tmp_path)
    first = brought_from(source, tmp_path / "one", "A")
    again = brought_from(source, tmp_path / "one", "B")
    other = brought_from(source, tmp_path / "two", "A")
    assert first == again and not first & other
    assert all(re.fullmatch(r"p[0-9a-f]{8}_s[0-9a-f]{8}", name) for name in first) and len(first) == 4
    groups = (tmp_path / "one" / "raw" / "Dataset101_A" / "groups.csv").read_text().split()[1:]
    assert len({line.split(",")[1] for line in groups}) == 2
    assert all(line.split(",")[0].startswith(line.split(",")[1]) for line in groups)
    key = Workspace.locate(tmp_path / "one").pseudonym_key
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and key.parent == tmp_path / "one" / "raw"
    key.write_text("spoilt")
    with pytest.raises(DataError, match="key of the pseudonyms, is damaged"):
        Pseudonyms(key).of("patient", "1")


def brought_from(source: Path, workspace: Path, name: str) -> set[str]:
    done = import_dataset(source, Workspace.locate(workspace), name, request=Request(workers=1))
    record = read_json(done.root / "import.json")
    assert record["source"].startswith("private ") and {e["source"] for e in record["files"]} == {"private"}
    return {path.name.removesuffix("_0000.nii.gz") for path in (done.root / "imagesTr").iterdir()}


def test_names_of_folders_are_taken_on_request_if_they_tell_nothing(tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "subject-1", volume(1))
    write_series(tmp_path / "scans" / "subject-2", volume(2), patient=2)
    done = brought(tmp_path, labels={"liver": 1}, own={"names": "folders"})
    names = sorted(path.name for path in (done.root / "imagesTr").iterdir())
    assert names == ["subject-1_0000.nii.gz", "subject-2_0000.nii.gz"]
    (tmp_path / "scans" / "subject-2").rename(tmp_path / "scans" / "case MRN-770002")
    with pytest.raises(DataError, match="holds what a header there says of the patient"):
        brought(tmp_path, "Other", labels={"liver": 1}, own={"names": "folders"})


def test_label_files_are_written_without_the_texts_of_their_headers(tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "a", volume())
    image = sitk.GetImageFromArray((volume() > 500).astype(np.uint8))
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin((-10.0, -20.0, 30.0))
    path = tmp_path / "scans" / "a.nii"
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    content[148:160] = b"Doe^Synthia\0"
    # As gzip itself does, with the file's name in its head.
    with gzip.GzipFile(
        tmp_path / "scans" / "Doe_a.nii", "wb", fileobj=path.with_suffix(".nii.gz").open("wb")
    ) as file:
        file.write(content)
    path.unlink()
    done = brought(tmp_path)
    assert done.cases == 1
    for file, raw in {**written(done.root), **{p: p.read_bytes() for p in done.root.rglob("*.gz")}}.items():
        assert not TELLTALE.search(raw), file
