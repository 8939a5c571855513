"""Quality and label review of a workspace that was walked before there was either."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_segmentation
from autoseg.decoding.decide import Observed
from autoseg.decoding.rules import BEST_DICE, CALIBRATED, LARGEST, WAYS, Decoding
from autoseg.decoding.temperature import Calibration
from autoseg.errors import RunError
from autoseg.pipeline.calibrate import calibrate_model
from autoseg.pipeline.quality import fit_again, refit
from autoseg.pipeline.review import review_labels
from autoseg.pipeline.single_stages import predict_folder
from autoseg.pipeline.written import DECODED, DECODED_EVIDENCE
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import PIXELS, Postprocessing, Rule
from autoseg.trust.quality_model import QualityModel
from autoseg.trust.written import dices
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


def test_quality_is_fitted_on_what_is_written(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Postprocessing that spoils every case: what is expected falls to what is written."""
    model, workspace = model_of(root), Workspace.locate(root)
    before = fit_again(model, workspace, "cpu", workers=1)
    dataset = load_dataset(workspace.find_raw("905"))
    name, values = next(iter(dataset.labels.structures.items()))
    # Nothing is as large, so that all of it goes.
    rules = Postprocessing((Rule(name, values, values[0], smallest=1e6),), PIXELS, {"in_words": []})
    rules.save(model)
    found = refit([model], dataset, workspace, 1)[model]
    assert found.about["written"] and found.about["written_in_words"] == list(rules.words)
    truth = []
    for path in sorted(model.glob("fold_*/validation/*.png")):
        written = postprocess(read_segmentation(path, dataset.reader).array[0], rules, (999.0, 1.0, 1.0))
        label = dataset.case(path.stem).label
        assert label is not None
        truth.append(dices(written, read_segmentation(label, dataset.reader).array[0], dataset.labels)[name])
    assert found.structures[name].empty[0] == len(truth)
    assert found.structures[name].empty[1] == pytest.approx(sum(truth))
    assert before.structures[name].empty[0] == 0

    predict_folder(model, root / "new", tmp_path / "out", device="cpu")
    assert "made otherwise" not in caplog.text
    predict_folder(model, root / "new", tmp_path / "bare", device="cpu", postprocessing=False)
    assert "made otherwise" in caplog.text


def test_a_finished_model_is_calibrated(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, workspace = model_of(root), Workspace.locate(root)
    segmentations = {path: path.read_bytes() for path in model.glob("fold_*/validation/*.png")}
    found = calibrate_model(model, workspace, "cpu", 1)
    assert Decoding.of_model(model) == found
    about = found.evidence
    assert about["n_cases"] == len(segmentations)
    assert 0 <= about["after"]["expected_error"] <= 1 and about["before"]["diagram"]
    assert not list(model.glob(f"fold_*/{DECODED}"))

    def for_dice(
        cases: Sequence[Observed],
        has_regions: bool,
        gains: Callable[[Sequence[Calibration]], Mapping[str, Sequence[float]]],
    ) -> Decoding:
        found = gains([Calibration(1.3)] * len(cases))
        assert np.isfinite([found[way] for way in WAYS]).all()
        # A temperature alone makes no other label the likeliest.
        assert set(found[CALIBRATED]) == {0.0}
        return Decoding(Calibration(1.3), BEST_DICE, {"in_words": ["said"]})

    # Where it is to decide for Dice, its held-out cases are too, and quality is fitted on those.
    monkeypatch.setattr("autoseg.pipeline.calibrate.decide_decoding", for_dice)
    calibrate_model(model, workspace, "cpu", 1)
    assert {path: path.read_bytes() for path in segmentations} == segmentations
    assert len(list(model.glob(f"fold_*/{DECODED}/*.png"))) == len(segmentations)
    assert len(list(model.glob(f"fold_*/{DECODED_EVIDENCE}"))) == len(list(model.glob("fold_*/validation")))
    quality = QualityModel.load(model / "quality.json")
    assert quality.cases == len(segmentations)
    assert quality.about["written_in_words"][0] == "decided for the best expected Dice"
    assert Decoding.of_model(model).decide != LARGEST


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
