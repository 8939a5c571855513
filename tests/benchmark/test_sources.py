"""Suites that import their data first, and results made elsewhere that join the leaderboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.benchmark.engines.serial import run_local
from autoseg.benchmark.jobs import run_job as stages
from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.jobs.standings import leaderboard, records
from autoseg.benchmark.status.status import Status, dry_run
from autoseg.benchmark.suite.suite import Suite, parse_suite
from autoseg.data.dataset import load_dataset
from autoseg.data.folds import folds_from_json
from autoseg.errors import UsageError
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.records.files import Record, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

NAME = "Dataset104_Hippocampus"
HEAD = """
trainers: nnunet
folds: 0
budget: {per_run: 30s}
device: cpu
resources: {run: {gpus: 0}, prepare: {cpus: 1}}
"""


@pytest.fixture
def decathlon(shared_data: Callable[[str], Path], tmp_path: Path) -> Path:
    """Ten cases of Hippocampus as the Decathlon has them."""
    raw, source = shared_data("Dataset004_Hippocampus"), tmp_path / "Task04_Hippocampus"
    training = []
    for label in sorted((raw / "labelsTr").iterdir())[:10]:
        for part, path in (
            ("imagesTr", raw / "imagesTr" / label.name.replace(".nii", "_0000.nii")),
            ("labelsTr", label),
        ):
            (source / part).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, source / part / label.name)
        training.append({"image": f"./imagesTr/{label.name}", "label": f"./labelsTr/{label.name}"})
    labels = {"0": "background", "1": "Anterior", "2": "Posterior"}
    about = {"modality": {"0": "MRI"}, "labels": labels, "training": training, "test": []}
    (source / "dataset.json").write_text(json.dumps(about))
    return source


def predictions(labels: Path, folder: Path, shift: int) -> Path:
    """What a model that is off by some voxels would predict."""
    folder.mkdir(parents=True)
    for path in sorted(labels.iterdir()):
        image = sitk.ReadImage(str(path))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(image).astype(np.uint8), shift, axis=1))
        moved.CopyInformation(image)
        sitk.WriteImage(moved, str(folder / path.name))
    return folder


def suite_at(folder: Path, text: str) -> Suite:
    return parse_suite(text + HEAD, folder / "suite.yaml")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that need a network are played; the run's scores are those of labels moved by a voxel."""

    def play(work: Any) -> dict[str, Any]:
        return {"plans": {}, "id": work.job.id}

    def score(work: Any) -> dict[str, Any]:
        dataset = work.dataset()
        (fold,) = folds_from_json(read_json(work.workspace.folds_of(dataset.name)))[work.cell.fold :][:1]
        run = work.workspace.results_of(dataset.name) / "nnunet__plans__3d_fullres" / f"fold_{fold.index}"
        predicted = predictions(dataset.root / "labelsTr", run / "validation", 1)
        found = evaluate(predicted, dataset, cases=fold.validation, workers=1)
        record = Record(
            run_id="own",
            dataset=dataset.name,
            trainer="nnunet",
            configuration="3d_fullres",
            fold=fold.index,
            settings=found.settings,
            scores=ScoreTable.from_evaluation(found, {}),
        )
        write_record(run / "record.jsonl", record)
        return {"record": str((run / "record.jsonl").relative_to(work.workspace.results))}

    for name in ("fit", "preprocess", "train", "predict"):
        monkeypatch.setitem(stages.WORK, name, play)
    monkeypatch.setitem(stages.WORK, "evaluate", score)


def test_a_suite_imports_its_data_and_ranks_results_made_elsewhere_beside_its_own(
    decathlon: Path, tmp_path: Path, trained: None
) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    predictions(decathlon / "labelsTr", tmp_path / "elsewhere", 2)
    text = (
        f"datasets: [{{dataset: {NAME}, source: {decathlon.name}, layout: msd}}]\nforeign: swin=elsewhere\n"
    )
    graph = build_graph(suite_at(tmp_path, text), workspace)
    assert not workspace.raw.exists()
    assert "foreign" in dry_run(Status.of(Board(graph)))
    summary = run_local(graph, workers=1)
    assert (summary.failed, summary.blocked) == (0, 0)
    assert len(load_dataset(workspace.raw / NAME).cases) == 10
    board = Board(graph)
    found = leaderboard(board)
    assert found is not None
    rows = {row.name: row for row in found.rows}
    assert set(rows) == {"nnunet", "swin"} and rows["swin"].foreign and not rows["nnunet"].foreign
    # Scored by one kernel on the same cases, so that they are compared.
    assert [pair for pair in found.to_json()["comparisons"] if {pair["a"], pair["b"]} == {"nnunet", "swin"}]
    ((fold, validation),) = [
        (fold.index, fold.validation)
        for fold in folds_from_json(read_json(workspace.folds_of(NAME)))
        if fold.index == 0
    ]
    (own, other) = sorted(records(board), key=lambda record: record.trainer)
    assert other.fold == fold and other.scores.cases == own.scores.cases == validation
    direct = evaluate(tmp_path / "elsewhere", load_dataset(workspace.raw / NAME), cases=validation, workers=1)
    assert other.scores.case_scores("dice").tolist() == pytest.approx(
        ScoreTable.from_evaluation(direct, {}).case_scores("dice").tolist(), abs=1e-9
    )
    assert "swin" in board.page.read_text() and "made elsewhere" in board.page.read_text()


