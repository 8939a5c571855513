"""The page's pictures of how trainings went, and its columns of energy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import experiment

from autoseg.drawing.curves import MOST_POINTS, draw_curves, thinned
from autoseg.leaderboard.page.page import render
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record, load_records, write_record

HEAD = (
    "epoch,step,learning_rate,train_loss,val_loss,dice,dice organ,seconds,cpu_seconds,steps_per_cpu_second\n"
)


def test_lines_share_their_axes_and_leave_out_what_is_not_finite() -> None:
    drawn = draw_curves([[(0, 0), (1, float("nan")), (2, 1)], [(4, 0.5)], []], 0, 100, 0, 10)
    assert drawn.paths == ("M0 10L50 0", "M100 5h0", "")
    assert [text for _, text in drawn.x_ticks] == ["0", "1", "2", "3", "4"]


def test_a_constant_line_lies_in_the_middle() -> None:
    assert draw_curves([[(1, 3), (2, 3)]], 0, 10, 0, 10).paths == ("M0 5L10 5",)


def test_values_beyond_a_given_range_stay_in_the_box() -> None:
    assert draw_curves([[(0, -1), (1, 2)]], 0, 10, 0, 10, y_range=(0, 1)).paths == ("M0 10L10 0",)


def test_a_long_line_is_thinned_and_keeps_its_end() -> None:
    line = [(float(i), 0.0) for i in range(1000)]
    assert len(thinned(line)) <= MOST_POINTS + 1 and thinned(line)[-1] == line[-1]
    assert thinned(line[:7]) == line[:7]


def written(folder: Path, made: list[Record]) -> list[Record]:
    for number, each in enumerate(made):
        write_record(folder / str(number) / "record.jsonl", each)
    return list(load_records(folder))


def test_each_run_with_a_table_is_a_line(tmp_path: Path) -> None:
    records = written(tmp_path, experiment({"nnunet": 0.9, "unet": 0.8}, n_folds=2))
    for each in records:
        if each.trainer == "nnunet" and each.source is not None:
            lines = ["0,10,0.01,1.5,1.25,,,1,1,10\n", "1,20,0.01,0.5,0.75,0.875,0.875,2,2,10\n"]
            (each.source.parent / "progress.csv").write_text(HEAD + "".join(lines))
    text = render(rank(records, resamples=200))
    (section,) = re.findall(r'<details class="trainings">.*?</details>', text, re.S)
    assert "<strong>nnunet</strong>, 2 runs" in section and "unet</strong>, 2" not in section.replace(
        "nnunet", ""
    )
    assert "After 20 steps: training loss 0.500, validation loss 0.750, Dice on patches 0.875." in section
    assert section.count('class="way"') == 2 + 2 and section.count('class="way thin"') == 2


def test_without_tables_there_is_no_section(tmp_path: Path) -> None:
    records = written(tmp_path, experiment({"nnunet": 0.9}))
    assert 'class="trainings"' not in render(rank(records, resamples=200))


@pytest.mark.parametrize("text", ["", "no,table\n1,2\n", HEAD + "0,ten,0.01,1,1,,,1,1,1\n", HEAD + "0,1\n"])
def test_a_table_that_is_none_spoils_no_page(tmp_path: Path, text: str) -> None:
    records = written(tmp_path, experiment({"nnunet": 0.9}, n_folds=1))
    (tmp_path / "0" / "progress.csv").write_text(text)
    assert 'class="trainings"' not in render(rank(records, resamples=200))


def with_energy(made: list[Record], how: str) -> list[Record]:
    return [
        replace(each, cost=replace(each.cost, energy_kwh=0.0125, g_co2=4.75, energy_how=how))
        if each.trainer == "nnunet"
        else each
        for each in made
    ]


def cells(text: str, name: str) -> list[str]:
    return re.findall(rf'data-cell="{name}"[^>]*>([^<]*)<', text)


def test_energy_has_columns_and_what_nobody_measured_says_so(tmp_path: Path) -> None:
    made = experiment({"nnunet": 0.9, "unet": 0.8})
    text = render(rank(written(tmp_path / "a", with_energy(made, "measured")), resamples=200))
    assert cells(text, "energy_kwh")[:2] == ["12.5 Wh", "not measured"]
    assert cells(text, "g_co2")[:2] == ["4.75 g", "not measured"]
    board = rank(written(tmp_path / "b", with_energy(made, "estimated")), resamples=200)
    assert cells(render(board), "g_co2")[:2] == ["about 4.75 g", "not measured"]
    first, second = (row.to_json() for row in board.rows)
    assert (first["energy_kwh"], first["energy_how"]) == (0.0125, "estimated")
    assert second["g_co2"] is None and second["energy_how"] is None


def test_records_without_energy_are_written_as_before(tmp_path: Path) -> None:
    written(tmp_path, experiment({"nnunet": 0.9}, n_folds=1))
    assert "energy" not in (tmp_path / "0" / "record.jsonl").read_text()
