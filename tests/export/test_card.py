"""The card says what the record says: scores with intervals, the worst cases, cost and licence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from autoseg.bundle.description import Description, Member
from autoseg.data.labels import Labels
from autoseg.decoding.rules import BEST_DICE, Decoding
from autoseg.decoding.temperature import Calibration
from autoseg.export.card import write_card
from autoseg.leaderboard.records.files import Cost, Record, write_record
from autoseg.leaderboard.records.scores import MISSING, ScoreColumn, ScoreTable
from autoseg.postprocessing.rules import Postprocessing, Rule

HEAD = (0.9, 0.2, 0.8, 0.95, 0.7, 0.85)
BODY = (0.6, 0.9, 0.75, 0.65, 0.8, 0.3)
CASES = ("a", "b", "c", "d", "e", "f")


def description() -> Description:
    content: dict[str, Any] = {
        "preprocessing": {
            "transpose": [0, 1, 2],
            "spacing": [1.0, 1.0],
            "normalization": [
                {"scheme": "NoNormalization", "within_nonzero": False, "intensities": {"mean": 3.25}}
            ],
            "resampling": {},
        },
        "window": {"patch_size": [8, 8], "step_size": 0.5, "mirror_axes": []},
        "networks": ["networks/a.onnx", "networks/b.onnx"],
        "mean_of": "logits",
    }
    about = {
        "dataset": "Dataset001_Small",
        "trainer": "unet",
        "configuration": "2d",
        "version": "1.0",
        "exported": "2026-01-02",
        "fingerprint": {"spacing": [2.0, 0.5, 0.5], "shape": [10, 64, 48.5]},
    }
    labels = Labels({"background": 0, "head": 1, "body": 2})
    member = Member.from_json(content)
    return Description("small", ("T1",), ".nii.gz", "SimpleITKIO", labels, (member,), {}, about)


def card(tmp_path: Path, **about: Any) -> str:
    path = tmp_path / "card.md"
    write_card(path, description(), {"numTraining": 6, **about}, tmp_path / "model")
    return path.read_text(encoding="utf-8")


def test_with_a_record(tmp_path: Path) -> None:
    columns = tuple(
        ScoreColumn("dice", name, "dice.v1", values) for name, values in (("head", HEAD), ("body", BODY))
    )
    record = Record(
        run_id="r",
        dataset="Dataset001_Small",
        trainer="unet",
        configuration="2d",
        fold=0,
        device="2 x CPU",
        cost=Cost(parameters=2_500_000, train_s=61.7, training_steps=40, inference_s_per_case=1.25),
        scores=ScoreTable(CASES, columns),
    )
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    write_record(tmp_path / "model" / "fold_0" / "record.jsonl", record)
    text = card(tmp_path, licence="CC-BY 4.0")
    quality = record.quality["dice"]
    assert quality.value == pytest.approx(0.7) and quality.interval is not None
    low, high = quality.interval
    assert f"| 0 | 6 | Dice | 0.7 | {low:.4g} to {high:.4g} |" in text
    worst = text[text.index("## Known failures") : text.index("## Cost")]
    rows = [line for line in worst.splitlines() if line.startswith("| ")][1:]
    expected = [
        ("b", "head", 0.2),
        ("f", "body", 0.3),
        ("a", "body", 0.6),
        ("d", "body", 0.65),
        ("e", "head", 0.7),
    ]
    assert rows == [f"| {case} | {structure} | {value} |" for case, structure, value in expected]
    assert "62 s of training on 2 x CPU, 40 steps, 2,500,000 parameters, 1.25 s for a held-out case" in text
    assert "- Data: CC-BY 4.0" in text and "- Energy: not measured" in text
    assert "Of fewer than 10 cases an interval says little." in text
    assert "| head | 6 |  | 0.7333 |" in text and "| 0.2 |" in text and "| body | 6 |  | 0.6667 |" in text


def test_cases_without_a_structure_are_not_counted_as_cases_with_it(tmp_path: Path) -> None:
    one = (0.0, 0.0, 1.0, 1.0, 0.7, 0.0)
    voxels = {"tp": (0.0, 0.0, 0.0, 0.0, 7.0, 0.0), "fn": (0.0, 0.0, 0.0, 0.0, 3.0, 5.0)}
    columns = [
        ScoreColumn("dice", name, "dice.v1", values) for name, values in (("head", HEAD), ("cyst", one))
    ]
    columns += [ScoreColumn(name, "cyst", f"{name}.v1", values) for name, values in voxels.items()]
    scores = ScoreTable(CASES, tuple(columns))
    record = Record("r", "Dataset001_Small", "unet", configuration="2d", fold=0, scores=scores)
    (tmp_path / "model" / "fold_0").mkdir(parents=True)
    write_record(tmp_path / "model" / "fold_0" / "record.jsonl", record)
    assert "| cyst | 6 | 2 | 0.45 |" in card(tmp_path)


def test_what_a_buyer_has_to_know_is_said(tmp_path: Path) -> None:
    columns = tuple(
        ScoreColumn("dice", name, "dice.v1", values, statuses={5: MISSING} if name == "head" else {})
        for name, values in (("head", HEAD), ("body", (None,) * 6))
    )
    record = Record(
        run_id="r",
        dataset="Dataset001_Small",
        trainer="unet",
        configuration="2d",
        fold=1,
        status="partial",
        reason="the time was over",
        changes=("width 32 -> 16",),
        training_cases=24,
        data_warnings=("2 cases are in both folds",),
        selection=True,
        cost=Cost(train_s=5.0, energy_kwh=0.0123, g_co2=4.56, energy_how="estimated"),
        scores=ScoreTable(CASES, columns),
    )
    (tmp_path / "model" / "fold_1").mkdir(parents=True)
    write_record(tmp_path / "model" / "fold_1" / "record.jsonl", record)
    text = card(tmp_path)
    for said in (
        "- **Fold 1 is partial**: the time was over",
        "- Fold 1, cases without a prediction: 1 (f)",
        "- Fold 1 learnt from 24 cases",
        "- **May have spoilt the model**: 2 cases are in both folds",
        "| body | 0 | | not known | | |",
        "The same cases chose this model among others, which flatters it.",
        "- Fold 1, energy (estimated): 0.0123 kWh, 4.56 g of CO2 equivalent",
        "- Fold 1, changed in the published system: width 32 -> 16",
    ):
        assert said in text


def test_what_comes_after_the_network_is_said(tmp_path: Path) -> None:
    plain = card(tmp_path)
    assert "- Nothing: each voxel has its likeliest label" in plain
    rules = Postprocessing((Rule("head", (1,), 1, largest=True),), evidence={"in_words": ["gain 0.01"]})
    decoding = Decoding(Calibration(1.5), BEST_DICE)
    changed = dataclasses.replace(description(), postprocessing=rules, decoding=decoding)
    write_card(tmp_path / "card.md", changed, {"numTraining": 6}, tmp_path / "model")
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "- Postprocessing of head: largest component\n" in text and "- gain 0.01\n" in text
    assert "temperature 1.5" in text and "best expected Dice" in text and "- Nothing" not in text


def test_without_a_record_it_claims_nothing(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert "None: the model has no record of an evaluation." in text
    assert "None known: no case was evaluated." in text and "Not recorded." in text
    assert "- Data: not stated in dataset.json" in text
    assert "Segments head, body in T1. Trainer `unet`, configuration `2d`, 2 networks" in text
    assert "- Median spacing (mm): 2 x 0.5 x 0.5" in text and "mean 3.25" in text
    assert text.count("*To be filled in by whoever gives this model away.*") == 2