def test_what_has_not_changed_is_not_read_again_and_what_has_is(
    decathlon: Path, tmp_path: Path, trained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.leaderboard.foreign import add as foreign

    workspace = Workspace.locate(tmp_path / "workspace")
    elsewhere = predictions(decathlon / "labelsTr", tmp_path / "elsewhere", 2)
    text = f"datasets: [{{dataset: {NAME}, source: {decathlon.name}}}]\nforeign: swin=elsewhere\n"
    graph = build_graph(suite_at(tmp_path, text), workspace)
    run_local(graph, workers=1)
    read = []
    original = foreign.add_records
    monkeypatch.setattr(foreign, "add_records", lambda *given: read.append(given) or original(*given))
    first = leaderboard(Board(graph))
    run_local(graph, workers=1)
    assert read == []
    # The source may be gone once the data set is there; better predictions are seen.
    shutil.move(decathlon, tmp_path / "put_away")
    shutil.rmtree(elsewhere)
    predictions(tmp_path / "put_away" / "labelsTr", elsewhere, 0)
    run_local(graph, workers=1)
    assert len(read) == 1
    second = leaderboard(Board(graph))
    assert first is not None and second is not None
    assert [board.rows[0].name for board in (first, second)] == ["nnunet", "swin"]


def test_results_that_cannot_be_read_are_a_row_that_says_why(
    decathlon: Path, tmp_path: Path, trained: None
) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "nobody.nii.gz").touch()
    text = f"datasets: [{{dataset: {NAME}, source: {decathlon.name}}}]\nforeign: swin=elsewhere\n"
    graph = build_graph(suite_at(tmp_path, text), workspace)
    assert run_local(graph, workers=1).failed == 1
    rows = {record.trainer: record for record in records(Board(graph))}
    assert rows["nnunet"].status == "ok" and rows["swin"].status == "failed"
    assert "no segmentation named like a case" in rows["swin"].reason
    assert "no segmentation named like a case" in Board(graph).page.read_text()


def test_a_source_that_is_not_what_it_was_stops_only_its_data_set(
    decathlon: Path, tmp_path: Path, trained: None
) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    (decathlon / "labelsTr" / "hippocampus_001.nii.gz").unlink()
    text = f"datasets: [{{dataset: {NAME}, source: {decathlon.name}}}]\n"
    graph = build_graph(suite_at(tmp_path, text), workspace)
    run_local(graph, workers=1)
    (record,) = records(Board(graph))
    assert record.status == "failed" and "labelsTr/hippocampus_001.nii.gz" in record.reason
    assert not (workspace.raw / NAME).exists()


def test_the_job_list_keeps_what_is_given(decathlon: Path, tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path / "workspace")
    (tmp_path / "elsewhere").mkdir()
    text = (
        f"datasets: [{{dataset: {NAME}, source: {decathlon.name}, labels: {{a: 1, b: 2}}, link: true}}]\n"
        f"foreign: [{{path: elsewhere, name: swin, dataset: {NAME}}}]\n"
    )
    graph = build_graph(suite_at(tmp_path, text), workspace)
    loaded = Graph.load(graph.save())
    assert loaded.jobs == graph.jobs
    (first,) = loaded.of("import")
    assert first.given["labels"] == {"a": 1, "b": 2} and first.given["link"] is True
    (foreign,) = loaded.of("foreign")
    assert foreign.given["folds"] == [0] and foreign.id in loaded.job("leaderboard").needs


def test_what_makes_no_sense_in_a_suite_is_told_with_its_line(decathlon: Path, tmp_path: Path) -> None:
    def told(text: str) -> str:
        with pytest.raises(UsageError) as caught:
            build_graph(suite_at(tmp_path, text), Workspace.locate(tmp_path / "workspace"))
        return str(caught.value)

    assert "line 1" in (said := told("datasets: [{dataset: Hippo, source: Task04_Hippocampus}]\n"))
    assert "Dataset101_Name" in said
    assert "Name its source too" in told("datasets: [{dataset: Dataset104_X, layout: msd}]\n")
    assert "folders, msd" in told(
        f"datasets: [{{dataset: {NAME}, source: Task04_Hippocampus, layout: nifti}}]\n"
    )
    assert "no folder" in told(f"datasets: [{{dataset: {NAME}, source: gone}}]\n")
    data = f"datasets: [{{dataset: {NAME}, source: Task04_Hippocampus}}]\n"
    assert "line 2: foreign.0: there is no file or folder" in told(data + "foreign: swin=gone\n")
    (tmp_path / "elsewhere").mkdir()
    assert f"one of {NAME}" in told(data + "foreign: [{path: elsewhere, dataset: Dataset001_Other}]\n")
