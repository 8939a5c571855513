"""Make the pictures of the gallery anew: ``python docs/gallery/make_pictures.py`` (needs Chromium).

Data are generated, and the scores of the learning curves are invented, so nothing has to be trained.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from autoseg.data import make_demo
from autoseg.leaderboard import Record, ScoreTable, write_record
from autoseg.leaderboard.records.scores import ScoreColumn

HERE = Path(__file__).parent
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

MARK, TALL = (255, 0, 254), 5000


def autoseg(*arguments: str | Path, status: int = 0) -> None:
    """Run a command; it has to end with this status."""
    done = subprocess.run([sys.executable, "-m", "autoseg", *map(str, arguments), "--quiet"], check=False)
    if done.returncode != status:
        raise SystemExit(f"autoseg {arguments[0]} ended with {done.returncode}")


def photograph(page: Path, name: str, width: int, height: int, heading: str = "") -> None:
    """A picture of a page, as WebP; with a heading, of so much of it from there on."""
    if BROWSER is None:
        raise SystemExit("No Chromium was found.")
    shot = page.with_suffix(".png")
    # A line in a colour of its own shows where the heading is.
    marked = f'<h3 style="border-top: 2px solid rgb{MARK}">{heading}<'
    page.write_text(page.read_text().replace(f"<h3>{heading}<", marked))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = f"--window-size={width},{TALL if heading else height}"
    command = [BROWSER, *flags, f"--screenshot={shot}", size, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    if heading:
        picture = Image.open(shot).convert("RGB")
        rows = (np.asarray(picture) == MARK).all(-1).any(-1).nonzero()[0]
        top = int(rows[-1]) + 1
        picture.crop((0, top, width, top + height)).save(shot)
    keep(shot, name)


def keep(picture: Path, name: str) -> None:
    """Store a picture small enough for a page."""
    Image.open(picture).convert("RGB").save(HERE / f"{name}.webp", quality=80, method=6)


def damage(dataset: Path) -> None:
    """Two errors that happen: a value that no label has, and a label with another spacing than its image."""
    path = dataset / "labelsTr" / "mr_003.nii.gz"
    image = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(image)
    values[5:8, 20:30, 20:30] = 7
    changed = sitk.GetImageFromArray(values)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))
    path = dataset / "labelsTr" / "mr_006.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetSpacing((1.0, 1.0, 3.0))
    sitk.WriteImage(image, str(path))


def learning_records(folder: Path) -> None:
    """Invented scores of two trainers that saw 5 to 160 cases: one learns from few, one needs many."""
    rng = np.random.default_rng(0)
    cases = tuple(f"case_{number:02d}" for number in range(40))
    difficulty = rng.beta(2, 8, len(cases))
    for trainer, best, lost in (("from_a_model", 0.95, 0.25), ("from_nothing", 0.96, 0.9)):
        for number in (5, 10, 20, 40, 80, 160):
            dice = (best - 0.2 * difficulty - lost / number + rng.normal(0, 0.01, len(cases))).clip(0, 1)
            column = ScoreColumn("dice", "head", "dice.v1", tuple(map(float, dice.round(4))))
            record = Record(
                run_id=f"{trainer}-{number}",
                dataset="Invented",
                trainer=trainer,
                options={"cases": number},
                configuration="2d",
                fold=0,
                training_cases=number,
                scores=ScoreTable(cases, (column,)),
            )
            write_record(folder / f"{record.run_id}.jsonl", record)


def main() -> None:
    """All pictures, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        volumes, _ = make_demo(folder / "raw", cases=(10, 1))
        place = ("--workspace", folder / "workspace")
        autoseg("plan", volumes, "--report", folder / "plan.md", *place)
        keep(folder / "plan.png", "plan")
        damage(volumes)
        autoseg("verify", volumes, "--report", folder / "check.html", *place, status=1)
        photograph(folder / "check.html", "verify", 1100, 1250)
        learning_records(folder / "records")
        added = [each for path in sorted((folder / "records").iterdir()) for each in ("--add", path)]
        autoseg("leaderboard", *added, "--html", folder / "learning.html", *place)
        photograph(folder / "learning.html", "learning", 1000, 700, "How many training cases")


if __name__ == "__main__":
    main()
