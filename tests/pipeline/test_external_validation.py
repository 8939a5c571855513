"""A model tried on another data set: values are joined by name, the drop is what was planted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import readers
from autoseg.errors import UsageError
from autoseg.inference.bundled import BundledModel
from autoseg.leaderboard.of_workspace import ranked
from autoseg.leaderboard.records.files import FILE_NAME, Record, write_record
from autoseg.leaderboard.records.scores import ScoreColumn, ScoreTable
from autoseg.pipeline import external_validation
from autoseg.pipeline.external_validation import validate_elsewhere
from autoseg.system.files import write_json
from autoseg.workspace import Workspace

HOME = (0.9, 0.92, 0.88, 0.94)


class Threshold:
    """Writes 1 (its "tail") where the image is dark grey, 2 (its "head") where it is bright."""

    reader = "SimpleITKIO"
    orientation: Mapping[str, Any] = {}
    dataset_json: Mapping[str, Any] = {
        "file_ending": ".nii.gz",
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "tail": 1, "head": 2},
    }

    def segment_image(self, raw: readers.Image, evidence: Any = None) -> np.ndarray:
        return np.digitize(raw.array[0], [75, 150])


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder with out-of-fold scores, whose network is a threshold."""
    monkeypatch.setattr(external_validation, "loaded_models", lambda *_: (Threshold(), ["sha"]))
    folder = tmp_path / "results" / "Dataset001_Home" / "nnunet__plans__3d_fullres"
    cases = tuple(f"home_{number}" for number in range(len(HOME)))
    columns = [ScoreColumn("dice", name, "dice.v1", HOME) for name in ("head", "tail")]
    columns.append(ScoreColumn("dice", "other", "dice.v1", (0.0,) * len(HOME)))
    scores = ScoreTable(cases, tuple(columns))
    record = Record("run", "Dataset001_Home", "nnunet", "3d_fullres", 0, scores=scores)
    write_record(folder / "fold_0" / FILE_NAME, record)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Three volumes whose labels have other numbers; of the head, half is missed."""
    root = tmp_path / "raw" / "Dataset002_Elsewhere"
    for number in range(3):
        image, label = np.zeros((6, 8, 8), np.float32), np.zeros((6, 8, 8), np.uint8)
        label[1:3, 2:6, 2:6], label[3:5, 2:6, 2:6], label[5, :2, :2] = 2, 1, 3
        image[label == 2], image[label == 1] = 100, 200
        image[3] = 0
        save(root / "imagesTr" / f"c{number}_0000.nii.gz", image + number)
        save(root / "labelsTr" / f"c{number}.nii.gz", label)
    write_json(
        root / "dataset.json",
        {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, "Head": 1, "Tail": 2, "stone": 3},
            "numTraining": 3,
            "file_ending": ".nii.gz",
        },
    )
    return root


def test_the_drop_is_what_was_planted(model: Path, elsewhere: Path, tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path)
    found = validate_elsewhere(model, elsewhere, workspace, workers=1)
    assert found.joined.pairs == {"Head": "head", "Tail": "tail"}
    assert found.joined.only_dataset == ("stone",)
    every, head, tail = found.rows
    # Of the head a slice of two is missed: Dice 2/3. The structure that only one has is not scored.
    assert [head.abroad.value, tail.abroad.value] == pytest.approx([2 / 3, 1])
    assert every.abroad.value == pytest.approx(5 / 6)
    assert every.home is not None and every.home.value == pytest.approx(0.91)
    assert head.drop == pytest.approx(0.91 - 2 / 3)
    assert head.interval is not None and head.interval[0] < head.drop < head.interval[1]
    assert (every.home.cases, every.abroad.cases) == (4, 3)
    document = json.loads((found.folder / "validation.json").read_text())
    assert document["rows"][1]["drop"] == pytest.approx(head.drop)
    # The other data set's leaderboard has a row of its own for it.
    (row,) = ranked(workspace, ["Dataset002_Elsewhere"]).rows
    assert row.name.startswith("nnunet of Dataset001_Home") and row.foreign


def test_a_data_set_outside_the_workspace_is_known_by_its_name_from_then_on(
    model: Path, elsewhere: Path, tmp_path: Path
) -> None:
    outside = elsewhere.rename(tmp_path / "Dataset003_Outside")
    workspace = Workspace.locate(tmp_path)
    validate_elsewhere(model, outside, workspace, workers=1)
    # As `autoseg leaderboard Dataset003_Outside`, which the command names, finds it.
    assert workspace.find_raw("Dataset003_Outside") == outside.resolve()


def test_groups_are_drawn_whole(model: Path, elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "groups.csv").write_text("case,group\nc0,a\nc1,a\nc2,a\n")
    found = validate_elsewhere(model, elsewhere, Workspace.locate(tmp_path), workers=1)
    assert found.rows[0].abroad.groups == 1
    assert found.rows[0].interval is None and found.rows[0].abroad.interval is None


def test_a_model_without_scores_has_no_drop(model: Path, elsewhere: Path, tmp_path: Path) -> None:
    (model / "fold_0" / FILE_NAME).unlink()
    found = validate_elsewhere(model, elsewhere, Workspace.locate(tmp_path), workers=1)
    assert found.rows[0].home is None and found.rows[0].drop is None


def test_its_own_data_set_and_other_channels_are_refused(
    model: Path, elsewhere: Path, tmp_path: Path
) -> None:
    own = elsewhere.rename(elsewhere.with_name("Dataset001_Home"))
    with pytest.raises(UsageError, match="was trained on Dataset001_Home"):
        validate_elsewhere(model, own, Workspace.locate(tmp_path), workers=1)
    other = own.rename(own.with_name("Dataset003_TwoChannels"))
    document = json.loads((other / "dataset.json").read_text())
    document["channel_names"] = {"0": "MR", "1": "CT"}
    for path in list((other / "imagesTr").iterdir()):
        path.with_name(path.name.replace("_0000", "_0001")).write_bytes(path.read_bytes())
    write_json(other / "dataset.json", document)
    with pytest.raises(UsageError, match=r"takes 1 channels \(MR\), Dataset003_TwoChannels has 2"):
        validate_elsewhere(model, other, Workspace.locate(tmp_path), workers=1)


@pytest.mark.parametrize("kind", ["bundle", "folder"])
def test_a_model_that_was_moved_is_known_by_the_data_set_that_it_names(
    kind: str, model: Path, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = model.rename(tmp_path / "liver")
    if kind == "folder":
        write_json(moved / "plans.json", {"dataset_name": "Dataset001_Home"})
    else:
        about = SimpleNamespace(about={"dataset": "Dataset001_Home"})
        bundle = BundledModel(moved, cast(Any, SimpleNamespace(description=about)))
        monkeypatch.setattr(external_validation, "loaded_models", lambda *_: (bundle, ["sha"]))
    own = elsewhere.rename(elsewhere.with_name("Dataset001_Home"))
    with pytest.raises(UsageError, match="Dataset001_Home liver was trained on Dataset001_Home"):
        validate_elsewhere(moved, own, Workspace.locate(tmp_path), workers=1)
