"""What the leaderboard's page says in words: verdicts, warnings, methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chromium import Chromium
from made_records import experiment, record
from page_records import texts_of

from autoseg.leaderboard.page.page import render, write_page
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Cost, Record


def test_a_single_trainer_is_no_contest() -> None:
    text = render(rank(experiment({"only": 0.9}), resamples=200))
    assert "only is the only one with scores on these cases" in text and "Nothing to compare" in text


def test_a_board_of_failures_is_a_page_too() -> None:
    text = render(rank([record("a", status="failed", reason="out of memory")]))
    assert "out of memory" in text and "No scores to describe" in text


def test_no_records_at_all_give_a_page() -> None:
    assert "<h1>" in render(rank([]))


def test_what_verification_found_stands_above_the_ranking() -> None:
    line = "label_direction_mismatch 2 times, the first in c1.nii.gz: <turned>"
    made = [replace(each, data_warnings=(line,)) for each in experiment({"nnunet": 0.9, "unet": 0.8})]
    text = render(rank(made, resamples=200))
    assert "what may spoil these models" in text
    assert text.index("2 times, the first in c1.nii.gz: &lt;turned&gt;") < text.index("<table")
    assert "what may spoil these models" not in render(rank(experiment({"nnunet": 0.9}), resamples=200))


def _too_few() -> list[Record]:
    """Six trainers on eight cases, one of them far behind; 15 pairs, which nothing can tell apart."""
    qualities = {
        "nnunet": 0.9,
        "unet": 0.899,
        "brainunet": 0.897,
        "swin": 0.896,
        "mednext": 0.895,
        "slow": 0.024,
    }
    made = experiment(qualities, n_cases=8, n_folds=2)
    steps = {"nnunet": 2310, "slow": 53}
    return [replace(r, cost=replace(r.cost, training_steps=steps.get(r.trainer, 900))) for r in made]


def test_too_few_cases_for_a_test_are_said_and_nobody_far_behind_is_shaded(
    browser: Chromium, tmp_path: Path
) -> None:
    board = rank(_too_few(), resamples=500)
    assert not any(pair.significant for pair in board.sets[0].analysis.pairs)
    page = browser.page().open(write_page(board, tmp_path / "leaderboard.html"))
    shaded = texts_of(page, ".ranking tr.tied .name")
    assert "nnunet" in shaded and "slow" not in shaded
    assert "tied with best" not in texts_of(page, ".badge.tie")
    (said,) = texts_of(page, ".verdict")
    assert "Differences cannot be tested with so few cases." in said and "slow lies behind it" in said
    assert any("Differences cannot be tested with so few" in text for text in texts_of(page, ".warnings li"))
    assert "cannot be tested, interval apart from 0" in texts_of(page, ".comparisons td")


def test_steps_made_stand_in_every_row(browser: Chromium, tmp_path: Path) -> None:
    board = rank(_too_few(), resamples=200)
    page = browser.page().open(write_page(board, tmp_path / "leaderboard.html"))
    steps = dict(
        zip(texts_of(page, ".ranking .name"), texts_of(page, "[data-cell=training_steps]"), strict=True)
    )
    assert steps.pop("nnunet") == "2310" and steps.pop("slow") == "53"
    assert set(steps.values()) == {"900"}
    assert "Steps" in texts_of(page, ".ranking th")


def test_methods_say_what_was_done() -> None:
    cases = {f"case_{i:03d}": f"person {i // 2}" for i in range(60)}
    text = render(rank(experiment({"a": 0.9, "b": 0.8}, groups=cases), resamples=500, margin=0.02))
    for words in (
        "dice.v1",
        "on group means",
        "500 resamples of the groups of cases",
        "±0.02",
        "autoseg 0.1.0",
    ):
        assert words in text


def test_several_data_sets_are_described_not_tested() -> None:
    records = [
        *experiment({"steady": 0.9, "moody": 0.8}),
        *experiment({"steady": 0.75, "moody": 0.7}, dataset="Dataset901_Other"),
        *experiment({"absent": 0.75}, dataset="Dataset901_Other"),
    ]
    text = render(rank(records, resamples=200))
    overview = text[text.index('<section class="overview">') : text.index("Which differences hold")]
    rows = [row.split("<td")[0].rsplit(">", 2)[1].split("<")[0] for row in overview.split("<tr ")[1:]]
    assert rows == ["steady", "moody", "absent"]
    assert "2 of 2" in overview and "1 of 1" not in overview.split("<tr ")[1]
    assert "2 data sets are too few to test across" in overview


def test_a_lead_that_is_certain_but_small_is_called_small() -> None:
    close = rank(experiment({"a": 0.9, "b": 0.896}, n_cases=200, noise=0.001), resamples=300)
    assert close.sets[0].analysis.pairs[0].significant
    assert "measurable but small: the interval lies within ±0.01" in render(close)
    assert "b, within the margin" not in render(close) and "a better, within the margin" in render(close)
    far = rank(experiment({"a": 0.9, "b": 0.8}, n_cases=200, noise=0.001), resamples=300)
    assert "measurable but small" not in render(far) and "within the margin" not in render(far)


def test_scores_made_elsewhere_are_said_to_be() -> None:
    made = [
        replace(r, status="foreign", reason="read from x.csv", cost=Cost(), configuration="unknown")
        for r in experiment({"a": 0.9, "b": 0.8})
    ]
    text = render(rank(made, resamples=200))
    assert "made elsewhere: read from x.csv" in text
    assert "of each case and structure was made elsewhere (read from x.csv)" in text
    # Columns that nobody has anything in are not there.
    assert ">Parameters</th>" not in text and '<span class="sub">unknown' not in text
