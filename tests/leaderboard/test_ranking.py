"""Ranking: like with like, ties as ties, nothing gained by leaving things out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from made_records import experiment, record, table
from scipy import stats

from autoseg.errors import UsageError
from autoseg.leaderboard.ranking.ranking import Leaderboard, rank
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import EMPTY, ScoreColumn, ScoreTable


def _names(board: Leaderboard) -> list[str]:
    return [row.name for row in board.rows]


def test_a_planted_order_is_found_and_told_apart() -> None:
    board = rank(experiment({"worst": 0.7, "best": 0.9, "middle": 0.8}))
    assert _names(board) == ["best", "middle", "worst"]
    assert [row.rank for row in board.rows] == [1, 2, 3]
    assert [row.tied_with_best for row in board.rows] == [True, False, False]
    assert [row.n_cases for row in board.rows] == [60, 60, 60]
    assert board.rows[0].folds == (0, 1, 2, 3, 4)


def test_identical_models_share_the_rank_and_the_lead() -> None:
    one = experiment({"a": 0.9})
    board = rank([*one, *(replace(r, trainer="b", run_id=r.run_id + "b") for r in one)])
    assert [(row.rank, row.tied_with_best) for row in board.rows] == [(1, True), (1, True)]
    (pair,) = board.comparisons()
    assert (pair["difference"], pair["p"], pair["verdict"]) == (0.0, 1.0, "equivalent")


def test_means_and_p_values_are_those_of_the_pooled_cases() -> None:
    records = experiment({"a": 0.9, "b": 0.895})
    pooled = {
        trainer: np.concatenate([r.scores.case_scores("dice") for r in records if r.trainer == trainer])
        for trainer in ("a", "b")
    }
    board = rank(records)
    for row in board.rows:
        assert row.means["dice"] == pytest.approx(pooled[row.name].mean())
        assert row.intervals["dice"].low < row.means["dice"] < row.intervals["dice"].high
    (pair,) = board.comparisons()
    assert pair["difference"] == pytest.approx((pooled["a"] - pooled["b"]).mean())
    assert pair["p"] == pytest.approx(stats.wilcoxon(pooled["a"] - pooled["b"]).pvalue)


def test_seeds_are_averaged_within_a_case_not_counted_as_cases() -> None:
    board = rank(experiment({"a": 0.9, "b": 0.9}, seeds=(0, 1, 2)))
    assert [row.n_cases for row in board.rows] == [60, 60]
    assert board.sets[0].analysis.scores.shape == (2, 60)
    records = [
        r for r in experiment({"a": 0.9, "b": 0.9}, seeds=(0, 1, 2)) if r.trainer == "a" and r.fold == 0
    ]
    mean = np.mean([r.scores.case_scores("dice") for r in records], axis=0)
    chosen = board.sets[0].comparable
    own = [chosen.cases.index(case) for case in records[0].scores.cases]
    row = [entry.name for entry in chosen.entries].index("a")
    np.testing.assert_allclose(board.sets[0].analysis.scores[row, own], mean)
    assert board.rows[0].to_json()["seed"] == [0, 1, 2]


def test_distances_are_ranked_the_other_way_round() -> None:
    board = rank(experiment({"worst": 0.7, "best": 0.9}), metric="hd95")
    assert _names(board) == ["best", "worst"]
    assert board.rows[0].means["hd95"] < board.rows[1].means["hd95"]
    interval = board.rows[0].intervals["hd95"]
    assert interval.low < board.rows[0].means["hd95"] < interval.high
    (pair,) = board.comparisons()
    better = "a" if pair["a"] == "best" else "b"
    assert pair["verdict"] == better
    assert (pair["difference"] < 0) == (better == "a")
    assert pair["ci"][0] < pair["difference"] < pair["ci"][1]


def test_one_structure_can_be_ranked_alone() -> None:
    records = [
        record("a", scores=table(["x", "y"], {"front": [0.9, 0.9], "back": [0.1, 0.1]})),
        record("b", scores=table(["x", "y"], {"front": [0.5, 0.5], "back": [0.7, 0.7]})),
    ]
    assert _names(rank(records)) == ["b", "a"]
    assert _names(rank(records, structure="front")) == ["a", "b"]
    with pytest.raises(UsageError, match="No record has a structure 'side'"):
        rank(records, structure="side")


@pytest.mark.parametrize("metric", ["elegance", "volume_error", "balanced_accuracy"])
def test_what_has_no_direction_or_is_secondary_is_not_ranked_by(metric: str) -> None:
    with pytest.raises(UsageError, match="Rank by one of dice"):
        rank(experiment({"a": 0.9}), metric=metric)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint_hash": "0" * 64}, "another fingerprint"),
        ({"split_hash": "0" * 64}, "another split"),
        ({"grid": "2 mm"}, "scored on another grid (2 mm instead of original)"),
    ],
)
def test_unlike_rows_are_not_compared_and_say_why(change: dict[str, str], words: str) -> None:
    records = experiment({"a": 0.9, "b": 0.8})
    other = [replace(r, trainer="c", run_id="c" + r.run_id, **change) for r in records if r.trainer == "a"]
    board = rank([*records, *other])
    assert [[row.name for row in item.rows] for item in board.sets] == [["a", "b"], ["c"]]
    last = board.rows[-1]
    assert last.rank is None and last.tied_with_best is None and last.comparable_set == 2
    assert words in last.reason
    assert {(c["a"], c["b"]) for c in board.comparisons()} == {("a", "b")}


def test_other_folds_are_not_compared_until_asked_for_the_common_ones() -> None:
    records = [r for r in experiment({"a": 0.9, "b": 0.8}) if r.trainer == "a" or r.fold in (0, 1)]
    board = rank(records)
    assert [len(item.rows) for item in board.sets] == [1, 1]
    assert "folds 0, 1 instead of folds 0 to 4" in board.rows[1].reason
    common = rank(records, folds=(0, 1))
    assert _names(common) == ["a", "b"] and len(common.sets) == 1
    with pytest.raises(UsageError, match="No record has one of the folds 9"):
        rank(records, folds=(9,))


def test_other_cases_are_not_compared() -> None:
    records = [
        record("a", scores=table(["x", "y"], {"organ": [0.9, 0.8]})),
        record("b", scores=table(["x", "z"], {"organ": [0.9, 0.8]})),
    ]
    board = rank(records)
    assert "other cases: 1 not in it, y for one, 1 only in it, z for one" in board.rows[1].reason


def test_what_a_race_stopped_on_some_of_the_cases_comes_after_its_winner() -> None:
    winner = record("nnunet", scores=table(["x", "y", "z"], {"a": [0.8, 0.7, 0.9]}))
    stopped = [
        record(name, status="partial", scores=table(["x", "y"], {"a": [0.6, dice]}))
        for name, dice in (("unet", 0.5), ("mednext_s", 0.4))
    ]
    board = rank([*stopped, winner])
    assert [len(each.comparable.cases) for each in board.sets] == [3, 2]
    assert "other cases" in board.sets[1].comparable.difference


def test_another_definition_or_tolerance_is_another_metric() -> None:
    records = experiment({"a": 0.9, "b": 0.8})
    strict = [
        replace(r, settings={**r.settings, "tolerance_mm": 1.0}) if r.trainer == "b" else r for r in records
    ]
    assert len(rank(strict).sets) == 1
    by_nsd = rank(strict, metric="nsd")
    assert len(by_nsd.sets) == 2
    assert "nsd.surfel.v1 at 1 mm instead of nsd.surfel.v1 at 2 mm" in by_nsd.rows[1].reason
    # Ranked by Dice, the rows have no common NSD to show.
    assert all("nsd" not in row.means for row in rank(strict).rows)


def test_pixels_are_not_millimetres() -> None:
    records = [replace(r, settings={"length_unit": "px"}) for r in experiment({"a": 0.9, "b": 0.8})]
    board = rank(records, metric="hd95")
    assert board.sets[0].analysis.quantity.unit == "px"
    assert board.rows[0].to_json()["hd95_mm"] is None


def test_missing_cases_count_with_the_worst_value_and_are_told() -> None:
    whole = rank(experiment({"a": 0.9, "b": 0.8}))
    lost = [("a", "case_000"), ("a", "case_001")]
    board = rank(experiment({"a": 0.9, "b": 0.8}, missing=lost))
    row = next(row for row in board.rows if row.name == "a")
    assert (row.n_cases, row.n_missing) == (60, 2)
    assert row.means["dice"] < next(r for r in whole.rows if r.name == "a").means["dice"] - 0.02
    assert row.means["hd95"] > next(r for r in whole.rows if r.name == "a").means["hd95"]
    assert any("worst value: a 2" in note for note in board.sets[0].warnings)


def test_missing_a_structure_never_improves_any_metric() -> None:
    """Whatever score a structure had, and whatever the metric: missed, it is worse."""
    generator = np.random.default_rng(0)
    cases = [f"c{i}" for i in range(12)]
    dice = {"front": generator.uniform(0.2, 1, 12).tolist(), "back": generator.uniform(0.2, 1, 12).tolist()}
    honest = table(cases, dice)
    for lost in range(12):
        columns = tuple(_missed(column, lost) for column in honest.columns)
        board = [
            rank(
                [record("honest", scores=honest), record("sly", scores=replace(honest, columns=columns))],
                metric=m,
                resamples=50,
            )
            for m in ("dice", "iou", "nsd", "hd95")
        ]
        assert [item.rows[0].name for item in board] == ["honest"] * 4


def _missed(column: ScoreColumn, case: int) -> ScoreColumn:
    """The value left out, as a careless evaluation would; only the status tells."""
    if column.structure != "back":
        return column
    values = tuple(None if i == case else value for i, value in enumerate(column.values))
    return replace(column, values=values, statuses={case: "missing_prediction_structure"})


def test_structures_that_are_rightly_absent_are_counted_and_not_punished() -> None:
    column = ScoreColumn("dice", "organ", "dice.v1", (1.0, 0.8), {0: None}, {0: EMPTY})
    board = rank([record("a", scores=ScoreTable(("x", "y"), (column,)))])
    assert board.rows[0].n_empty == 1 and board.rows[0].means["dice"] == pytest.approx(0.9)
    blank = replace(column, values=(None, 0.8))
    board = rank([record("a", scores=ScoreTable(("x", "y"), (blank,)))])
    assert board.rows[0].means["dice"] == pytest.approx(0.9)


def test_failed_and_impossible_runs_are_rows_that_say_so() -> None:
    failed = record("c", status="failed", reason="out of memory")
    impossible = record("d", status="impossible", reason="2D only", plan="", configuration="")
    board = rank([*experiment({"a": 0.9, "b": 0.8}), failed, impossible])
    rows = {row.name: row for row in board.rows}
    assert (rows["c"].status, rows["c"].reason, rows["c"].rank) == ("failed", "out of memory", None)
    assert rows["d"].status == "impossible"
    assert len(board.unranked) == 2
    json.dumps(board.to_json(), allow_nan=False)


def test_a_row_with_a_failed_fold_is_partial_and_not_compared() -> None:
    records = [r for r in experiment({"a": 0.9, "b": 0.8}) if (r.trainer, r.fold) != ("b", 4)]
    # A run that failed before it had a plan still belongs to its trainer's row.
    board = rank([*records, record("b", 4, status="failed", reason="out of memory", configuration="auto")])
    row = board.rows[-1]
    assert (row.name, row.status, row.rank) == ("b", "partial", None)
    assert "fold 4: out of memory" in row.reason and "folds 0 to 3 instead of folds 0 to 4" in row.reason
    assert row.folds == (0, 1, 2, 3)


def test_the_latest_of_two_records_of_a_run_counts() -> None:
    def made(day: str, value: float) -> Record:
        return record("a", created=f"2026-01-{day}", scores=table(["x"], {"organ": [value]}))

    for records in ([made("01", 0.5), made("02", 0.9)], [made("02", 0.9), made("01", 0.5)]):
        assert rank(records).rows[0].means["dice"] == 0.9


def test_rows_of_one_trainer_are_told_apart_by_what_differs() -> None:
    base = experiment({"a": 0.9}, n_cases=20)
    two_d = [replace(r, configuration="2d", plan_hash="2" * 64) for r in base]
    variant = [replace(r, options={"width": 16}) for r in base]
    assert sorted(_names(rank([*base, *two_d, *variant]))) == ["a · 2d", "a · 3d_fullres", "a:width=16"]


def test_ranking_repeats_itself_and_ignores_the_order_of_records() -> None:
    records = experiment({"a": 0.9, "b": 0.899, "c": 0.898})
    rows = {row["trainer"]: row for row in rank(records).to_json()["rows"]}
    again = {row["trainer"]: row for row in rank(records[::-1]).to_json()["rows"]}
    assert rows == again


@pytest.mark.slow
def test_a_planted_better_model_wins_with_the_power_that_theory_gives() -> None:
    """Differences are normal with a known effect; after Holm over one pair nothing changes."""
    n, effect, spread = 40, 0.006, 0.01
    generator = np.random.default_rng(0)
    cases = [f"c{i:02d}" for i in range(n)]
    wins = 0
    for _ in range(200):
        base = generator.uniform(0.6, 0.8, n)
        better = base + generator.normal(effect, spread, n)
        records = [
            record("base", scores=table(cases, {"organ": base.tolist()})),
            record("better", scores=table(cases, {"organ": better.tolist()})),
        ]
        rows = rank(records, resamples=100).rows
        wins += rows[0].name == "better" and not rows[1].tied_with_best
    noncentral = effect / spread * np.sqrt(n * 3 / np.pi)
    expected = 1 - stats.nct.cdf(stats.t.ppf(0.975, n - 1), n - 1, noncentral)
    assert wins / 200 == pytest.approx(expected, abs=0.08)
