"""The page in a real browser, by keyboard alone, with the viewer that needs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from review_cases import label_array, make_review, make_volumes, served
from review_page import ReviewPage

from autoseg.data.readers import read_segmentation
from autoseg.review.cases import Review
from autoseg.review.journal import Journal


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return make_review(make_volumes(tmp_path / "Dataset007_Boxes", orientation="RAS"), tmp_path / "review")


def test_a_case_is_corrected_and_decided_by_keyboard_alone(browser: Chromium, review: Review) -> None:
    with served(review) as server:
        page = ReviewPage(browser, server.address)
        assert page.case == "case_0" and "token" not in page.page.run("location.href")
        assert "<script>alert(1)</script>" in page.text("#why")
        before = page.drawing()
        page.key("x")  # focus on an image
        assert page.page.run("document.activeElement.tagName") == "CANVAS"
        page.key("d")
        page.key("2")
        for _ in range(2):
            page.key("[")
        page.key("ArrowLeft", "ArrowLeft")
        place = page.page.run("window.review.state.at")
        page.key(" ", "Space")
        assert (
            page.page.run(
                "window.review.state.drawing.values[window.review.state.drawing.index(window.review.state.at)]"
            )
            == 2
        )
        page.key("z")
        assert page.drawing() == before
        page.key("T", "KeyT", 8)
        taken = page.drawing()
        assert taken != before
        page.until("document.querySelector('#saved').textContent.startsWith('The drawing is kept')")
        assert Journal(review.folder).has_draft("case_0")
        page.key("a")  # saves what was drawn, then accepts
        page.until("document.querySelector('[data-act=accept]').getAttribute('aria-pressed') === 'true'")
        page.settled()
        assert place != page.page.run("[0, 0, 0]")
        assert page.go_on() == "case_1"
        page.key("r")
        page.until("document.querySelector('[data-act=reject]').getAttribute('aria-pressed') === 'true'")
        page.key("c")
        for letter in "blurred":
            page.key(letter)
        page.key("Tab", "Tab")
        page.settled()
        assert page.go_on("p") == "case_0"
        assert page.page.complaints == []
    journal = Journal(review.folder)
    assert journal.state("case_0").decision == "accepted" and journal.state("case_0").reviewer == "Dr. Who"
    assert journal.state("case_1").decision == "rejected" and journal.state("case_1").comment == "blurred"
    assert [each["action"] for each in journal.entries] == ["correct", "accept", "reject", "comment"]
    saved = read_segmentation(journal.state("case_0").corrected, review.reader).array[0]  # type: ignore[arg-type]
    assert np.bincount(saved.ravel(), minlength=8).tolist() == taken


def test_the_mouse_paints_what_it_goes_over(browser: Chromium, review: Review) -> None:
    with served(review) as server:
        page = ReviewPage(browser, server.address)
        before = page.drawing()
        page.key("e")
        box = page.canvas(0)
        middle = box["y"] + box["height"] / 2
        page.page.drag((box["x"] + 0.3 * box["width"], middle), (box["x"] + 0.7 * box["width"], middle))
        after = page.drawing()
        assert after[0] > before[0] and after[1] <= before[1]
        page.key("s")
        page.until("document.querySelector('#saved').textContent.startsWith('Saved as a new file')")
    saved = Journal(review.folder).state("case_0").corrected
    assert saved is not None
    original = review.cases[0].reference
    assert np.count_nonzero(read_segmentation(original, review.reader).array) == np.count_nonzero(
        label_array()
    )  # type: ignore[arg-type]


def test_a_drawing_outlives_the_server(browser: Chromium, review: Review) -> None:
    with served(review) as server:
        page = ReviewPage(browser, server.address)
        page.key("t")
        drawn = page.drawing()
        page.until("document.querySelector('#saved').textContent.startsWith('The drawing is kept')")
    page.key("n")
    page.until("document.querySelector('#alert').textContent.startsWith('The server does not answer')")
    with served(review) as server:
        again = ReviewPage(browser, server.address)
        assert again.case == "case_0" and again.drawing() == drawn
        assert "here again" in again.text("#saved")
        again.key("a")
        again.until("document.querySelector('[data-act=accept]').getAttribute('aria-pressed') === 'true'")
    state = Journal(review.folder).state("case_0")
    assert state.corrected is not None and not Journal(review.folder).has_draft("case_0")
    saved = read_segmentation(state.corrected, review.reader).array[0]
    assert np.bincount(saved.ravel(), minlength=8).tolist() == drawn


def _axe() -> str:
    named = os.environ.get("AUTOSEG_AXE")
    if named is None and shutil.which("npm"):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False).stdout
        named = f"{root.strip()}/axe-core/axe.min.js"
    if named is None or not Path(named).is_file():
        pytest.skip("axe-core is not installed (npm install -g axe-core, or AUTOSEG_AXE)")
    return Path(named).read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_runs_over_the_side(
    browser: Chromium, review: Review, scheme: str, tmp_path: Path
) -> None:
    axe = _axe()
    with served(review) as server:
        page = ReviewPage(browser, server.address, scheme=scheme)
        page.key("a")
        page.settled()
        assert page.page.run("document.documentElement.scrollWidth") <= 1440
        assert page.picture(tmp_path / "page.png").stat().st_size > 20_000
        assert page.violations(axe) == []
        page.key("?")
        assert page.violations(axe) == []


def test_a_narrow_window_has_everything_too(browser: Chromium, review: Review) -> None:
    with served(review) as server:
        page = ReviewPage(browser, server.address, width=390)
        assert page.page.run("document.documentElement.scrollWidth") <= 390
        hidden = "b => !b.checkVisibility() && !b.closest('dialog') && !b.hidden"
        assert page.page.run(f"[...document.querySelectorAll('button')].filter({hidden}).length") == 0
