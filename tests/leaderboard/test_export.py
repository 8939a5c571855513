"""Files for other programs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_records import experiment, record

from autoseg.data.dataset import Labels
from autoseg.data.readers import write_segmentation
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard import export
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.scores import ScoreTable


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_csv_is_the_json_rows(tmp_path: Path) -> None:
    board = rank(experiment({"a": 0.9, "b,c": 0.8}), resamples=200)
    rows = _rows(export.write_csv(board, tmp_path / "board.csv"))
    assert [row["trainer"] for row in rows] == ["a", "b,c"]
    for row, expected in zip(rows, board.to_json()["rows"], strict=True):
        assert list(row) == list(expected)
        assert float(row["dice"]) == expected["dice"]
        assert [float(x) for x in row["dice_ci"].split()] == expected["dice_ci"]
        assert row["folds"] == "0 1 2 3 4"


def test_challenger_gets_every_case_of_what_is_comparable(tmp_path: Path) -> None:
    records = [r for r in experiment({"a": 0.9, "b": 0.8, "c": 0.7}) if r.trainer != "c" or r.fold == 0]
    board = rank(records, resamples=200)
    rows = _rows(export.write_scores(board, tmp_path / "scores.csv"))
    assert list(rows[0]) == ["Task", "TestCase", "Algorithm", "MetricValue"]
    assert {row["Algorithm"] for row in rows} == {"a", "b"} and len(rows) == 120
    mean = np.mean([float(row["MetricValue"]) for row in rows if row["Algorithm"] == "a"])
    assert mean == pytest.approx(board.rows[0].means["dice"])


def test_markdown_and_latex_show_ranks_ties_and_escape_names() -> None:
    one = experiment({"a|b_c&d": 0.9})
    records = [*one, *(replace(r, trainer="twin", run_id="t" + r.run_id) for r in one)]
    board = rank([*records, record("c", status="failed", reason="out of memory")], resamples=200)
    text = export.markdown(board)
    assert r"| 1 | a\|b_c&d | 0." in text and "| 1 | twin |" in text
    assert "- c on Dataset900_Made: failed. out of memory" in text
    tex = export.latex(board)
    assert r"1 & \textbf{a|b\_c\&d} & 0." in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1
    body = tex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert {line.count(" & ") for line in body.strip().splitlines()} == {9}


def test_nnunet_summary_is_that_of_the_pooled_evaluation(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = Labels({"background": 0, "left": 1, "right": 2})
    properties = {"spacing": (999, 1, 1)}
    for folder in ("reference", "prediction"):
        (tmp_path / folder).mkdir()
        for i in range(4):
            plane = generator.integers(0, 3, (1, 16, 16)).astype(np.uint8)
            write_segmentation(plane, tmp_path / folder / f"c{i}.png", properties, "NaturalImage2DIO")
    arguments = {"references": tmp_path / "reference", "labels": labels, "workers": 1}
    whole = evaluate(tmp_path / "prediction", **arguments)
    whole.save_nnunet_summary(tmp_path / "expected.json")
    records = []
    for fold, cases in enumerate((["c0", "c1"], ["c2", "c3"])):
        found = evaluate(tmp_path / "prediction", cases=cases, **arguments)
        scores = ScoreTable.from_evaluation(found)
        records.append(record("ours/odd name", fold, settings=found.settings, scores=scores))
    path, *folds = export.write_nnunet_summaries(rank(records, resamples=200), tmp_path / "out")
    home = tmp_path / "out" / "Dataset900_Made" / "ours_odd_name"
    assert path == home / "summary.json"
    assert folds == [home / "fold_0" / "summary.json", home / "fold_1" / "summary.json"]
    written, expected = (json.loads(p.read_text()) for p in (path, tmp_path / "expected.json"))
    assert written["foreground_mean"] == expected["foreground_mean"]
    assert written["mean"] == expected["mean"]
    assert [c["metrics"] for c in written["metric_per_case"]] == [
        c["metrics"] for c in expected["metric_per_case"]
    ]
    assert [c["reference_file"] for c in written["metric_per_case"]] == ["c0", "c1", "c2", "c3"]
    second = json.loads(folds[1].read_text())
    assert second["metric_per_case"] == written["metric_per_case"][2:]


def test_rows_without_counts_have_no_summary(tmp_path: Path) -> None:
    assert export.write_nnunet_summaries(rank(experiment({"a": 0.9}), resamples=200), tmp_path) == ()
