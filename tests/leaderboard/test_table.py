"""The table on a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_records import experiment, record
from rich.console import Console

from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Cost, Record
from autoseg.leaderboard.table import count_words, duration_words, terminal_table


def _text(records: list[Record], width: int = 100) -> str:
    console = Console(width=width, no_color=True, record=True, quiet=True, force_terminal=False)
    with console.capture() as captured:
        console.quiet = False
        console.print(terminal_table(rank(records, resamples=200)))
    return captured.get()


def test_it_fits_a_hundred_columns_and_cuts_nothing_off() -> None:
    qualities = {"nnunet_resenc_l": 0.9, "resnet34_mlp": 0.88, "mobilenetv2_unet:w=32": 0.86}
    text = _text(experiment(qualities, missing=[("resnet34_mlp", "case_001")]))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for name in qualities:
        assert any(name in line for line in lines)
    (row,) = (line for line in lines if "nnunet_resenc_l" in line)
    assert row.split()[0] == "1"
    assert "1.0 M" in row and "5.0 min" in row and row.rstrip().endswith("0.1")


def test_with_too_few_cases_for_a_test_the_table_says_so() -> None:
    qualities = {"a": 0.9, "b": 0.899, "c": 0.898, "d": 0.897, "e": 0.896, "slow": 0.02}
    words = " ".join(_text(experiment(qualities, n_cases=8, n_folds=2)).split())
    assert "= cannot be tested with so few: the interval of the difference holds 0." in words
    assert "Wilcoxon" not in words
    assert " 6 slow" in words, "no sign of a tie"
    assert "not told apart from the best" in " ".join(_text(experiment({"a": 0.9, "b": 0.8})).split())


def test_a_single_row_is_not_said_to_be_compared() -> None:
    assert "not told apart" not in " ".join(_text(experiment({"a": 0.9})).split())


def test_a_long_name_is_folded_not_cut() -> None:
    name = "mobilenetv2_unet:activation=hardswish,width=32"
    lines = _text(experiment({"nnunet": 0.9, name: 0.8}), width=90).splitlines()
    at = next(line.index("nnunet") for line in lines if "nnunet" in line)
    assert name in "".join(line[at : at + 30].split("  ")[0].strip() for line in lines)


def test_ties_missing_cases_and_failures_are_said_in_words() -> None:
    one = experiment({"a": 0.9})
    records = [*one, *(replace(r, trainer="twin", run_id="t" + r.run_id) for r in one)]
    records += [r for r in experiment({"late": 0.9}) if r.fold < 3]
    text = _text([*records, record("c", status="failed", reason="out of memory")])
    assert "1  " in text and "=" in text
    assert "c on Dataset900_Made: failed. out of memory" in " ".join(text.split())
    assert "not comparable with the first table: folds 0 to 2 instead of folds 0 to 4" in text


def test_what_a_budget_changed_and_what_was_made_elsewhere_are_numbered_notes() -> None:
    made = experiment({"nnunet": 0.9, "brainunet": 0.85, "unet": 0.8, "swin": 0.7})
    changes = {"brainunet": ("width 32 -> 16", "mirroring off"), "unet": ("width 32 -> 16", "mirroring off")}
    made = [replace(r, changes=changes.get(r.trainer, ())) for r in made]
    made = [
        replace(r, status="foreign", reason="read from x.csv") if r.trainer == "swin" else r for r in made
    ]
    lines = _text(made).splitlines()
    notes = {
        name: line.split("(")[1][0] if "(" in line else "" for line in lines for name in line.split()[1:2]
    }
    assert [notes[name] for name in ("nnunet", "brainunet", "unet", "swin")] == ["", "1", "1", "2"]
    assert "  (1) differs from the published system: width 32 -> 16; mirroring off" in map(str.rstrip, lines)
    assert "  (2) made elsewhere: read from x.csv" in map(str.rstrip, lines)


def test_costs_that_nobody_has_take_no_column() -> None:
    bare = [replace(r, cost=Cost(parameters=5)) for r in experiment({"a": 0.9, "b": 0.8})]
    assert "params" in _text(bare) and "s/case" not in _text(bare) and "train " not in _text(bare)


def test_markup_in_names_is_only_text() -> None:
    assert "[red]evil[/red]" in _text(experiment({"[red]evil[/red]": 0.9}))


def test_nothing_is_said_to_be_nothing() -> None:
    assert "nothing to rank" in _text([])


@pytest.mark.parametrize(
    ("value", "words"), [(None, ""), (0.31, "0.31 s"), (48.2, "48 s"), (312.0, "5.2 min"), (11160.0, "3.1 h")]
)
def test_durations(value: float | None, words: str) -> None:
    assert duration_words(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, ""), (12, "12"), (4300, "4.3 k"), (31_196_000, "31.2 M")]
)
def test_counts(value: int | None, words: str) -> None:
    assert count_words(value) == words
