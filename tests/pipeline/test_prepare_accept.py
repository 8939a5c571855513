"""Before training: what verification found is an end, or stands in the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from autoseg.cli.data import app
from autoseg.data.dataset import load_dataset
from autoseg.data.synthetic import make_demo
from autoseg.errors import DataError
from autoseg.pipeline.prepare import fit_for_training
from autoseg.workspace import Workspace


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """Four volumes, the label of one stored with another direction."""
    root = make_demo(tmp_path / "raw", cases=(4, 4))[0]
    path = sorted((root / "labelsTr").iterdir())[0]
    label = sitk.ReadImage(str(path))
    label.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, 0.3).GetMatrix())
    sitk.WriteImage(label, str(path))
    return root


def test_a_turned_label_ends_it_and_accepted_it_is_a_warning(
    turned: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, workspace = load_dataset(turned), Workspace.locate(tmp_path / "workspace")
    with pytest.raises(DataError, match=r"an error: .*Its direction differs.*--accept direction"):
        fit_for_training(dataset, workspace, 1)
    assert not caplog.records
    report = fit_for_training(dataset, workspace, 1, ["direction"])
    assert [finding.severity for finding in report.findings] == ["warning"]
    assert "this may spoil the models. label_direction_mismatch in" in caplog.text


def test_what_needs_no_guess_is_said_to_be_mended_by_verify(turned: Path, tmp_path: Path) -> None:
    about = turned / "dataset.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "numTraining": 9}))
    dataset, workspace = load_dataset(turned), Workspace.locate(tmp_path / "workspace")
    with pytest.raises(DataError, match=rf"numTraining is 9.*autoseg verify {turned} --fix OUT"):
        fit_for_training(dataset, workspace, 1, ["direction"])


def test_verify_takes_the_same_option(turned: Path) -> None:
    plain = CliRunner().invoke(app, ["verify", str(turned), "--quiet"])
    accepted = CliRunner().invoke(app, ["verify", str(turned), "--quiet", "--accept", "direction"])
    assert (plain.exit_code, accepted.exit_code) == (1, 0)
    assert "1 error, 0 warnings" in plain.stdout and "0 errors, 1 warning" in accepted.stdout
