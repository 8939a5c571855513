"""The page in a headless Chromium: what it asks for, what it shows, and how it behaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Chromium, Page
from made_records import experiment
from page_records import EVIL, QUALITIES, four_trainers, texts_of

from autoseg.leaderboard.page.page import render, write_page
from autoseg.leaderboard.ranking.ranking import Leaderboard, rank
from autoseg.leaderboard.records.files import Record


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return rank(four_trainers(), resamples=500)


@pytest.fixture(scope="module")
def path(board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(board, tmp_path_factory.mktemp("page") / "leaderboard.html")


@pytest.fixture
def page(browser: Chromium, path: Path) -> Page:
    return browser.page().open(path)


def _choose(page: Page, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const f = document.querySelector('.filters'); f[{json.dumps(name)}].value = "
        f"{json.dumps(value)}; f.dispatchEvent(new Event('change')); }})()"
    )


def _tick(page: Page, trainer: int, on: bool) -> None:
    page.run(
        f"(() => {{ const f = document.querySelector('.filters'); "
        f"f.querySelector('input[value=\"{trainer}\"]').checked = {json.dumps(on)}; "
        f"f.dispatchEvent(new Event('change')); }})()"
    )


def test_it_asks_for_nothing_and_complains_about_nothing(page: Page, path: Path) -> None:
    for metric in ("nsd", "hd95", "iou", "dice"):
        _choose(page, "metric", metric)
    _choose(page, "structure", "back")
    _tick(page, 1, False)
    assert page.requests == [path.resolve().as_uri()]
    assert page.complaints == []


def test_names_and_reasons_are_text_not_markup(page: Page) -> None:
    assert page.run("window.hacked") is None
    assert page.run("document.querySelectorAll('script').length") == page.run(
        "document.querySelectorAll('script[class], body > script').length"
    )
    assert EVIL in texts_of(page, ".ranking .name")
    assert any("<b>out of memory</b>" in text for text in texts_of(page, "#d0 td"))


def _expected(records: list[Record], metric: str, structure: str | None) -> dict[str, float]:
    """Each trainer's mean over cases, from the records by the shortest way."""
    cases: dict[str, list[float]] = {}
    for item in records:
        cases.setdefault(item.trainer, []).extend(item.scores.case_scores(metric, structure))
    return {trainer: float(np.mean(values)) for trainer, values in cases.items() if values}


@pytest.mark.parametrize("metric", ["dice", "nsd", "hd95", "iou"])
@pytest.mark.parametrize("structure", [None, "front", "back"])
def test_every_cell_is_its_record_rounded(page: Page, metric: str, structure: str | None) -> None:
    _choose(page, "metric", metric)
    _choose(page, "structure", structure or "")
    cells = page.run(
        "[...document.querySelectorAll('#d0 .set .ranking tbody tr')].map(row => "
        "[row.querySelector('.name').textContent, "
        "...[...row.querySelectorAll('[data-cell]')].map(c => [c.dataset.cell, c.textContent.trim()])])"
    )
    assert [row[0] for row in cells[:4]] == sorted(QUALITIES, key=lambda name: -QUALITIES[name])
    assert cells[4][0] == "late"
    own = [item for item in four_trainers() if item.dataset == "Dataset900_Made"]
    costs = {item.trainer: item.cost for item in own}
    for name, *values in cells:
        shown = dict(values)
        for column in ("dice", "nsd", "hd95", "iou"):
            value = _expected(own, column, structure)[name]
            assert shown[column] == f"{value:.{2 if column == 'hd95' else 3}f}", (name, column)
        assert shown["parameters"] == f"{costs[name].parameters / 1e6:.1f} M"
        assert shown.get("n_missing", "0") == ("1" if name == "unet" else "0")


def test_dots_are_the_cases(page: Page, board: Leaderboard) -> None:
    table = "document.querySelector('#d0 .strips')"
    counts = page.run(
        f"[...{table}.querySelectorAll('.dots')].map(p => p.getAttribute('d').split('m').length - 1)"
    )
    assert counts == [60] * 4
    names = page.run("JSON.parse(document.querySelector('#d0 .names').textContent)")
    assert names == list(board.sets[0].comparable.cases)


