"""A metric from outside is measured, stays a column, and is told of where its file is not at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.cli.catalogue import entries
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.errors import UsageError
from autoseg.evaluation.requested import measures_of, request_measures
from autoseg.evaluation.result import Evaluation
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.records.files import Record, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.metrics import METRICS
from autoseg.run import Run
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

CASES = ("one", "two", "three")
SPILL = '''"""How much a prediction spills over."""

from autoseg.metrics import ERROR, Comparison, divide, metric


@metric("spill.v1", ERROR, ranked=True)
def spill(case: Comparison) -> float | None:
    """Predicted voxels outside the reference, as a part of the reference."""
    return divide(case.counts.fp, case.counts.in_reference)
'''


@pytest.fixture(autouse=True)
def metrics_as_they_were() -> Iterator[None]:
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def save(size: int, path: Path) -> None:
    """A square of that many pixels a side, in a corner of 20 x 20."""
    array = np.zeros((20, 20), np.uint8)
    array[:size, :size] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three images with squares of 10 pixels."""
    root = tmp_path / "raw" / "Dataset001_Squares"
    for case in CASES:
        save(10, root / "imagesTr" / f"{case}_0000.png")
        save(10, root / "labelsTr" / f"{case}.png")
    labels = {"background": 0, "square": 1}
    about = {"channel_names": {"0": "US"}, "labels": labels, "numTraining": 3, "file_ending": ".png"}
    write_json(root / "dataset.json", about)
    return load_dataset(root)


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Run:
    """A finished run whose predictions are squares of 12 pixels."""
    made = Run(dataset.name, "plan", "2d", "nnunet", 0, 0, Workspace.locate(tmp_path).results)
    for case in CASES:
        save(12, made.predictions / f"{case}.png")
    evaluation = evaluate(made.predictions, dataset, cases=CASES, workers=1)
    evaluation.save(made.evaluation)
    scores = ScoreTable.from_evaluation(evaluation)
    identity = (made.name, dataset.name, "nnunet", "2d", 0)
    write_record(made.record, Record(*identity, plan="plan", settings=evaluation.settings, scores=scores))
    return made


def write(path: Path, text: str = SPILL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def autoseg(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_file_is_measured_for_one_data_set_and_stays(dataset: Dataset, run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "lab" / "spill.py")
    arguments = ("--workspace", str(tmp_path), "--workers", "1", "--json")
    told = json.loads(autoseg("measure", str(dataset.root), "--metrics", f"{file},iou", *arguments))
    assert told["metrics"] == ["spill", "iou"] and told["rescored"] == [run.name]
    stored = Workspace.locate(tmp_path).measures_of(dataset.name)
    assert read_json(stored)["metrics"] == [str(file), "iou"]
    assert Evaluation.load(run.evaluation).mean("spill") == pytest.approx(0.44)
    # Another data set in the same process is not measured with it.
    other = evaluate(run.predictions, dataset, cases=CASES, workers=1)
    assert "spill" not in {score.metric for score in other.scores}


def test_a_page_in_another_process_needs_no_file(dataset: Dataset, run: Run, tmp_path: Path) -> None:
    """Unit, direction and description stand in the record."""
    file = write(tmp_path / "lab" / "spill.py")
    autoseg(
        "measure", str(dataset.root), "--metrics", str(file), "--workspace", str(tmp_path), "--workers", "1"
    )
    file.unlink()
    code = f"""
from pathlib import Path
from autoseg.leaderboard.page.page import render
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import load_records
board = rank(load_records(Path({str(run.results)!r})), metric="spill")
page = render(board)
print(board.rows[0].means["spill"], "Spill" in page, "as a part of the reference" in page)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    value, *shown = done.stdout.split()
    assert float(value) == pytest.approx(0.44) and shown == ["True", "True"]
    # It is measured anew only where the file is.
    with pytest.raises(UsageError, match=r"no file .*spill.py"):
        measures_of(dataset, Workspace.locate(tmp_path).measures_of(dataset.name))


def test_a_data_set_may_bring_its_own(dataset: Dataset) -> None:
    write(dataset.root / "spill.py")
    write_json(dataset.root / "evaluation.json", {"metrics": ["spill.py"]})
    assert measures_of(dataset).metrics == ("spill",)


def test_a_new_version_is_measured_again(dataset: Dataset, run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "spill.py")
    request_measures(dataset, tmp_path / "there.json", [str(file)], None)
    first = measures_of(dataset, tmp_path / "there.json")
    done = evaluate(run.predictions, dataset, cases=CASES, requested=first.metrics, workers=1)
    assert first.met_by(done.settings)
    write(file, SPILL.replace("spill.v1", "spill.v2"))
    assert not measures_of(dataset, tmp_path / "there.json").met_by(done.settings)
    assert METRICS["spill"].definition == "spill.v2"


def test_an_installed_one_goes_by_its_name(dataset: Dataset, run: Run, install: Any) -> None:
    install({"outside_metric": SPILL}, {"autoseg.metrics": {"spilling": "outside_metric"}})
    found = evaluate(run.predictions, dataset, cases=CASES, metrics=["spilling"], workers=1)
    assert {score.metric for score in found.scores} == {"spill"}
    rows = {row["name"]: row["from"] for row in entries("metrics")}
    assert rows["spill"] == "outside 1.2" and rows["dice"] == "autoseg"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "spill.py registers no metric"),
        (SPILL.replace("spill.v1", "spill"), r"line \d+: .*'spill' has no version. Name it like 'dice.v1'"),
        (SPILL.replace("spill.v1", "dice.v1"), "metric 'dice' or the definition 'dice.v1' exists already"),
        (SPILL.replace("ERROR, r", "Scale(unit='1'), r").replace("ERROR,", "Scale,"), "missing 3 required"),
        (SPILL.replace('    """Pred', '    # """Pred'), "spill.v1 has no description"),
    ],
)
def test_what_a_file_lacks_is_said_when_it_is_read(
    dataset: Dataset, run: Run, tmp_path: Path, text: str, message: str
) -> None:
    file = write(tmp_path / "spill.py", text)
    with pytest.raises(UsageError, match=message):
        request_measures(dataset, tmp_path / "there.json", [str(file)], None)
    assert not (tmp_path / "there.json").exists()
    assert "spill" not in METRICS
