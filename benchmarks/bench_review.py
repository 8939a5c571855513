"""A session of the review page in a browser: ten cases, two corrected, one rejected, killed in the middle.

    python benchmarks/bench_review.py [--workspace DIR] [--pictures DIR]

A small model of Hippocampus predicts ten cases that it has not seen; `autoseg review --serve` shows them, the
worst first, in headless Chromium with NiiVue (WebGL 2 in software) and in the page's own viewer. The server
is killed (SIGKILL) while a drawing is under way, and started again by the same command. AUTOSEG_TEST_DATA
names the folder of the data sets.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _machine import HERE, machine, write_results

sys.path.insert(0, str(HERE.parent / "tests"))
sys.path.insert(0, str(HERE.parent / "tests" / "review"))
from chromium import chromium, find_chromium
from review_page import ReviewPage

from autoseg.data.readers import read_segmentation
from autoseg.intake.verification.dataset_check import verify
from autoseg.review.journal import Journal, hash_of

NAME, TRAINED, REVIEWED = "Dataset004_Hippocampus", 20, 10
TRAINING = ["--trainers", "nnunet", "--folds", "0,1", "--steps", "150", "--small", "--device", "cpu"]
READER = "SimpleITKIO"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, help="with the model, if it was trained before")
    parser.add_argument("--pictures", type=Path, help="where screenshots stay")
    options = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.workspace or Path(folder) / "workspace", options.pictures)
        found = bench.run()
    lost = [name for name, held in found if held is False]
    write_results("review", where, [{"what": name, "found": held} for name, held in found], _page(found))
    if lost:
        raise SystemExit(f"not held: {lost}")


class Bench:
    """One session."""

    def __init__(self, folder: Path, workspace: Path, pictures: Path | None) -> None:
        self.folder, self.workspace = folder, workspace
        self.pictures = pictures or folder / "pictures"
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.images, self.output = folder / "images", folder / "predicted"
        self.found: list[tuple[str, Any]] = []

    def note(self, what: str, held: Any) -> None:
        print(f"{what}: {held}", flush=True)
        self.found.append((what, held))

    def run(self) -> list[tuple[str, Any]]:
        self.predict()
        before = {path: hash_of(path) for path in self.output.glob("*.nii.gz")}
        program = find_chromium()
        if program is None:
            raise SystemExit("there is no Chromium")
        with chromium(program, webgl=True) as browser:
            drawn = self.first_part(browser)
            self.second_part(browser, drawn)
        self.check(before)
        return self.found

    def predict(self) -> None:
        """The model, and its predictions of ten other cases."""
        source = Path(os.environ["AUTOSEG_TEST_DATA"]) / NAME
        cases = sorted(path.name.removesuffix(".nii.gz") for path in (source / "labelsTr").glob("*.nii.gz"))
        root = self.folder / NAME
        for kind, suffix in (("imagesTr", "_0000"), ("labelsTr", "")):
            (root / kind).mkdir(parents=True)
            for case in cases[:TRAINED]:
                shutil.copy(source / kind / f"{case}{suffix}.nii.gz", root / kind)
        document = json.loads((source / "dataset.json").read_text()) | {"numTraining": TRAINED}
        (root / "dataset.json").write_text(json.dumps(document))
        models = list((self.workspace / "results" / NAME).glob("nnunet__*"))
        if not models:
            _autoseg("plan-and-train", root, *TRAINING, "--workspace", self.workspace)
            models = list((self.workspace / "results" / NAME).glob("nnunet__*"))
        self.images.mkdir()
        for case in cases[TRAINED : TRAINED + REVIEWED]:
            shutil.copy(source / "imagesTr" / f"{case}_0000.nii.gz", self.images)
        _autoseg("predict", models[0], self.images, self.output, "--device", "cpu")

    def serve(self) -> tuple[subprocess.Popen[str], str]:
        command = ["review", self.output, "--serve", "--images", self.images, "--workspace", self.workspace]
        process = subprocess.Popen(
            [sys.executable, "-m", "autoseg", *map(str, command), "--reviewer", "Bench"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in process.stderr or ():
            if match := re.search(r"http://127\S+", line):
                return process, match[0]
        raise SystemExit("the server did not start")

    def first_part(self, browser: Any) -> list[int]:
        """Two cases with NiiVue, up to a drawing under way in the third; then the kill."""
        process, address = self.serve()
        began = time.monotonic()
        page = ReviewPage(browser, address)
        self.note(
            "seconds from opening to the first case, NiiVue in software", round(time.monotonic() - began, 1)
        )
        self.note("NiiVue shows it", page.page.run("document.body.dataset.view") == "niivue")
        self.note("cases", page.page.run("document.querySelectorAll('#cases li').length"))
        self.order = page.page.run("window.review.state.review.cases.map(c => c.case)")
        page.picture(self.pictures / "niivue.png")
        before = page.drawing()
        self.paint(page)
        self.note("the mouse paints in NiiVue", page.drawing() != before)
        page.picture(self.pictures / "niivue_pen.png")
        page.key("s")
        page.until("document.querySelector('#saved').textContent.startsWith('Saved as a new file')")
        self.corrected = page.drawing()
        page.go_on()
        page.key("r")
        page.until("document.querySelector('[data-act=reject]').getAttribute('aria-pressed') === 'true'")
        page.settled()
        page.go_on()
        self.paint(page)
        page.until("document.querySelector('#saved').textContent.startsWith('The drawing is kept')")
        drawn = page.drawing()
        process.send_signal(signal.SIGKILL)
        process.wait()
        page.key("a")
        page.until("!document.querySelector('#alert').hidden")
        self.note("the page says that the server is gone", "does not answer" in page.text("#alert"))
        page.picture(self.pictures / "killed.png")
        return drawn

    def second_part(self, browser: Any, drawn: list[int]) -> None:
        """The same command again, the page's own viewer, dark; the rest of the cases."""
        process, address = self.serve()
        page = ReviewPage(browser, address, scheme="dark")
        self.note("opens at the first undecided case", page.case == self.order[0])
        self.note("the first correction is shown again", page.drawing() == self.corrected)
        page.page.run("document.querySelector('#viewer').click()")
        page.until("document.body.dataset.view === 'plain'")
        page.key("a")
        page.until("document.querySelector('[data-act=accept]').getAttribute('aria-pressed') === 'true'")
        page.settled()
        page.go_on()
        page.go_on()
        self.note("the drawing under way is as it was at the kill", page.drawing() == drawn)
        page.picture(self.pictures / "plain_dark.png")
        while True:
            page.key("a")
            page.until("document.querySelector('[data-act=accept]').getAttribute('aria-pressed') === 'true'")
            page.settled()
            if page.case == self.order[-1]:
                break
            page.go_on()
        page.picture(self.pictures / "done_dark.png")
        self.note("reviewed in the end", page.text("#progress"))
        page.page.run("document.querySelector('#finish').click()")
        self.note("the page's button ends the server, exit status", process.wait(30))
        self.note("complaints of the browser", len(page.page.complaints))

    def paint(self, page: ReviewPage) -> None:
        """A stroke with the mouse in a slice."""
        page.key("d")
        box = page.canvas()
        x, y = box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"]
        page.page.drag((x, y), (x + 0.06 * box["width"], y))
        page.settled()

    def check(self, before: dict[Path, str]) -> None:
        """What is on disk, and the data set that comes of it."""
        journal = Journal(self.output / "review")
        states = {case: journal.state(case) for case in self.order}
        corrected = sum(state.corrected is not None for state in states.values())
        self.note("two cases are corrected, one of them begun before the kill", corrected == 2)
        self.note("rejected cases", sum(state.decision == "rejected" for state in states.values()))
        self.note("accepted cases", sum(state.decision == "accepted" for state in states.values()))
        first = read_segmentation(states[self.order[0]].corrected or Path(), READER).array[0]
        same = np.bincount(first.ravel(), minlength=8).tolist() == self.corrected
        self.note("the corrected file has the voxels that were drawn", same)
        now = {path: hash_of(path) for path in before}
        self.note("no prediction is changed", now == before)
        better = self.folder / "Dataset104_Corrected"
        _autoseg(
            *("review", self.output, "--export", better, "--images", self.images),
            *("--workspace", self.workspace),
        )
        report = verify(better, 1)
        self.note("cases of the exported data set", len(list((better / "labelsTr").iterdir())))
        self.note("errors that verify finds in it", sum(each.severity == "error" for each in report.findings))


def _autoseg(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "autoseg", *map(str, words)], check=True)


def _page(found: list[tuple[str, Any]]) -> str:
    words = {True: "yes", False: "**no**"}
    rows = "\n".join(
        f"| {what} | {words.get(held, held) if isinstance(held, bool) else held} |" for what, held in found
    )
    return (
        f"# A session of the review page\n\n{REVIEWED} predictions of {NAME} by a small model, driven in "
        "headless Chromium: the first case corrected with the pen in NiiVue and saved, the second rejected, "
        "a drawing begun in the third. There the server is killed (SIGKILL) and the same command started "
        "again; the third case is then saved and accepted with the page's own viewer, and all others "
        "accepted. WebGL runs in software here, which is slower than any graphics card.\n\n"
        f"| what | found |\n|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    main()
