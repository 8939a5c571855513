"""DeepMRSeg's ensemble, end to end on generated volumes: three trainings, one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoseg.data.readers import read_images, read_segmentation
from autoseg.data.synthetic import make_demo
from autoseg.leaderboard.records.files import Record
from autoseg.nnunet import read_checkpoint
from autoseg.pipeline import single_stages
from autoseg.pipeline import walk as pipeline
from autoseg.pipeline.settings import Settings
from autoseg.planner.plan import Plan
from autoseg.run import predicting_checkpoints
from autoseg.system.files import read_json
from autoseg.tailoring import choose_shape
from autoseg.training import training_run
from autoseg.workspace import Workspace

# Not of CI's choice: a few seconds of budget are enough for these trainings on a quiet machine only.
pytestmark = pytest.mark.slow
BUDGET_S = 30.0
NAME = "Dataset901_DemoMR"


@pytest.fixture(autouse=True, scope="module")
def _any_budget_will_do() -> Iterator[None]:
    """Seconds are for the tests' sake; on a busy machine they would be refused as too few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose_shape, "LEAST_STEPS", 1)
        patch.setattr(training_run, "_refuse_prediction", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with six small generated volumes."""
    root = tmp_path_factory.mktemp("ensemble")
    make_demo(root / "raw", cases=(6, 2))
    return Workspace.locate(root)


def walk(workspace: Workspace) -> Record:
    settings = Settings(
        trainers=("deepmrseg:orientations=3",), folds=(0,), total_s=BUDGET_S, device="cpu", workers=1
    )
    (record,) = pipeline.plan_and_train(workspace.raw / NAME, workspace, settings).records
    return record


@pytest.fixture(scope="module")
def record(workspace: Workspace) -> Record:
    """The row of the whole ensemble."""
    return walk(workspace)


def row_folder(record: Record) -> Path:
    assert record.source is not None
    return record.source.parents[1]


def members(record: Record) -> list[Path]:
    return sorted(row_folder(record).parent.glob("deepmrseg__*_axis?__2d"))


def test_three_trainings_are_one_row_within_one_budget(record: Record) -> None:
    assert record.status in ("ok", "collapsed"), record.reason
    assert [path.name for path in members(record)] == [
        f"deepmrseg__{record.plan}_axis{axis}__2d" for axis in range(3)
    ]
    plans = [Plan.load(path / "plans.json") for path in members(record)]
    assert [plan.transpose for plan in plans] == [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    costs = [read_json(path / "fold_0" / "cost.json") for path in members(record)]
    assert record.cost.parameters == sum(cost["parameters"] for cost in costs)
    assert record.cost.training_steps == sum(cost["steps"] for cost in costs)
    assert record.cost.budget_s == pytest.approx(BUDGET_S)
    assert record.cost.train_s == pytest.approx(BUDGET_S, rel=0.35)
    assert any("schedule" in change and "-> 10 s" in change for change in record.changes)


def test_predictions_lie_on_the_grids_of_their_cases(record: Record, workspace: Workspace) -> None:
    raw = workspace.raw / NAME
    cases = sorted((row_folder(record) / "fold_0" / "validation").glob("*.nii.gz"))
    assert len(cases) == len(record.scores.cases) > 0
    for path in cases:
        prediction = read_segmentation(path, "SimpleITKIO")
        reference = read_segmentation(raw / "labelsTr" / path.name, "SimpleITKIO")
        assert prediction.array.shape == reference.array.shape
        assert prediction.spacing == reference.spacing
        assert prediction.properties["sitk_stuff"] == reference.properties["sitk_stuff"]
        assert set(np.unique(prediction.array)) <= {0, 1, 2}


def test_run_again_only_what_is_missing_is_made(record: Record, workspace: Workspace) -> None:
    weights = {path: path.stat().st_mtime_ns for path in workspace.results.rglob("*.pth")}
    fold = row_folder(record) / "fold_0"
    first, *others = sorted((fold / "validation").glob("*.nii.gz"))
    before = {path: path.stat().st_mtime_ns for path in others}
    segmentation = read_segmentation(first, "SimpleITKIO").array
    first.unlink()
    (fold / "evaluation.json").unlink()
    (fold / "record.jsonl").unlink()
    again = walk(workspace)
    assert again.scores.columns == record.scores.columns
    assert again.checkpoint_sha256 == record.checkpoint_sha256
    assert np.array_equal(read_segmentation(first, "SimpleITKIO").array, segmentation)
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert {path: path.stat().st_mtime_ns for path in workspace.results.rglob("*.pth")} == weights


@pytest.fixture(scope="module")
def held_out(record: Record, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of one case that was not trained on."""
    folder = tmp_path_factory.mktemp("images")
    name = f"{record.scores.cases[0]}_0000.nii.gz"
    (folder / name).symlink_to(workspace.raw / NAME / "imagesTr" / name)
    return folder


Segment = Callable[..., np.ndarray]


@pytest.fixture
def segment(held_out: Path, tmp_path: Path) -> Segment:
    """Give ``segment(model, ...)``: what `autoseg predict` writes for the held-out case."""

    def written(model: Path, *more: Path) -> np.ndarray:
        output = tmp_path / "-".join(path.name for path in (model, *more))
        (path,) = single_stages.predict_folder(model, held_out, output, device="cpu", more=more).files
        return read_segmentation(path, "SimpleITKIO").array[0]

    return written


def test_the_rows_folder_predicts_as_the_row_was_predicted(record: Record, segment: Segment) -> None:
    path = row_folder(record) / "fold_0" / "validation" / f"{record.scores.cases[0]}.nii.gz"
    expected = read_segmentation(path, "SimpleITKIO").array[0]
    assert np.array_equal(segment(row_folder(record)), expected)
    assert np.array_equal(segment(*members(record)), expected)
    assert not np.array_equal(segment(members(record)[0]), expected)


def stock_probabilities(model: Path, checkpoint: str, image: Any, reader: str) -> np.ndarray:
    """What `nnUNetv2_predict --save_probabilities` would write."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), verbose=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,), checkpoint)
    properties = {"spacing": list(image.spacing), **image.properties}
    _, found = predictor.predict_single_npy_array(image.array, properties, None, None, True)
    return np.asarray(found)


def test_stock_nnunet_makes_the_same_ensemble(
    record: Record, held_out: Path, segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member and checkpoint by stock prediction, averaged as `nnUNetv2_ensemble` does."""
    monkeypatch.setattr(
        "autoseg.inference.model.autocast_dtype", lambda device: None
    )  # float32, as nnU-Net's
    image = read_images(sorted(held_out.iterdir()), "SimpleITKIO")
    of_members = []
    for model in members(record):
        files = [path.name for path in predicting_checkpoints(model / "fold_0")]
        final = stock_probabilities(model, "checkpoint_final.pth", image, "SimpleITKIO")
        each = [stock_probabilities(model, name, image, "SimpleITKIO") for name in files]
        np.testing.assert_allclose(final, each[0], atol=1e-5)
        of_members.append(np.mean(each, axis=0))
    expected = np.mean(of_members, axis=0).argmax(0)
    assert np.mean(segment(row_folder(record)) != expected) < 0.02


def test_an_interrupted_training_goes_on_with_its_best_checkpoints(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.trainers.deepmrseg import deepmrseg

    settings = Settings(total_s=20.0, device="cpu", workers=1, seed=1)
    arguments = (workspace.raw / NAME, "deepmrseg:orientations=1:best_checkpoints=3", 0, workspace, settings)
    look = deepmrseg.on_validation_epoch_end

    def look_and_stop(self: Any, outputs: list[Any]) -> None:
        look(self, outputs)
        self.stop_requested = self.current_epoch == 5

    with monkeypatch.context() as patched:
        patched.setattr(deepmrseg, "on_validation_epoch_end", look_and_stop)
        with pytest.raises(KeyboardInterrupt):
            single_stages.train_one(*arguments)
    (latest,) = workspace.results.rglob("checkpoint_latest.pth")
    before = read_json(latest.parent / "best_checkpoints.json")["checkpoints"]
    assert {each["epoch"] for each in before} < set(range(6))
    checkpoint = single_stages.train_one(*arguments)
    kept = read_json(latest.parent / "best_checkpoints.json")["checkpoints"]
    losses = read_checkpoint(checkpoint.path)["logging"]["val_losses"]
    assert len(losses) > 6
    assert [each["epoch"] for each in kept] == np.argsort(losses, kind="stable")[: len(kept)].tolist()
    assert [losses[each["epoch"]] for each in kept] == pytest.approx([each["loss"] for each in kept])