def test_pointing_at_a_dot_names_the_case_and_its_score(page: Page, board: Leaderboard) -> None:
    page.run("document.querySelector('#d0 .strip').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.run(
        "(() => { const s = document.querySelector('#d0 .strip'); const b = s.getBoundingClientRect();"
        "const [x, y] = s.querySelector('.dots').getAttribute('d').slice(1).split('h0')[0].split(' ')"
        ".map(Number); return [b.left + x / 1000 * b.width, b.top + y / 34 * b.height]; })()"
    )
    page.point_at(x, y)
    (words,) = [text for text in texts_of(page, ".pointed") if text]
    first = board.sets[0]
    score = first.analysis.scores[first.analysis.order[0], 0]
    assert words == f"{first.comparable.cases[0]}: {score:.2f} with {first.rows[0].name}"
    assert page.run("document.querySelectorAll('#d0 .pointer').length") == 8
    page.point_at(1, 1)
    assert not any(texts_of(page, ".pointed"))


def _sorted_by(page: Page, title: str) -> tuple[list[str], str]:
    head = (
        "[...document.querySelectorAll('#d0 .ranking thead th')]"
        f".find(h => h.textContent.trim() === {json.dumps(title)})"
    )
    page.run(f"{head}.querySelector('button').click()")
    names = page.run(
        "[...document.querySelectorAll('#d0 .ranking')][0].tBodies[0].rows.length && "
        "[...[...document.querySelectorAll('#d0 .ranking')][0].tBodies[0].rows]"
        ".map(r => r.querySelector('.name').textContent)"
    )
    return names, page.run(f"{head}.getAttribute('aria-sort')")


def test_heads_sort_and_say_so(page: Page) -> None:
    by_quality = sorted(QUALITIES, key=lambda name: QUALITIES[name])
    assert _sorted_by(page, "Dice") == (by_quality, "ascending")
    assert _sorted_by(page, "Dice") == (by_quality[::-1], "descending")
    assert _sorted_by(page, "Parameters") == (list(QUALITIES), "ascending")
    assert _sorted_by(page, "Training") == (list(QUALITIES)[::-1], "ascending")
    assert _sorted_by(page, "Trainer") == (sorted(QUALITIES, key=str.lower), "ascending")
    states = page.run(
        "[...document.querySelector('#d0 .ranking').querySelectorAll('th[aria-sort]')]"
        ".filter(h => h.getAttribute('aria-sort') !== 'none').length"
    )
    assert states == 1


def _visible(page: Page, selector: str) -> int:
    return int(
        page.run(
            f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => e.checkVisibility()).length"
        )
    )


def test_filters_count_hide_and_say_that_the_view_is_filtered(page: Page) -> None:
    trainers = len(QUALITIES) + 2
    assert _visible(page, "#d0 div.set .ranking tbody tr") == 4
    assert _visible(page, ".filtered") == 0
    _tick(page, 1, False)
    assert _visible(page, "#d0 div.set .ranking tbody tr") == 3
    assert _visible(page, "#d0 div.set .strips tbody tr") == 3
    assert _visible(page, "#d0 div.set .matrix tbody tr") == 3
    assert texts_of(page, ".filters .count") == [f"{trainers - 1} of {trainers}"]
    (banner,) = texts_of(page, ".filtered")
    assert banner.startswith(f"Filtered view: {trainers - 1} of {trainers} trainers.")
    assert "still those of all trainers" in banner
    _choose(page, "metric", "hd95")
    assert _visible(page, "#d0 div.set .ranking tbody tr") == 3
    _choose(page, "dataset", "1")
    assert _visible(page, "details.dataset") == 1
    assert "data set Dataset901_Other only, by HD95" in texts_of(page, ".filtered")[0]


def test_showing_all_again_gives_the_page_as_it_came(page: Page) -> None:
    before = page.run("document.querySelector('main').innerText")
    _choose(page, "metric", "nsd")
    _choose(page, "structure", "front")
    _tick(page, 0, False)
    assert page.run("document.querySelector('main').innerText") != before
    page.run("document.querySelector('.filters').reset()")
    page.run("new Promise(done => setTimeout(done, 50))")
    assert page.run("document.querySelector('main').innerText") == before
    assert _visible(page, ".filtered") == 0


def test_dark_and_light_can_be_switched(page: Page) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    page.media(prefers_color_scheme="light")
    light = page.run(colour)
    page.media(prefers_color_scheme="dark")
    dark = page.run(colour)
    assert light != dark
    page.run("document.querySelector('.theme').click()")
    assert page.run(colour) == light


