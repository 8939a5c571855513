"""Which model to use: the rule of one standard error, pairs of models, and the command that comes of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.dataset import load_dataset
from autoseg.errors import UsageError
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.records.files import Cost, Record, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.pipeline import model_pairs as pairs
from autoseg.pipeline.model_pairs import Candidate
from autoseg.pipeline.select_model import Selection, select_model, standard_error
from autoseg.run import Run
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

SHAPE = (4, 8, 8)
NAME = "Dataset001_Toy"


def candidate(name: str, scores: list[float], seconds: float | None = 1.0, models: int = 1) -> Candidate:
    folders = tuple(Path(f"/models/{name}_{i}") for i in range(models))
    return Candidate(name, folders, np.array(scores), seconds)


def selection(*candidates: Candidate, groups: tuple[str, ...] | None = None) -> Selection:
    ordered = tuple(sorted(candidates, key=lambda each: -each.dice))
    cases = tuple(f"c{i}" for i in range(len(candidates[0].scores)))
    return Selection("toy", cases, groups, (0,), ordered)


def test_the_cheapest_within_one_standard_error_of_the_best_is_chosen() -> None:
    best = candidate("best", [0.9, 0.8, 0.7, 0.8], seconds=9.0)
    near = candidate("near", [0.88, 0.79, 0.69, 0.79], seconds=2.0)
    far = candidate("far", [0.5, 0.5, 0.5, 0.5], seconds=0.1)
    found = selection(best, near, far)
    assert found.standard_error == pytest.approx(np.std(best.scores, ddof=1) / 2)
    assert found.within == (best, near)
    assert found.chosen is near
    told = " ".join(found.why)
    assert "behind by 0.0125" in told and "would take best" in told and "2 s a case against" in told
    assert found.command == "autoseg predict /models/near_0 INPUT OUTPUT"


def test_one_model_is_simpler_than_two_however_fast_they_are() -> None:
    two = candidate("a + b", [0.9, 0.8, 0.7, 0.85], seconds=0.1, models=2)
    one = candidate("a", [0.9, 0.8, 0.7, 0.8], seconds=50.0)
    assert selection(two, one).chosen is one
    assert selection(two, candidate("a", [0.1, 0.1, 0.1, 0.1])).chosen is two
    assert "--model /models/a + b_1" not in selection(two).command  # quoted for a shell
    assert "--model '/models/a + b_1'" in selection(two).command


def test_a_group_counts_as_one_observation_and_one_alone_says_nothing() -> None:
    scores = np.array([0.9, 0.9, 0.9, 0.5, 0.5, 0.5])
    groups = ("x", "x", "x", "y", "y", "y")
    assert standard_error(scores) == pytest.approx(scores.std(ddof=1) / np.sqrt(6))
    assert standard_error(scores, groups) == pytest.approx(np.std([0.9, 0.5], ddof=1) / np.sqrt(2))
    assert standard_error(scores, ("x",) * 6) == 0.0


def test_one_that_knows_better_when_it_is_wrong_is_named() -> None:
    best = candidate("best", [0.9, 0.8, 0.7, 0.8], seconds=9.0)
    near = candidate("near", [0.88, 0.79, 0.69, 0.79], seconds=2.0)
    far = candidate("far", [0.5, 0.5, 0.5, 0.5], seconds=0.1)
    plain = selection(best, near, far)
    found = dataclasses.replace(plain, areas={"best": 0.11, "near": 0.14, "far": 0.01})
    assert found.chosen is near
    told = " ".join(found.why)
    assert "best knows better when it is wrong: a risk-coverage area of 0.1100 against 0.1400" in told
    assert {each["name"]: each["risk_coverage_area"] for each in found.to_json()["candidates"]} == found.areas
    for areas in ({}, {"best": 0.2, "near": 0.14}, {"best": 0.1}):
        assert "knows better" not in " ".join(dataclasses.replace(plain, areas=areas).why)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=1, max_size=6))
def test_what_is_chosen_is_never_further_than_one_standard_error_from_the_best(
    rows: list[list[float]],
) -> None:
    found = selection(*(candidate(f"m{i}", row, seconds=float(i)) for i, row in enumerate(rows)))
    assert found.chosen.dice >= found.best.dice - found.standard_error - 1e-9
    assert all(found.chosen.simplicity <= each.simplicity for each in found.within)


# With runs on disk.


def reference(seed: int) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 2:6, 2 : 5 + seed % 3] = 1
    return array


def predicted(who: str, seed: int) -> np.ndarray:
    """Each model misses one half."""
    array = reference(seed)
    array[:, :, : 4 if who == "brainunet" else None] *= who != "brainunet"
    if who == "nnunet":
        array[:, :, 4:] = 0
    return array


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace.locate(tmp_path)
    root = place.raw / NAME
    for number in range(6):
        for part, array in (("imagesTr", reference(number) * 100), ("labelsTr", reference(number))):
            (root / part).mkdir(parents=True, exist_ok=True)
            name = f"c{number}_0000.nii.gz" if part == "imagesTr" else f"c{number}.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(array), str(root / part / name))
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "numTraining": 6}
    write_json(root / "dataset.json", {**about, "file_ending": ".nii.gz"})
    for who, seconds in (("nnunet", 1.0), ("brainunet", 3.0)):
        for fold in (0, 1):
            make_run(place, who, fold, seconds)
    return place


def make_run(place: Workspace, who: str, fold: int, seconds: float) -> None:
    """A run that has ended, its weights an empty file."""
    run = Run(NAME, "plans", "3d_fullres", who, fold, 0, place.results)
    run.folder.mkdir(parents=True)
    run.final_checkpoint.touch()
    dataset, cases = load_dataset(place.raw / NAME), tuple(f"c{3 * fold + i}" for i in range(3))
    run.predictions.mkdir()
    for case in cases:
        sitk.WriteImage(
            sitk.GetImageFromArray(predicted(who, int(case[1:]))), str(run.predictions / f"{case}.nii.gz")
        )
    found = evaluate(run.predictions, dataset, cases=cases, workers=1)
    record = Record(
        run_id=run.name,
        dataset=NAME,
        trainer=who,
        configuration="3d_fullres",
        fold=fold,
        plan="plans",
        checkpoint_sha256=f"{who}{fold}",
        settings=found.settings,
        cost=Cost(inference_s_per_case=seconds, parameters=10),
        scores=ScoreTable.from_evaluation(found, {}),
    )
    write_record(run.record, record)


class Voter:
    """A model that is sure of what it sees and unsure of what it misses."""

    def __init__(self, who: str) -> None:
        self.who, self.reader = who, "SimpleITKIO"

    def probabilities(self, case: str) -> np.ndarray:
        seen, there = predicted(self.who, int(case[1:])), reference(int(case[1:]))
        sure = np.where(seen == 1, 0.95, np.where(there == 1, 0.4, 0.02)).astype(np.float32)
        return np.stack([1 - sure, sure])

    def preprocessed(self, _: Path, case: str) -> tuple[str, dict[str, Any]]:
        stuff = {"spacing": (1.0,) * 3, "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())}
        return case, {"sitk_stuff": stuff}


@pytest.fixture
def voters(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two models that miss different halves; what is computed is listed."""
    asked: list[str] = []

    class Ensemble:
        def __init__(self, models: list[Voter]) -> None:
            self.models = models

        def probabilities(self, read: list[tuple[str, Any]]) -> np.ndarray:
            asked.append(f"{self.models[0].who} {read[0][0]}")
            return self.models[0].probabilities(read[0][0])

    monkeypatch.setattr("autoseg.inference.ensemble.Ensemble", Ensemble)
    monkeypatch.setattr(pairs, "_members", lambda single, *_: [(Voter(single[0].name), Path())])
    return asked


