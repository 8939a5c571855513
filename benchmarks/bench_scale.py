"""Data sets of 100, 1,000 and 10,000 tiny cases: time and memory of verify, fingerprint, plan and folds.

    python benchmarks/bench_scale.py [--cases 100,1000,10000]

Whole processes. Each command runs once on all cases and once more after ten cases were added. Files are of
8 x 8 x 8 voxels, so that what grows is the work per case, not the voxels; the draws of intensities, which are
10^8 a channel whatever the number of cases, are the constant part of the fingerprint.
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
from _machine import machine, write_results
from _processes import measure

SIZE = 8
ADDED = 10
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
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for count in map(int, options.cases.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows += _measured(Path(folder), count, options.labels)
        text = _page(rows, options.labels)
        name = "scale" if options.labels == 1 else f"scale_{options.labels}_labels"
        write_results(name, where, rows, text)  # what is there stays if a larger one is ended
    print(text)


def _measured(place: Path, count: int, labels: int) -> list[dict[str, Any]]:
    root = _raw(place / "raw" / "Dataset001_Many", count, labels)
    rows = []
    for round_, cases in (("all", count), (f"{ADDED} added", count + ADDED)):
        if cases > count:
            _add(root, range(count, cases), labels)
            _describe(root, cases, labels)
        for name, command in _commands(root, cases).items():
            cost = measure(command, {"AUTOSEG_WORKSPACE": str(place)}, place / "log.txt")
            rows.append({"cases": count, "round": round_, "what": name, **cost.to_json()})
            print(rows[-1], flush=True)
    return rows


def _commands(root: Path, cases: int) -> dict[str, list[str]]:
    autoseg = [sys.executable, "-m", "autoseg"]
    one = ["--workers=1", "--quiet"]
    return {
        "verify": [*autoseg, "verify", str(root), *one],
        "fingerprint": [*autoseg, "fingerprint", str(root), *one],
        "plan": [*autoseg, "plan", str(root), *one],
        "folds": [sys.executable, "-c", FOLDS, str(root), str(cases)],
    }


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
        "| cases | round | command | CPU s | wall s | CPU ms a case | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = 1000 * row["cpu_s"] / row["cases"]
        numbers = f"{row['cpu_s']:.1f} | {row['wall_s']:.1f} | {each:.1f} | {row['peak_pss_mb']:.0f}"
        lines.append(f"| {row['cases']:,} | {row['round']} | {row['what']} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