def test_without_scripts_everything_is_there_and_nothing_is_dead(browser: Chromium, path: Path) -> None:
    page = browser.page().open(path, scripts=False)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert _visible(page, ".filters, .theme, .copy") == 0
    assert page.run("document.querySelectorAll('th button').length") == 0
    assert _visible(page, "#d0 .ranking tbody tr") == 5
    assert _visible(page, "#d0 .dots") > 0 and _visible(page, "#d0 .scatter .marker") > 0
    text = page.run("document.body.textContent")
    for words in (
        "nnunet has the best mean Dice",
        "Not compared with the rows above: late",
        "folds 0 to 2 instead of folds 0 to 4",
        "width 32 instead of 64",
        "How to read this",
        "Wilcoxon signed-rank test",
        "Only 40 cases",
    ):
        assert words in text


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_over_the_side(
    browser: Chromium, path: Path, width: int, scheme: str, tmp_path: Path
) -> None:
    page = browser.page()
    page.media(prefers_color_scheme=scheme)
    page.open(path, width)
    assert page.run("document.documentElement.scrollWidth") <= width
    small = page.run(
        "[...document.querySelectorAll('td, th, p, li, dd, figcaption')].filter(e => e.checkVisibility() && "
        "parseFloat(getComputedStyle(e).fontSize) < 11).length"
    )
    assert small == 0
    picture = page.picture(tmp_path / f"{scheme}_{width}.png")
    assert picture.stat().st_size > 50_000
    kept = os.environ.get("AUTOSEG_PICTURES")
    if kept:
        shutil.copy(picture, kept)


def _axe() -> str:
    """The text of axe-core: AUTOSEG_AXE names the file, or npm has it."""
    named = os.environ.get("AUTOSEG_AXE")
    if named is None and shutil.which("npm"):
        root = subprocess.run(
            ["npm", "root", "-g"], capture_output=True, text=True, check=False
        ).stdout.strip()
        named = f"{root}/axe-core/axe.min.js"
    if named is None or not Path(named).is_file():
        pytest.skip("axe-core is not installed (npm install -g axe-core, or AUTOSEG_AXE)")
    return Path(named).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(browser: Chromium, path: Path, scheme: str, width: int) -> None:
    axe = _axe()
    page = browser.page()
    page.media(prefers_color_scheme=scheme)
    page.open(path, width)
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.run(axe + "; 0")
    found: list[Any] = page.run(
        "axe.run().then(r => r.violations.map("
        "v => [v.impact, v.id, v.nodes[0].html, v.nodes[0].failureSummary]))"
    )
    assert [item for item in found if item[0] in ("serious", "critical")] == []


def test_tables_have_captions_and_scopes_and_pictures_have_words(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('table')].every(t => t.caption)")
    assert page.run("[...document.querySelectorAll('thead th, tbody th')].every(h => h.scope)")
    assert page.run(
        "[...document.querySelectorAll('main svg')].every(s => s.ariaHidden === 'true' || s.ariaLabel)"
    )


def test_differences_that_hold_are_listed_over_all_data_sets(board: Leaderboard) -> None:
    text = render(board)
    overview = text[text.index("Which differences hold") : text.index("</section>")]
    found = [pair for pair in board.comparisons() if pair["p_holm"] < 0.05]
    assert f"{len(found)} of {len(board.comparisons())} comparisons" in overview
    assert overview.count("<tr data-trainer") == len(found) > 0
    last = [cell.split("</td>")[0] for cell in overview.rsplit("<tr data-trainer", 1)[1].split("<td")[1:3]]
    assert [cell.split(">")[1] for cell in last] == ["unet", "nnunet"]


@pytest.mark.slow
def test_thirty_trainers_on_twenty_data_sets_fit_a_page(browser: Chromium, tmp_path: Path) -> None:
    qualities = {f"trainer_{i:02d}": 0.9 - 0.002 * i for i in range(30)}
    records = [
        item
        for number in range(20)
        for item in experiment(qualities, 500, dataset=f"Dataset{number:03d}_Made")
    ]
    path = write_page(rank(records), tmp_path / "big.html")
    assert path.stat().st_size < 15e6
    page = browser.page().open(path)
    assert _visible(page, "details.dataset") == 20
    assert page.complaints == []
