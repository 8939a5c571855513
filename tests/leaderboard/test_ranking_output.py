"""A leaderboard of several data sets, its warnings and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from made_records import experiment, record, table

from autoseg.leaderboard import quantities
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record
from autoseg.metrics import METRICS

ROW_KEYS = [
    "rank",
    "tied_with_best",
    "dataset",
    "trainer",
    "configuration",
    "folds",
    "seed",
    "status",
    "n_cases",
    "n_missing",
    "dice",
    "dice_ci",
    "iou",
    "nsd",
    "hd95_mm",
    "parameters",
    "checkpoint_mb",
    "train_s",
    "budget_s",
    "inference_s_per_case",
]


def test_data_sets_are_ranked_one_by_one() -> None:
    board = rank(
        [*experiment({"a": 0.9, "b": 0.8}), *experiment({"a": 0.7, "b": 0.8}, dataset="Dataset901_Other")]
    )
    assert [(row.dataset[7:10], row.rank, row.name) for row in board.rows] == [
        ("900", 1, "a"),
        ("900", 2, "b"),
        ("901", 1, "b"),
        ("901", 2, "a"),
    ]
    assert {c["dataset"] for c in board.comparisons()} == set(board.datasets)


def test_groups_are_the_unit_where_there_are_groups() -> None:
    cases = [f"case_{i:03d}" for i in range(60)]
    groups = {case: f"person {i // 6}" for i, case in enumerate(cases)}
    board = rank(experiment({"a": 0.9, "b": 0.89}, groups=groups))
    assert board.sets[0].comparable.groups is not None
    assert any("Only 10 groups" in note for note in board.sets[0].warnings)
    plain = rank(experiment({"a": 0.9, "b": 0.89}))
    assert board.comparisons()[0]["p"] > plain.comparisons()[0]["p"]


def test_warnings_name_what_weakens_the_numbers() -> None:
    def notes(records: list[Record]) -> str:
        return " ".join(rank(records).sets[0].warnings)

    few = experiment({"a": 0.9, "b": 0.8}, n_cases=10, n_folds=2)
    assert "Only 10 cases" in notes(few)
    assert "among 3 pairs, however large, can reach p < 0.05" in notes(
        experiment({"a": 0.9, "b": 0.8, "c": 0.7}, n_cases=6, n_folds=2)
    )
    assert "One fold only (fold 0)" in notes([r for r in few if r.fold == 0])
    assert "served to choose" in notes([replace(r, selection=True) for r in few])
    dear = [replace(r, cost=replace(r.cost, budget_s=900.0)) if r.trainer == "b" else r for r in few]
    assert "Budgets differ: 600 s to 900 s" in notes(dear)
    many = notes(experiment({"a": 0.9, "b": 0.8}, n_cases=60))
    assert many == ""


def test_one_case_shows_nothing_and_a_handful_no_equivalence() -> None:
    board = rank([record(name, scores=table(["only"], {"organ": [0.9]})) for name in "ab"])
    assert any("One case only" in note for note in board.sets[0].warnings)
    assert board.comparisons()[0]["verdict"] == "undecided"
    alike = experiment({"a": 0.9}, n_cases=12, n_folds=2)
    board = rank([*alike, *(replace(r, trainer="b", run_id="b" + r.run_id) for r in alike)])
    assert board.comparisons()[0]["verdict"] == "equivalent"


def test_disagreement_of_the_two_rankings_is_told() -> None:
    cases = [f"c{i}" for i in range(20)]
    ahead = [0.9] * 18 + [0.0] * 2
    board = rank(
        [
            record("ahead", scores=table(cases, {"organ": ahead})),
            record("steady", scores=table(cases, {"organ": [0.88] * 20})),
        ]
    )
    assert board.rows[0].name == "steady"
    assert any("steady has the best mean, ahead is ahead case by case" in n for n in board.sets[0].warnings)
    # The test favours the one that the mean puts second: neither has lost.
    assert [row.tied_with_best for row in board.rows] == [True, True]


def test_json_has_the_documented_keys() -> None:
    content = rank(experiment({"a": 0.9, "b": 0.8})).to_json()
    assert list(content) == ["page", "records", "rows", "comparisons"]
    assert list(content["rows"][0])[: len(ROW_KEYS)] == ROW_KEYS
    assert {"metric", "a", "b", "difference", "ci", "p", "p_holm"} <= set(content["comparisons"][0])
    first = content["rows"][0]
    assert first["dice_ci"][0] < first["dice"] < first["dice_ci"][1]
    assert isinstance(first["parameters"], int)
    json.dumps(content, allow_nan=False)


def test_rows_say_how_often_they_lead_and_what_was_changed() -> None:
    made = [replace(r, changes=("width 8",)) for r in experiment({"a": 0.9, "b": 0.7})]
    first, second = rank(made, resamples=200).to_json()["rows"]
    assert (first["leads_in"], second["leads_in"]) == (1.0, 0.0)
    assert first["rank_ci"] == [1.0, 1.0] and first["changes"] == ["width 8"]


def test_every_metric_that_readers_have_words_for_is_a_metric() -> None:
    assert {*quantities._LABELS, *quantities._PLAIN, *quantities.SHOWN} <= set(METRICS)
