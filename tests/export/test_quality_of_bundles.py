"""A bundle says of the same images how good they will be as the model does that it was made of."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")

from bundle_and_model import ALONE

from autoseg.export.to_onnx import export_bundle
from autoseg.pipeline.quality import fit_again
from autoseg.pipeline.single_stages import predict_folder
from autoseg.workspace import Workspace

ARCHIVE = Path(__file__).parents[1] / "pipeline" / "walked_workspace.tar.xz"
RUN = Path("results", "Dataset905_Discs", "nnunet__autosegPlans_2b8bb0bb__2d")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "quality.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> None:
    """In words exactly, in numbers within what two programs differ by in 32 bits."""
    assert len(ours) == len(theirs) > 0
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            if name in ("case", "structure", "flag", "unit", "reasons") or not value:
                assert value == two[name], name
            else:
                assert float(value) == pytest.approx(float(two[name]), rel=0.01, abs=0.002), name


def shown(page: Path) -> tuple[int, list[str]]:
    """Pictures of a page, and its cases in order."""
    text = page.read_text(encoding="utf-8")
    return text.count("<img src="), re.findall(r"new_\d+", text)


def test_quality_is_that_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "walked"
    model, images = root / RUN, root / "new"
    fit_again(model, Workspace.locate(root), "cpu", workers=1)
    bundle = export_bundle(model, tmp_path / "bundle")
    predict_folder(model, images, tmp_path / "of_model", device="cpu")
    predict_folder(bundle, images, tmp_path / "of_bundle", device="cpu")
    line = [sys.executable, "-c", ALONE, bundle / "run.py", images, tmp_path / "alone"]
    done = subprocess.run(list(map(str, line)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "of_model")
    same(found, rows(tmp_path / "of_bundle"))
    same(found, rows(tmp_path / "alone"))
    ours, theirs = (shown(tmp_path / name / "triage.html") for name in ("of_model", "of_bundle"))
    assert ours == theirs and ours[0] > 0
    # What draws needs packages that a bundle by itself does without.
    assert not (tmp_path / "alone" / "triage.html").exists()
