"""Quality and label review of a workspace that was walked before there was either."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from autoseg.errors import RunError
from autoseg.pipeline.quality import fit_again
from autoseg.pipeline.review import review_labels
from autoseg.pipeline.single_stages import predict_folder
from autoseg.trust.quality_model import QualityModel
from autoseg.workspace import Workspace

ARCHIVE = Path(__file__).with_name("walked_workspace.tar.xz")
MODEL = "nnunet__autosegPlans_2b8bb0bb__2d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "walked"


def model_of(root: Path) -> Path:
    return root / "results" / "Dataset905_Discs" / MODEL


def test_a_finished_model_learns_how_good_its_predictions_will_be_and_says_so(
    root: Path, tmp_path: Path
) -> None:
    model, workspace = model_of(root), Workspace.locate(root)
    segmentations = {path: path.read_bytes() for path in model.glob("fold_*/validation/*.png")}
    found = fit_again(model, workspace, "cpu", workers=1)
    assert found.cases == len(segmentations) > 1
    assert {path: path.read_bytes() for path in segmentations} == segmentations
    assert QualityModel.load(model / "quality.json").to_json() == found.to_json()

    done = predict_folder(model, root / "new", tmp_path / "out", device="cpu")
    document = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert len(document["cases"]) == len(done.files)
    for case in document["cases"].values():
        for structure in case["structures"].values():
            assert 0 <= structure["expected_dice"] <= 1
            # Too few groups were held out for an interval.
            assert structure["dice_interval"] is None
    assert (tmp_path / "out" / "quality.csv").is_file()
    assert "<img src=" in (tmp_path / "out" / "triage.html").read_text()

    predict_folder(model, root / "new", tmp_path / "plain", device="cpu", quality=False)
    assert (
        not list((tmp_path / "plain").glob("quality*")) and not (tmp_path / "plain" / "triage.html").exists()
    )
    for path in done.files:
        assert (tmp_path / "plain" / path.name).read_bytes() == path.read_bytes()


def test_labels_are_ranked_with_a_table_and_pictures_and_none_is_changed(root: Path) -> None:
    raw = root / "raw" / "Dataset905_Discs" / "labelsTr"
    labels = {path: path.read_bytes() for path in raw.iterdir()}
    doubts, page = review_labels("905", Workspace.locate(root), model_of(root), "cpu", 1)
    assert [each.score for each in doubts] == sorted((each.score for each in doubts), reverse=True)
    assert page.read_text().count("<img src=") == len(doubts)
    table = page.with_name("label_review.csv").read_text().splitlines()
    assert len(table) == len(doubts) + 1
    assert table[1].startswith(f"{doubts[0].case},")
    assert {path: path.read_bytes() for path in raw.iterdir()} == labels


def test_a_data_set_without_a_model_says_what_to_run(root: Path) -> None:
    for path in (root / "results").rglob("record.jsonl"):
        path.unlink()
    with pytest.raises(RunError, match="Run autoseg plan-and-train Dataset905_Discs first"):
        review_labels("905", Workspace.locate(root), None, "cpu", 1)
