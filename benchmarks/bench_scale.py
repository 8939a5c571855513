"""Data sets of 100, 1,000 and 10,000 tiny cases: time and memory of what reads them, and one huge case.

    python benchmarks/bench_scale.py [--cases 100,1000,10000]
    python benchmarks/bench_scale.py --huge                        (one case of 1,024 x 1,024 x 600 voxels)

Whole processes. Each command runs once on all cases and once more after ten cases were added. Files are of
8 x 8 x 8 voxels, so that what grows is the work per case, not the voxels; the draws of intensities, which are
10^8 a channel whatever the number of cases, are the constant part of the fingerprint. Files read: images and
labels (a case has one of each). Preprocessed is a sample of 100 cases; the leaderboard is of records of three
trainers in five folds, each with scores of all cases.

The huge case runs with no more than 4 GB of memory that it can address; with --unbounded, again without that
limit where it is refused so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from _machine import HERE, machine, write_results
from _processes import measure

SIZE = 8
ADDED = 10
SAMPLE = 100
HUGE = (600, 1024, 1024)
HUGE_BYTES = 4 * 10**9
HUGE_WORD = "memory"
# The command line in a process that counts the images and labels that it reads.
COUNTED = """
import os
from autoseg.data import readers
from autoseg.intake.verification import case_checks as checks
read, opened = readers.read_file, set()
def noting(path, *words, **more):
    opened.add(path)
    return read(path, *words, **more)
readers.read_file = checks.read_file = noting
from autoseg.cli.app import main
try:
    main()
finally:
    with open(os.environ["OPENED"], "w") as file:
        file.write(str(len(opened)))
"""
PREPROCESSED = """
import sys
from dataclasses import replace
from pathlib import Path
from autoseg.data import load_dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import preprocess_configurations
from autoseg.workspace import Workspace
dataset, place = load_dataset(Path(sys.argv[1])), Workspace.locate()
plan = Plan.load(place.plan_of(dataset.name, "nnUNetPlans"))
some = replace(dataset, cases=dataset.cases[: int(sys.argv[2])])
wanted = [plan.configuration("3d_fullres")]
folders = {each.name: place.cases_of(dataset.name, each.data_identifier) for each in wanted}
preprocess_configurations(some, plan, folders, 1)
"""
LEADERBOARD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from made_records import experiment
from autoseg.leaderboard.records.files import write_records
cases, folds = int(sys.argv[2]), 5
records = experiment({"nnunet": 0.8, "unet": 0.78, "brainunet": 0.7}, n_cases=cases, n_folds=folds)
write_records(Path(sys.argv[1]), records)
"""
FOLDS = """
import json, sys
from pathlib import Path
from autoseg.data import load_dataset
from autoseg.data.folds import make_folds
folds = make_folds(load_dataset(Path(sys.argv[1])))
assert sum(len(fold.validation) for fold in folds) == int(sys.argv[2])
"""


def main() -> None:
    where = machine(packages=("SimpleITK",))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default="100,1000,10000")
    parser.add_argument("--labels", type=int, default=1, help="Structures of every case.")
    parser.add_argument("--huge", action="store_true", help="One huge case instead.")
    parser.add_argument(
        "--unbounded", action="store_true", help="The huge case without a limit of memory too."
    )
    parser.add_argument(
        "--rows", type=Path, action="append", default=[], help="Keep the rows of this JSON of another run."
    )
    options = parser.parse_args()
    if options.huge:
        _huge(where, options.unbounded)
        return
    name = "scale" if options.labels == 1 else f"scale_{options.labels}_labels"
    rows: list[dict[str, Any]] = []
    for path in options.rows:  # of the same number of cases the last ones stay
        new = _rows_of(path)
        anew = {row["cases"] for row in new}
        rows = [row for row in rows if row["cases"] not in anew] + new
    rows.sort(key=lambda row: row["cases"])
    text = _page(rows, options.labels)
    write_results(name, where, rows, text)
    for count in map(int, filter(None, options.cases.split(","))):
        with tempfile.TemporaryDirectory() as folder:
            made = [
                row | {"commit": where["commit"]} for row in _measured(Path(folder), count, options.labels)
            ]
        rows = sorted([row for row in rows if row["cases"] != count] + made, key=lambda row: row["cases"])
        text = _page(rows, options.labels)
        write_results(name, where, rows, text)  # what is there stays if a larger one is ended
    print(text)


