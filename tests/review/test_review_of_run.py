"""`autoseg review RUN --serve`: the command, its page by keyboard alone, the data set that comes of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from review_page import ReviewPage

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_segmentation
from autoseg.pipeline.review_session import Sources, export_review, find_review
from autoseg.postprocessing.rules import PIXELS, Postprocessing, Rule
from autoseg.review.journal import Journal
from autoseg.review.session import Session
from autoseg.workspace import Workspace

ARCHIVE = Path(__file__).parents[1] / "pipeline" / "walked_workspace.tar.xz"
DATASET = "Dataset905_Discs"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished model of two folds."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "walked" / "results" / DATASET / "nnunet__autosegPlans_2b8bb0bb__2d"


@contextmanager
def serving(run: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    words = ("--serve", "--viewer", "plain", "--reviewer", "Dr. Who", "--device", "cpu", "--workers", "1")
    command = [
        sys.executable,
        "-m",
        "autoseg",
        "review",
        str(run),
        "--workspace",
        str(run.parents[2]),
        *words,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if match := re.search(r"http://127\S+", line):
                yield process, match[0]
                return
        raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def test_the_labels_of_a_run_are_reviewed_by_keyboard_alone(
    browser: Chromium, run: Path, tmp_path: Path
) -> None:
    labels = {path: path.read_bytes() for path in (run.parents[2] / "raw").rglob("*.png")}
    with serving(run) as (process, address):
        page = ReviewPage(browser, address)
        order = page.page.run("window.review.state.review.cases.map(each => each.case)")
        assert page.text("#title") == f"Labels of {DATASET}" and run.name in page.text("#order")
        assert page.page.run("Object.keys(window.review.state.buffers).sort()") == [
            *("drawing", "image", "prediction", "reference"),
        ]
        page.key("t")  # the worst label becomes what the networks say
        taken = page.drawing()
        page.key("a")
        page.until("document.querySelector('[data-act=accept]').getAttribute('aria-pressed') === 'true'")
        page.settled()
        assert page.go_on("u") == order[1]
        page.key("r")
        page.until("document.querySelector('[data-act=reject]').getAttribute('aria-pressed') === 'true'")
        page.settled()
        page.page.run("document.querySelector('#finish').focus()")
        page.key("Enter", "Enter")
        assert process.wait(60) == 0
        assert page.page.complaints == []
    journal = Journal(run.parent / "review")
    first, second = (journal.state(case) for case in order[:2])
    assert (first.decision, second.decision) == ("accepted", "rejected")
    assert {path: path.read_bytes() for path in labels} == labels
    better = tmp_path / "Dataset906_Better"
    sources = Sources(str(run), Workspace.locate(run.parents[2]), device="cpu", workers=1)
    found, report = export_review(find_review(sources), better, workers=1)
    assert (found.corrected, found.rejected) == ((order[0],), (order[1],))
    assert [each for each in report.findings if each.severity == "error"] == []
    dataset = load_dataset(better)
    assert [case.identifier for case in dataset.cases] == sorted({*order} - {order[1]})
    label = dataset.case(order[0]).label
    assert label is not None
    written = read_segmentation(label, dataset.reader).array[0]
    assert np.bincount(written.ravel(), minlength=8).tolist() == taken


def test_what_is_shown_is_what_the_run_writes(run: Path) -> None:
    """Postprocessing that takes everything away takes it away here too."""
    workspace = Workspace.locate(run.parents[2])
    structures = load_dataset(workspace.find_raw(DATASET)).labels.structures
    rules = tuple(Rule(name, values, values[0], smallest=1e6) for name, values in structures.items())
    Postprocessing(rules, PIXELS, {"in_words": []}).save(run)
    review = find_review(Sources(str(run), workspace, device="cpu", workers=1))
    session = Session(review, Journal(review.folder))
    stored = review.cases[0].prediction
    assert stored is not None and read_segmentation(stored, review.reader).array.any()
    header = 352
    assert not np.frombuffer(session.layer(0, "prediction"), np.uint8, offset=header).any()
    assert np.frombuffer(session.layer(0, "reference"), np.uint8, offset=header).any()
    assert review.cases[0].numbers["Dice"] == "0.00"
