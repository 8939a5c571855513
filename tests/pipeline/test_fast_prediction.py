"""Fast prediction of a trained model: measured once on its held-out cases, and said."""

from __future__ import annotations

import json
import logging
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.readers import read_segmentation
from autoseg.inference.fast_rule import MOST_LOST, RULES, FastRule
from autoseg.inference.options import Options
from autoseg.pipeline import fast_prediction
from autoseg.pipeline.fast_prediction import fast_rule, spread
from autoseg.pipeline.single_stages import predict_folder

ARCHIVE = Path(__file__).with_name("walked_workspace.tar.xz")
MODEL = Path("results", "Dataset905_Discs", "nnunet__autosegPlans_2b8bb0bb__2d")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    # The walked data set is small.
    monkeypatch.setattr(fast_prediction, "FEWEST", 2)
    return tmp_path / "walked"


def test_places_are_spread_over_all() -> None:
    assert spread(3, 20) == [0, 1, 2] and spread(0, 20) == []
    found = spread(101, 5)
    assert found == [0, 25, 50, 75, 100]


def test_the_change_is_measured_once_said_and_kept(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    model = root / MODEL
    held_out = len(list(model.glob("fold_*/validation/*.png")))
    place, fast = (model, root / "new", tmp_path / "out"), Options(fast=True)
    predict_folder(*place, device="cpu", choices=fast)
    document = json.loads((model / "fast.json").read_text())
    about = document["evidence"]
    assert about["cases"] == held_out and about["tried"][0]["share"] == 1.0
    chosen = about["tried"][-1]
    assert (document["share"], document["copies"]) == (chosen["share"], chosen["copies"])
    lost = [-each["change"] + each["standard_error"] for each in about["tried"]]
    assert all(each > MOST_LOST for each in lost[:-1])
    assert lost[-1] <= MOST_LOST or len(lost) == len(RULES)
    assert f"On {held_out} held-out cases it changes the mean Dice by {about['change']:+.4f}" in caplog.text
    # The second time nothing is predicted for it, and what is there is fresh by the same rule alone.
    monkeypatch.setattr(fast_prediction, "measured", lambda *_: pytest.fail("measured again"))
    again = predict_folder(*place, device="cpu", choices=fast)
    assert len(again.retained) == len(again.files) > 0
    other = FastRule(0.5, 2, about)
    other.save(model)
    assert not predict_folder(*place, device="cpu", choices=fast).retained


def test_the_cheapest_rule_that_loses_little_is_taken(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {(1.0, None): -0.01, (1e-3, 2): -0.0015, (1e-3, 4): 0.0, (1e-3, None): 0.0}
    errors = {(1.0, None): 0.0, (1e-3, 2): 0.001, (1e-3, 4): 0.0005, (1e-3, None): 0.0}

    def tried(rule: FastRule, *_: object) -> dict[str, object]:
        key = (rule.share, rule.copies)
        return {**rule.how, "change": changes[key], "standard_error": errors[key], "passes_saved": 0.0}

    monkeypatch.setattr(fast_prediction, "_tried", tried)
    # Two copies lose too little to be seen and too much to be sure.
    assert fast_rule(root / MODEL, ["hash"], "cpu").copies == 4
    errors[1e-3, 2] = 0.0004
    assert fast_rule(root / MODEL, ["hash"], "cpu").copies == 4, "what is kept counts"
    assert fast_rule(root / MODEL, ["other weights"], "cpu").copies == 2
    # Where every rule loses, the most careful one stands, with what it loses.
    changes.update(dict.fromkeys(changes, -0.5))
    found = fast_rule(root / MODEL, ["third"], "cpu")
    assert (found.share, found.copies) == (1e-3, None) and "-0.5000" in found.change_in_words


def test_a_rule_changes_what_it_is_measured_by(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out predictions that are all wrong: any rule gains on them, by what the networks know."""
    before = fast_prediction.measured(root / MODEL, "cpu").evidence["change"]
    for path in (root / MODEL).glob("fold_*/validation/*.png"):
        blank = np.zeros_like(read_segmentation(path, "NaturalImage2DIO").array[0])
        from autoseg.data.readers import write_segmentation

        write_segmentation(blank, path, {"spacing": (999, 1, 1)}, "NaturalImage2DIO")
    assert fast_prediction.measured(root / MODEL, "cpu").evidence["change"] > before + 0.1


def test_a_model_without_held_out_cases_says_so(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    away = tmp_path / "elsewhere" / "model"
    shutil.copytree(root / MODEL, away)
    predict_folder(away, root / "new", tmp_path / "out", device="cpu", choices=Options(fast=True))
    assert "no held-out cases of the model are at hand" in caplog.text
    assert not (away / "fast.json").exists()