def _rows_of(path: Path) -> list[dict[str, Any]]:
    document = json.loads(path.read_text())
    return [{"read": None, "commit": document["machine"]["commit"], **row} for row in document["results"]]


def _measured(place: Path, count: int, labels: int) -> list[dict[str, Any]]:
    root = _raw(place / "raw" / "Dataset001_Many", count, labels)
    rows = []
    for round_, cases in (("all", count), (f"{ADDED} added", count + ADDED)):
        if cases > count:
            _add(root, range(count, cases), labels)
            _describe(root, cases, labels)
        for name, command in _commands(root, cases).items():
            rows.append({"cases": count, "round": round_, "what": name, **_run(command, place)})
            print(rows[-1], flush=True)
    return rows + _once(place, root, count)


def _once(place: Path, root: Path, count: int) -> list[dict[str, Any]]:
    """What does not read the data set anew: preprocessing of a sample, and a leaderboard."""
    records = place / "results" / root.name / "made" / "fold_0" / "record.jsonl"
    records.parent.mkdir(parents=True)
    here = [str(HERE.parent / "tests" / "leaderboard")]
    _run([sys.executable, "-c", LEADERBOARD, str(records), str(count), *here], place)
    page = [f"--html={place / 'page.html'}", f"--csv={place / 'rows.csv'}", "--quiet"]
    commands = {
        f"preprocess {SAMPLE}": [sys.executable, "-c", PREPROCESSED, str(root), str(SAMPLE)],
        "leaderboard": [sys.executable, "-m", "autoseg", "leaderboard", root.name, *page],
    }
    rows = []
    for name, command in commands.items():
        rows.append({"cases": count, "round": "all", "what": name, **_run(command, place)})
        print(rows[-1], flush=True)
    return rows


def _run(command: list[str], place: Path) -> dict[str, Any]:
    """The cost of a command, and how many images and labels it read, where it counts them."""
    opened = place / "opened.txt"
    opened.unlink(missing_ok=True)
    environment = {"AUTOSEG_WORKSPACE": str(place), "OPENED": str(opened)}
    cost = measure(command, environment, place / "log.txt")
    return {**cost.to_json(), "read": int(opened.read_text()) if opened.is_file() else None}


def _commands(root: Path, cases: int) -> dict[str, list[str]]:
    counted = [sys.executable, "-c", COUNTED]
    one = ["--workers=1", "--quiet"]
    return {
        "verify": [*counted, "verify", str(root), *one],
        "fingerprint": [*counted, "fingerprint", str(root), *one],
        "plan": [sys.executable, "-m", "autoseg", "plan", str(root), *one],
        "folds": [sys.executable, "-c", FOLDS, str(root), str(cases)],
    }


