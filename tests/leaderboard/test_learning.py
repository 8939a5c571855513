"""Quality against the number of training cases: which rows make a curve, and where they lie."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import record, table
from rich.console import Console

from autoseg.leaderboard.page.learning import BOTTOM, TOP, Learning, learning_curves
from autoseg.leaderboard.page.page import render, write_page
from autoseg.leaderboard.page.short_names import short_names
from autoseg.leaderboard.ranking.ranking import Leaderboard, rank
from autoseg.leaderboard.records.files import Record, read_records, write_records
from autoseg.leaderboard.table import terminal_table

CASES = [f"case_{i:02d}" for i in range(20)]
HARD = np.random.default_rng(1).beta(2, 5, len(CASES)) * 0.1


def run(seen: int | None, quality: float, trainer: str = "nnunet", seed: int = 0, **options: Any) -> Record:
    noise = np.random.default_rng(seed).normal(0, 0.01, len(CASES))
    dice = np.clip(quality - HARD + noise, 0, 1).round(6).tolist()
    return record(
        trainer,
        seed=seed,
        options=options,
        plan="plan",
        plan_hash=f"{trainer} {options}",
        training_cases=seen,
        scores=table(CASES, {"organ": dice}),
    )


def learning(records: list[Record], metric: str = "dice") -> Learning | None:
    (item,) = rank(records, metric=metric, resamples=200).sets
    return learning_curves(item, {row.name: i for i, row in enumerate(item.rows)})


@pytest.fixture
def records() -> list[Record]:
    """Two curves of three and two points, the second of two seeds, and a row that stands alone."""
    few = [run(n, q, cases=c) for n, q, c in ((5, 0.5, 5), (16, 0.7, "10%"))]
    tuned = [
        run(n, q, "unet", seed, cases=n, init="fetal.pth@0123abcd", finetune="i")
        for n, q in ((5, 0.7), (16, 0.8))
        for seed in (0, 1)
    ]
    return [*few, run(160, 0.9), *tuned, run(160, 0.6, "brainunet")]


def test_rows_that_differ_only_in_their_cases_are_a_curve(records: list[Record]) -> None:
    found = learning(records)
    assert found is not None
    stops = {curve.name: [stop.cases for stop in curve.stops] for curve in found.curves}
    assert stops == {
        "nnunet": [5, 16, 160],
        "unet:finetune=i:init=fetal.pth@0123abcd": [5, 16],
        "brainunet": [160],
    }
    assert found.counts == (5, 16, 160)
    assert [text for _, text in found.x_ticks] == ["5", "16", "160"]
    assert {curve.short for curve in found.curves} == {"nnunet", "i fetal", "brainunet"}


def test_the_points_lie_where_their_numbers_say(records: list[Record]) -> None:
    for metric, up in (("dice", True), ("hd95", False)):
        found = learning(records, metric)
        assert found is not None
        stops = [stop for curve in found.curves for stop in curve.stops]
        by_height = sorted(stops, key=lambda stop: stop.place[1])
        means = [stop.mean for stop in by_height]
        assert means == sorted(means, reverse=up)  # better is always up
        for stop in stops:
            assert stop.interval.low <= stop.mean <= stop.interval.high
            assert TOP <= stop.place[1] <= BOTTOM
        for curve in found.curves:
            assert all(a.place[0] < b.place[0] for a, b in pairwise(curve.stops))


def test_equal_factors_of_cases_are_equally_far_apart() -> None:
    found = learning([run(n, 0.5 + n / 200, cases=n) for n in (5, 10, 20, 40)])
    assert found is not None
    steps = [b.place[0] - a.place[0] for a, b in pairwise(found.curves[0].stops)]
    assert max(steps) - min(steps) < 0.3


def test_seeds_are_dots_of_their_own(records: list[Record]) -> None:
    found = learning(records)
    assert found is not None and found.seeds == 2
    tuned = next(curve for curve in found.curves if "finetune" in curve.name)
    assert all(stop.dots.count("h0") == 2 and "; seeds 0." in stop.words for stop in tuned.stops)
    means = [
        np.mean([next(c for c in r.scores.columns if c.metric == "dice").values])
        for r in records
        if r.trainer == "unet" and r.training_cases == 5
    ]
    assert tuned.stops[0].mean == pytest.approx(np.mean(means))
    plain = next(curve for curve in found.curves if curve.name == "nnunet")
    assert not any(stop.dots for stop in plain.stops)


def test_no_figure_where_the_numbers_do_not_vary_or_are_not_known() -> None:
    assert learning([run(160, 0.9), run(160, 0.8, "unet")]) is None
    assert learning([run(None, 0.9), run(None, 0.8, cases=5)]) is None
    assert learning([run(160, 0.9), run(5, 0.8, "unet")]) is None  # no curve has two points
    assert "How many training cases" not in render(rank([run(160, 0.9), run(160, 0.8, "unet")]))


def test_rows_that_differ_in_something_else_are_curves_of_their_own() -> None:
    twice = [run(5, 0.5, cases=5), run(160, 0.9), record("nnunet", plan_hash="other", training_cases=160)]
    twice[2] = Record(**{**vars(twice[2]), "scores": twice[1].scores})
    found = learning(twice)
    assert found is not None
    assert sorted(len(curve.stops) for curve in found.curves) == [1, 2]
    assert len({curve.name for curve in found.curves}) == 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.3, 0.95), min_size=2, max_size=14))
def test_names_beside_the_curves_never_overlap(qualities: list[float]) -> None:
    made = [
        run(n, q * (0.8 if n == 5 else 1), f"trainer{i}", **({"cases": 5} if n == 5 else {}))
        for i, q in enumerate(qualities)
        for n in (5, 160)
    ]
    (item,) = rank(made, resamples=50).sets
    found = learning_curves(item, {row.name: i for i, row in enumerate(item.rows)})
    assert found is not None
    assert len(found.curves) == len(qualities) and len(found.drawn) == min(len(qualities), 12)
    heights = sorted(curve.label[1] for curve in found.drawn)
    assert all(b - a >= 14.9 for a, b in pairwise(heights))
    assert heights[0] >= TOP - 8 and heights[-1] <= BOTTOM + 8


def test_short_names_tell_curves_apart() -> None:
    rate = "learning_rate=0.001"
    names = [f"unet:{rate}", f"unet:finetune=a:{rate}", f"unet:finetune=d:init=w/fetal.pth@01234567:{rate}"]
    assert short_names(names) == ["unet", "a", "d fetal"]
    assert short_names(["unet:finetune=a", "nnunet:finetune=a"]) == ["unet", "nnunet"]
    assert short_names(["unet:finetune=a", "nnunet:finetune=a", "nnunet"]) == ["unet a", "nnunet a", "nnunet"]
    assert short_names(["unet:width=8"]) == ["width=8"]
    long = [f"unet:an_option_with_a_long_name={n}" for n in range(3)]
    assert len(set(short_names(long))) == 3 and max(map(len, short_names(long))) <= 22


def test_a_record_keeps_its_number_of_training_cases_and_old_ones_have_none(tmp_path: Path) -> None:
    write_records(tmp_path / "new.jsonl", [run(16, 0.7, cases="10%")])
    assert read_records(tmp_path / "new.jsonl")[0].training_cases == 16
    old = json.loads((tmp_path / "new.jsonl").read_text())
    del old["training_cases"]
    (tmp_path / "old.jsonl").write_text(json.dumps(old))
    assert read_records(tmp_path / "old.jsonl")[0].training_cases is None


def test_rows_say_how_many_cases_they_saw(records: list[Record]) -> None:
    board = rank(records, resamples=100)
    found = {row.trainer: row.to_json()["training_cases"] for row in board.rows}
    assert found["nnunet:cases=10%"] == 16 and found["nnunet"] == 160
    assert "16 training cases" in render(board)
    console = Console(width=100)
    with console.capture() as told:
        console.print(terminal_table(board))
    assert "(16 training" in told.get()


def test_folds_of_unlike_size_are_told_as_their_mean() -> None:
    made = [run(16, 0.7, cases="10%"), run(17, 0.7, cases="10%")]
    (row,) = rank([made[0], Record(**{**vars(made[1]), "fold": 1})], resamples=50).rows
    assert row.training_cases == 16.5 and row.case_words == "16.5 training cases"


@pytest.fixture
def board(records: list[Record]) -> Leaderboard:
    evil = [run(n, 0.4, "<script>alert(1)</script>", cases=n) for n in (5, 16)]
    return rank([*records, *evil], resamples=100)


def test_the_figure_in_a_browser(board: Leaderboard, browser: Chromium, tmp_path: Path) -> None:
    page = browser.page().open(write_page(board, tmp_path / "page.html"), width=390)
    assert page.run("document.querySelectorAll('.learning svg .marker').length") == 8
    assert page.run("document.querySelectorAll('.learned tbody tr').length") == 4
    assert page.run("document.documentElement.scrollWidth") == 390
    # A row that is filtered out takes its point, its way there and its number with it; the columns stay.
    page.run("document.querySelector('.filters input[value=\"0\"]').click()")
    shown = "[...document.querySelectorAll('.learning svg g')].filter(g => g.style.display !== 'none' && {})"
    assert page.run(shown.format("g.querySelector('.marker')") + ".length") == 7
    assert page.run(shown.format("g.querySelector('.way')") + ".length") == 3
    widths = "[...new Set([...document.querySelectorAll('.learned tbody tr')].map(r => r.cells.length))]"
    assert page.run(widths) == [4]
    assert page.run("[...document.querySelectorAll('.learned td')].filter(c => c.hidden).length") == 0
    for metric in ("hd95", "dice"):
        page.run(
            f"(() => {{ const f = document.querySelector('.filters'); f.metric.value = '{metric}'; "
            "f.dispatchEvent(new Event('change')); })()"
        )
        assert page.run("document.querySelectorAll('.learning svg').length") == 1
    assert page.complaints == []
