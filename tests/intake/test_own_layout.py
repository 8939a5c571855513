"""A layout from outside imports a folder that no other recognises: as a file, and from a package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from autoseg.cli.catalogue import entries
from autoseg.cli.intake import app
from autoseg.data.dataset import load_dataset
from autoseg.errors import AutosegError, DataError, UsageError
from autoseg.intake.layout import layout_named, recognise
from autoseg.system.files import read_json

CLINIC = '''"""The folders of our clinic."""

from pathlib import Path
from typing import ClassVar

from autoseg.errors import DataError
from autoseg.intake import Content, Incoming, IncomingCase, Layout, Request


class Clinic(Layout):
    """A folder a patient: scan.png and truth.png."""

    looks_like = "patient_*/scan.png and truth.png"
    options: ClassVar = {"organ": "what the label is called"}

    def recognise(self, source: Path) -> str:
        found = sorted(source.glob("patient_*/scan.png"))
        return f"it has folders of patients ({len(found)})." if found else ""

    def read(self, source: Path, request: Request) -> Incoming:
        scans = sorted(source.glob("patient_*/scan.png"))
        if not scans:
            raise DataError(f"{source} has no patient_*/scan.png. Give the folder of the patients.")
        return Incoming(
            channels=("xray",),
            labels={"background": 0, request.own.get("organ", "organ"): 1},
            file_ending=".png",
            cases=tuple(
                IncomingCase(scan.parent.name, (Content(scan),), Content(scan.with_name("truth.png")))
                for scan in scans
            ),
        )
'''


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Two patients, in a layout of nobody else's."""
    for number in range(2):
        folder = tmp_path / "export" / f"patient_{number}"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 40 + number, np.uint8)).save(folder / "scan.png")
        Image.fromarray(np.eye(16, dtype=np.uint8)).save(folder / "truth.png")
    return tmp_path / "export"


def bring(source: Path, place: Path, *options: str) -> Result:
    command = [str(source), "--name", "Dataset101_Clinic", "--workspace", str(place), "--quiet"]
    return CliRunner().invoke(app, [*command, *options])


def test_a_file_is_a_layout(clinic: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no layout that is known.*bids: sub-01.*--from FILE.py"):
        recognise(clinic)
    file = tmp_path / "our_clinic.py"
    file.write_text(CLINIC)
    options = ("--from", str(file), "--option", "organ=lung")
    done = bring(clinic, tmp_path / "w", *options)
    assert done.exit_code == 0, done.output
    assert "our_clinic: it was requested" in done.stdout
    dataset = load_dataset(tmp_path / "w" / "raw" / "Dataset101_Clinic")
    assert [case.identifier for case in dataset.cases] == ["patient_0", "patient_1"]
    assert dict(dataset.labels.names) == {"background": 0, "lung": 1}
    assert dataset.cases[1].images[0].read_bytes() == (clinic / "patient_1" / "scan.png").read_bytes()
    assert read_json(dataset.root / "import.json")["layout"] == "our_clinic"
    assert "already there" in bring(clinic, tmp_path / "w", *options).stdout
    # Another content of the file may make something else of the same folder.
    file.write_text(CLINIC.replace("xray", "ct"))
    assert isinstance(bring(clinic, tmp_path / "w", *options).exception, UsageError)


def test_an_installed_one_is_recognised_by_itself(clinic: Path, tmp_path: Path, install: Any) -> None:
    install({"outside_layout": CLINIC}, {"autoseg.layouts": {"clinic": "outside_layout"}})
    done = bring(clinic, tmp_path / "w")
    assert done.exit_code == 0, done.output
    assert "clinic: it has folders of patients (2)." in done.stdout
    (row,) = (row for row in entries("layouts") if row["name"] == "clinic")
    assert row["from"] == "outside 1.2" and row["about"] == "A folder a patient: scan.png and truth.png"
    shutil.rmtree(clinic / "patient_0")
    shutil.rmtree(clinic / "patient_1")
    with pytest.raises(DataError, match=r"clinic: patient_\*/scan.png and truth.png"):
        recognise(clinic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "clinics"), "no layout named 'clinics'. Choose one of bids"),
        (("--from", "bids", "--option", "organ=a"), "layout bids has no option 'organ'. Its options: none"),
        (("--option", "organ"), "--option 'organ' has no value"),
        (("--from", "gone.py"), "no file gone.py"),
    ],
)
def test_what_makes_no_sense_is_refused(
    clinic: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    done = bring(clinic, tmp_path / "w", *options)
    assert isinstance(done.exception, AutosegError) and message in str(done.exception)
    assert not list(tmp_path.glob("w/raw/Dataset*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class A(Layout): ...\n", "layout A has no docstring"),
        ("class A(Layout):\n    'A.'\n", "layout A does not say what it looks like"),
        ("class A(Layout):\n    'A.'\n    looks_like = 'a'\n", "A lacks read, recognise"),
    ],
)
def test_what_a_file_lacks_is_said_when_it_is_read(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lacking.py"
    file.write_text(f"from autoseg.intake import Layout\n{text}")
    with pytest.raises(UsageError, match=message):
        layout_named(str(file))