def _huge(where: dict[str, Any], unbounded: bool) -> None:
    """One case of 1,024 x 1,024 x 600, with bounded memory and, on request, without where that is refused."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        root = place / "raw" / "Dataset002_Huge"
        for name in ("imagesTr", "labelsTr"):
            (root / name).mkdir(parents=True)
        _write_huge(root)
        _describe(root, 1, 1)
        for name, command in list(_commands(root, 1).items())[:2]:
            limited = ["bash", "-c", f'ulimit -v {HUGE_BYTES // 1024}; exec "$0" "$@"', *command]
            bounds = [(f"{HUGE_BYTES / 1e9:g} GB", limited), ("none", command)]
            for bound, words in bounds if unbounded else bounds[:1]:
                try:
                    said, cost = "", _run(words, place)
                except RuntimeError:
                    lines = (place / "log.txt").read_text(encoding="utf-8").splitlines()
                    said, cost = next((line for line in lines if HUGE_WORD in line), lines[-1]), {}
                    said = said.replace(f"{root}/", "")
                rows.append({"what": name, "bound": bound, "said": said, **cost})
                print(rows[-1], flush=True)
                if not said:
                    break
    text = _huge_page(rows)
    write_results("scale_huge", where, rows, text)
    print(text)


def _write_huge(root: Path) -> None:
    """Slice by slice, so that the making of it does not take the memory."""
    header = np.zeros(348, np.uint8)
    for path, kind, bits in (("imagesTr/a_0000.nii", np.int16, 16), ("labelsTr/a.nii", np.uint8, 8)):
        fields = {0: ("<i4", [348]), 40: ("<i2", [3, *HUGE[::-1], 1, 1, 1, 1])}
        fields |= {70: ("<i2", [4 if bits == 16 else 2, bits]), 76: ("<f4", [1, 0.5, 0.5, 0.8, 1, 1, 1, 1])}
        fields |= {108: ("<f4", [352, 1, 0]), 252: ("<i2", [0, 1])}
        fields |= {280: ("<f4", [0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.8, 0]), 344: ("<i4", [0x312B6E])}
        for at, (type_, values) in fields.items():
            content = np.array(values, type_).tobytes()
            header[at : at + len(content)] = np.frombuffer(content, np.uint8)
        random = np.random.default_rng(0)
        plane = random.normal(100, 20, HUGE[1:]) if bits == 16 else random.random(HUGE[1:]) < 0.05
        with (root / path).open("wb") as file:
            file.write(header.tobytes() + b"\0" * 4)
            for number in range(HUGE[0]):
                file.write(np.roll(plane, number, axis=0).astype(kind).tobytes())


def _huge_page(rows: list[dict[str, Any]]) -> str:
    z, y, x = HUGE
    lines = [
        "# Scale: one huge case",
        "",
        f"One case of {x:,} x {y:,} x {z:,} voxels (int16, {2 * z * y * x / 1e9:.2f} GB; its label uint8, "
        f"{z * y * x / 1e9:.2f} GB; not packed). Bound: memory that the process can address. A command "
        f"that needs more says so, and ends with status 1.",
        "",
        "| command | bound | CPU s | wall s | peak memory, MB | said |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = " | ".join(
            f"{row[key]:.1f}" if key in row else "" for key in ("cpu_s", "wall_s", "peak_pss_mb")
        )
        lines.append(f"| {row['what']} | {row['bound']} | {numbers} | {row['said'].replace('|', '/')} |")
    return "\n".join(lines)


def _raw(root: Path, count: int, labels: int) -> Path:
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    _add(root, range(count), labels)
    _describe(root, count, labels)
    return root


def _add(root: Path, numbers: range, labels: int) -> None:
    for number in numbers:
        random = np.random.default_rng(number)
        label = random.integers(0, labels + 1, (SIZE,) * 3).astype(np.uint8)
        image = (random.normal(100, 20, label.shape) + 50 * label).astype(np.int16)
        for array, path in (
            (image, f"imagesTr/c{number:06d}_0000.nii"),
            (label, f"labelsTr/c{number:06d}.nii"),
        ):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(root / path))


def _describe(root: Path, count: int, labels: int) -> None:
    about = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, **{f"organ{n}": n for n in range(1, labels + 1)}},
        "numTraining": count,
        "file_ending": ".nii",
    }
    (root / "dataset.json").write_text(json.dumps(about))


def _page(rows: list[dict[str, Any]], labels: int) -> str:
    lines = [
        "# Scale: many cases",
        "",
        f"Generated cases of {SIZE} x {SIZE} x {SIZE} voxels, structures: {labels}. Whole processes, one "
        f"worker. The second round follows after {ADDED} cases were added.",
        "",
        "| cases | round | command | files read | CPU s | wall s | CPU ms each | peak memory, MB | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = 1000 * row["cpu_s"] / row["cases"]
        numbers = f"{row['cpu_s']:.1f} | {row['wall_s']:.1f} | {each:.1f} | {row['peak_pss_mb']:.0f}"
        read = "" if row["read"] is None else f"{row['read']:,}"
        lines.append(
            f"| {row['cases']:,} | {row['round']} | {row['what']} | {read} | {numbers} | `{row['commit']}` |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
