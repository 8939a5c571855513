"""What it costs to read a data set of strangers in a child process with limits: `import` with and without it.

    python benchmarks/bench_guard.py [--cases 100] [--rounds 5]

Whole processes in turn, `--untrusted` (the default) and `--trusted`, each round into a new workspace. What
was imported has to be the same, file by file.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
from pathlib import Path

import _edge_bases as bases
import SimpleITK as sitk
from _machine import machine, write_results
from _processes import Cost, measure

WAYS = ("--untrusted", "--trusted")


def main() -> None:
    where = machine(packages=("SimpleITK",))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
    contents = set()
    with tempfile.TemporaryDirectory() as folder:
        source = _source(Path(folder) / "source", options.cases)
        for number in range(options.rounds):
            for way in WAYS if number % 2 else WAYS[::-1]:
                workspace = Path(folder) / f"{number}{way}"
                costs[way].append(_imported(source, workspace, way))
                contents.add(_content(workspace))
    assert len(contents) == 1, "both ways have to give the same files"
    text = _page(options.cases, options.rounds, costs)
    print(text)
    results = {way: [cost.to_json() for cost in several] for way, several in costs.items()}
    write_results("guard", where, results, text)


def _source(root: Path, cases: int) -> Path:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(cases):
        image, label = map(sitk.GetImageFromArray, bases.volume(number, 32))
        sitk.WriteImage(image, str(root / f"images/scan_{number:04d}.nii.gz"))
        sitk.WriteImage(label, str(root / f"masks/scan_{number:04d}.nii.gz"))
    return root


def _imported(source: Path, workspace: Path, way: str) -> Cost:
    workspace.mkdir()
    command = [sys.executable, "-m", "autoseg", "import", str(source), "--name=Scans", way, "--workers=1"]
    return measure([*command, "--quiet"], {"AUTOSEG_WORKSPACE": str(workspace)}, workspace / "log.txt")


def _content(workspace: Path) -> str:
    files = sorted((workspace / "raw").rglob("*.nii.gz"))
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


def _page(cases: int, rounds: int, costs: dict[str, list[Cost]]) -> str:
    lines = [
        "# Files from strangers: the cost of a child process",
        "",
        f"`autoseg import` of {cases} cases (an image and a label of 32 x 32 x 32 each), {rounds} times "
        f"each way in turn; medians of whole processes. `--untrusted` is the default.",
        "",
        "| way | CPU s | wall s | peak memory, MB |",
        "|---|---|---|---|",
    ]
    for way, several in costs.items():
        median = [
            statistics.median(values)
            for values in zip(*((c.cpu_s, c.wall_s, c.peak_pss_mb) for c in several), strict=True)
        ]
        lines.append(f"| `{way}` | {median[0]:.2f} | {median[1]:.2f} | {median[2]:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