def test_two_models_that_miss_different_things_are_better_together(
    workspace: Workspace, voters: list[str]
) -> None:
    found = select_model(workspace, NAME, device="cpu", workers=1)
    names = [each.name for each in found.candidates]
    assert names[0] in ("nnunet + brainunet", "brainunet + nnunet") and len(names) == 3
    assert found.best.dice == pytest.approx(1.0)
    assert found.chosen is found.best and len(found.chosen.models) == 2
    assert found.best.seconds == 4.0
    # Each model saw each case once, on the fold that it had not been trained on.
    assert len(voters) == len(set(voters)) == 12
    # The pair is a model folder by itself.
    (folder,) = (workspace.results / NAME).glob("ensemble__*")
    members = read_json(folder / "ensemble.json")["members"]
    assert sorted(members) == ["brainunet__plans__3d_fullres", "nnunet__plans__3d_fullres"]


def test_what_is_computed_once_is_kept_until_the_weights_change(
    workspace: Workspace, voters: list[str]
) -> None:
    select_model(workspace, NAME, device="cpu", workers=1)
    voters.clear()
    select_model(workspace, NAME, device="cpu", workers=1)
    assert voters == []
    path = workspace.results / NAME / "nnunet__plans__3d_fullres" / "fold_1" / "record.jsonl"
    path.write_text(path.read_text().replace('"nnunet1"', '"trained again"'))
    select_model(workspace, NAME, device="cpu", workers=1)
    assert len(voters) == 12


def test_pairs_that_cannot_be_computed_leave_the_single_models(workspace: Workspace) -> None:
    found = select_model(workspace, NAME, device="cpu", workers=1)
    assert {each.name for each in found.candidates} == {"nnunet", "brainunet"}


def test_models_that_are_gone_or_foreign_are_not_chosen(workspace: Workspace) -> None:
    for path in (workspace.results / NAME).glob("nnunet__*/fold_*/checkpoint_final.pth"):
        path.unlink()
    found = select_model(workspace, NAME, pairs=0)
    assert [each.name for each in found.candidates] == ["brainunet"]
    assert any("nnunet" in note and "gone" in note for note in found.notes)


def test_without_runs_the_message_says_what_comes_first(workspace: Workspace, tmp_path: Path) -> None:
    bare = Workspace(workspace.raw, workspace.preprocessed, tmp_path / "nothing")
    with pytest.raises(UsageError, match=rf"autoseg plan-and-train {NAME}"):
        select_model(bare, NAME)


def test_the_command_prints_the_choice_and_json_alone(workspace: Workspace, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from autoseg.cli.app import app

    options = ["select", NAME, "--pairs", "0", "--quiet", "--workspace", str(tmp_path)]
    told = CliRunner().invoke(app, options)
    assert told.exit_code == 0, told.output
    assert "Chosen:" in told.stdout and "autoseg predict" in told.stdout
    document = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    assert document["chosen"] in ("nnunet", "brainunet") and document["n_cases"] == 6
    assert {each["name"] for each in document["candidates"]} == {"nnunet", "brainunet"}
