"""A workspace walked before the folders were what they are; walked_workspace.md says how it was made."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.status.status import Status
from autoseg.benchmark.suite.suite import load_suite
from autoseg.data.dataset import find_cases
from autoseg.data.readers import read_segmentation
from autoseg.inference import load_model, predict_cases
from autoseg.leaderboard.of_workspace import ranked
from autoseg.pipeline.select_model import select_model
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.pipeline.walk import plan_and_train
from autoseg.postprocessing.rules import Postprocessing
from autoseg.workspace import Workspace

ARCHIVE = Path(__file__).with_name("walked_workspace.tar.xz")
NNUNET = "nnunet:width=3:steps_per_epoch=20:optimizer_name=adamw:learning_rate=0.003"
BRAINUNET = "brainunet:width=4:max_levels=3:steps_per_epoch=20"
SETTINGS = Settings(
    trainers=(NNUNET, BRAINUNET), folds=(0,), epochs=10, memory_gb=1.4, device="cpu", workers=1
)
MODELS = (
    "brainunet__autosegPlans_4a0bbec2__2d",
    "nnunet__autosegPlans_2b8bb0bb__2d",
    "nnunet__autosegPlans_de2b7a09__2d",
)
SCORES = (
    "rank",
    "trainer",
    "configuration",
    "folds",
    "status",
    "dice",
    "dice_ci",
    "iou",
    "nsd",
    "parameters",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "walked"


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_leaderboard_ranks_its_runs_with_the_scores_that_they_had(root: Path) -> None:
    then = json.loads((root / "leaderboard.json").read_text())["rows"]
    now = ranked(Workspace.locate(root), ["905"]).to_json(None)["rows"]
    assert [row["status"] for row in then] == ["ok"] * 3
    for before, after in zip(then, now, strict=True):
        assert {key: after[key] for key in SCORES} == {key: before[key] for key in SCORES}


def test_a_finished_walk_is_found_and_nothing_of_it_repeated(root: Path) -> None:
    before = times(root / "results" / "Dataset905_Discs")
    outcome = plan_and_train("905", Workspace.locate(root), SETTINGS)
    after = times(root / "results" / "Dataset905_Discs")
    assert {path: after[path] for path in before} == before
    assert {path.name for path in set(after) - set(before)} == {"leaderboard.html", "postprocessing.json"}
    dice = [row["dice"] for row in outcome.leaderboard.to_json(None)["rows"]]
    assert dice == pytest.approx([0.92710, 0.57639], abs=1e-5)


def test_the_walk_decides_postprocessing_once_and_the_page_shows_it(root: Path) -> None:
    workspace = Workspace.locate(root)
    outcome = plan_and_train("905", workspace, SETTINGS)
    folder = root / "results" / "Dataset905_Discs"
    decided = {path: path.stat().st_mtime_ns for path in folder.glob("*/postprocessing.json")}
    # Two trainers with out-of-fold cases, too few for any rule.
    assert {path.parent.name for path in decided} == {MODELS[0], MODELS[1]}
    assert not any(Postprocessing.of_model(path.parent).rules for path in decided)
    page = outcome.page.read_text()
    assert "Postprocessing" in page and "confirm no candidate" in page
    plan_and_train("905", workspace, SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in decided} == decided


@pytest.mark.parametrize("model", MODELS)
def test_a_finished_model_predicts_the_labels_that_it_predicted(
    root: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)
    loaded = load_model(root / "results" / "Dataset905_Discs" / model, [0], torch.device("cpu"))
    for path in predict_cases(loaded, find_cases(root / "new", ".png"), root / "again"):
        then, now = (
            read_segmentation(each, loaded.reader).array
            for each in (root / "predicted" / model / path.name, path)
        )
        np.testing.assert_array_equal(now, then)


def test_a_model_is_selected_from_its_runs(root: Path) -> None:
    found = select_model(Workspace.locate(root), "905", pairs=0)
    assert found.chosen.models == (root / "results" / "Dataset905_Discs" / MODELS[1],)
    assert found.best.dice == pytest.approx(0.92710, abs=1e-5)


def test_a_finished_suite_has_nothing_left_to_do(root: Path) -> None:
    board = Board(build_graph(load_suite(str(root / "discs.yaml")), Workspace.locate(root)))
    status = Status.of(board).to_json()
    assert [cell["state"] for cell in status["cells"]] == ["done", "impossible"]
    assert [cell["dice"] for cell in status["cells"]] == [pytest.approx(0.12608, abs=1e-5), None]
    assert {state for state, count in status["jobs"].items() if count} <= {"done", "impossible"}


@pytest.mark.slow
@pytest.mark.ci
def test_an_interrupted_training_goes_on_from_its_epoch(root: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        checkpoint = train_one("905", NNUNET, 1, Workspace.locate(root), SETTINGS)
    finally:
        torch.set_num_threads(threads)
    assert checkpoint.run.model_folder == root / "results" / "Dataset905_Discs" / MODELS[1]
    logs = sorted(checkpoint.run.folder.glob("training_log*.txt"))
    assert len(logs) == 2
    trained = [[f"Epoch {number} " in log.read_text() for number in range(10)] for log in logs]
    assert trained == [[True] * 5 + [False] * 5, [False] * 4 + [True] * 6]
    assert checkpoint.path.name == "checkpoint_final.pth"
