"""`autoseg leaderboard` and `autoseg evaluate` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_records import experiment

from autoseg.data.readers import write_segmentation
from autoseg.leaderboard.records.files import write_records


def autoseg(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "autoseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    records = experiment({"nnunet": 0.9, "brainunet": 0.8}, n_cases=20, structures=("organ",))
    write_records(folder / "results" / "Dataset900_Made" / "record.jsonl", records)
    return folder


def test_everything_is_exported_at_once(workspace: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("trainer,case,dataset,structure,dice\nold,case_000,Dataset900_Made,organ,0.5\n")
    outputs = {name: tmp_path / f"out.{name}" for name in ("md", "tex", "jsonl", "csv", "html")}
    exports = [word for name in ("md", "tex", "jsonl") for word in ("--export", outputs[name])]
    exports += [
        "--csv",
        outputs["csv"],
        "--html",
        outputs["html"],
        "--challenger",
        tmp_path / "challenger.csv",
    ]
    done = autoseg("leaderboard", "--workspace", workspace, "--json", *exports)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["trainer"] for row in rows] == ["nnunet", "brainunet"]
    assert all(path.is_file() for path in outputs.values())
    assert (tmp_path / "challenger.csv").read_text().startswith("Task,TestCase,Algorithm,MetricValue")
    again = autoseg("leaderboard", "--workspace", tmp_path, "--add", outputs["jsonl"], "--add", scores)
    assert again.returncode == 0, again.stderr
    assert "old (1)" not in again.stdout.split("not comparable")[0]
    assert "(1) made elsewhere: read from scores.csv" in " ".join(again.stdout.split())


def test_wrong_exports_and_additions_are_refused_before_anything_is_written(
    workspace: Path, tmp_path: Path
) -> None:
    done = autoseg("leaderboard", "--workspace", workspace, "--export", tmp_path / "x.docx")
    assert done.returncode == 2 and ".md, .tex or .jsonl" in done.stderr
    done = autoseg("leaderboard", "--workspace", workspace, "--nnunet-summary", tmp_path / "out")
    assert done.returncode == 2 and "voxel counts" in done.stderr and not (tmp_path / "out").exists()
    done = autoseg("leaderboard", "--workspace", workspace, "--add", tmp_path / "nothing.csv")
    assert done.returncode == 2 and "nothing.csv" in done.stderr


def test_folds_and_structures_can_be_chosen(workspace: Path) -> None:
    done = autoseg(
        "leaderboard", "--workspace", workspace, "--folds", "0,1", "--structure", "organ", "--json"
    )
    assert {tuple(row["folds"]) for row in json.loads(done.stdout)["rows"]} == {(0, 1)}
    done = autoseg("leaderboard", "--workspace", workspace, "--structure", "lung")
    assert done.returncode == 2 and "organ" in done.stderr


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    for number in range(3):
        head = np.zeros((1, 60, 70), np.uint8)
        head[:, 10 + number : 40, 20:50] = 1
        for folder, array in (("references", head), ("predictions", np.roll(head, 2, axis=2))):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_segmentation(
                array, tmp_path / folder / f"s{number}.png", {"spacing": (999, 1, 1)}, "NaturalImage2DIO"
            )
    about = {"channel_names": {"0": "us"}, "labels": {"background": 0, "head": 1}, "numTraining": 3}
    (tmp_path / "dataset.json").write_text(json.dumps({**about, "file_ending": ".png"}))
    return tmp_path


def test_evaluate_measures_in_millimetres_with_pixel_sizes(heads: Path) -> None:
    table = heads / "cases.csv"
    table.write_text("case,pixel_mm_full,pixel_mm_half\ns0,0.1,0.5\ns1,0.1,0.5\ns2,0.1,0.5\n")
    folders = heads / "predictions", heads / "references"
    done = autoseg("evaluate", *folders, "--json", "--pixel-sizes", f"{table}:pixel_mm_half")
    assert done.returncode == 0, done.stderr
    head = json.loads(done.stdout)["summary"]["structures"]["head"]
    assert head["hd95"]["mean"] == pytest.approx(1.0) and head["hd95"]["unit"] == "mm"
    assert head["hc_absolute_error"]["unit"] == "mm"
    done = autoseg("evaluate", *folders, "--json")
    assert json.loads(done.stdout)["summary"]["structures"]["head"]["hd95"]["unit"] == "px"
    done = autoseg("evaluate", *folders, "--pixel-sizes", table)
    assert done.returncode == 2 and "cases.csv:pixel_mm_full" in done.stderr
    done = autoseg("evaluate", *folders, "--pixel-sizes", heads / "no.csv")
    assert done.returncode == 2 and "no.csv" in done.stderr


def test_evaluate_adds_calibration_where_probabilities_are(heads: Path) -> None:
    foreground = np.full((1, 60, 70), 0.1, np.float32)
    for number in range(3):
        np.savez(
            heads / "predictions" / f"s{number}.npz", probabilities=np.stack([1 - foreground, foreground])
        )
    done = autoseg("evaluate", heads / "predictions", heads / "references")
    assert done.returncode == 0, done.stderr
    for name in ("roc_auc", "ece", "brier", "hd95 (px)", "Tolerance of NSD: 2 px, the default", "s2"):
        assert name in done.stdout
