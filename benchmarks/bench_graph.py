"""A dry run of thousands of jobs: autoseg's own beside Snakemake's of the same job list.

    python benchmarks/bench_graph.py [--datasets 50] [--rounds 3]

Whole processes, each several times: `autoseg benchmark SUITE --dry-run`, which lays the graph out, asks for
the state of every job and estimates its time, and `snakemake --dry-run` on the packaged Snakefile with the
list that autoseg wrote. Both have to come to the same number of jobs. Snakemake's jobs are packs of stages
that follow each other in one job, so its count is compared with that of the packs.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results

from autoseg.benchmark.engine import Order, engine_named
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.suite.suite import load_suite
from autoseg.workspace import Workspace

TRAINERS = "[nnunet, brainunet, resnet34_mlp, deepmrseg, unet, mednext_s]"
TARGET_S = 10.0
# One job of Snakemake each; see the Snakefile.
FIRST_OF_PACKS = ("verify", "fit", "preprocess", "train", "leaderboard")


def main() -> None:
    where = machine(packages=("snakemake",))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = _measured(Path(folder), options.datasets, options.rounds)
    text = _report(results)
    print(text)
    write_results("graph", where, results, text)


def _measured(place: Path, datasets: int, rounds: int) -> dict[str, Any]:
    names = [_raw(place / "raw", f"Dataset{number:03d}_X") for number in range(1, datasets + 1)]
    suite = place / "large.yaml"
    suite.write_text(f"datasets: [{', '.join(names)}]\ntrainers: {TRAINERS}\nbudget: {{per_run: 1h}}\n")
    graph = build_graph(load_suite(suite), Workspace.locate(place))
    own = [sys.executable, "-m", "autoseg", "benchmark", str(suite), "--dry-run", "--workspace", str(place)]
    arguments = engine_named("local").arguments(graph, Order(2))
    snake = [sys.executable, "-m", "snakemake", *arguments, "--dry-run", "--quiet", "rules"]
    ours, told = _timed(own, rounds)
    theirs, listed = _timed(snake, rounds)
    return {
        "jobs": len(graph.jobs),
        "jobs_told": int(_only(r"(\d+) jobs", told)),
        "packs": _packs(graph),
        # One is the rule that asks for all the others.
        "packs_told": int(_only(r"^total\s+(\d+)", listed)) - 1,
        "autoseg": ours,
        "snakemake": theirs,
    }


def _raw(root: Path, name: str, cases: int = 5) -> str:
    """A raw data set of tiny volumes."""
    import SimpleITK as sitk

    for folder in ("imagesTr", "labelsTr"):
        (root / name / folder).mkdir(parents=True)
    volume = sitk.GetImageFromArray(np.zeros((8, 8, 8), np.uint8))
    for case in range(cases):
        sitk.WriteImage(volume, str(root / name / "imagesTr" / f"c{case}_0000.nii.gz"), True)
        sitk.WriteImage(volume, str(root / name / "labelsTr" / f"c{case}.nii.gz"), True)
    about = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}}
    about |= {"numTraining": cases, "file_ending": ".nii.gz"}
    (root / name / "dataset.json").write_text(json.dumps(about))
    return name


def _packs(graph: Graph) -> int:
    return sum(job.stage in FIRST_OF_PACKS for job in graph.jobs)


def _timed(command: Sequence[str], rounds: int) -> tuple[dict[str, Any], str]:
    """Wall and CPU seconds of a command, and what it printed."""
    walls, cpus, text = [], [], ""
    for _ in range(rounds):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - began)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        text = done.stdout + done.stderr
    return {"wall_s": _spread(walls), "cpu_s": _spread(cpus)}, text


def _spread(values: Sequence[float]) -> list[float]:
    """Least, median and most."""
    return [round(each, 2) for each in (min(values), statistics.median(values), max(values))]


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"No {pattern!r} in what was printed:\n{text[-2000:]}")
    return found[1]


def _report(results: dict[str, Any]) -> str:
    if (results["jobs"], results["packs"]) != (results["jobs_told"], results["packs_told"]):
        raise SystemExit(f"The dry runs do not tell the jobs of the list: {results}")
    rows = [
        f"| {name} | {told} | {' / '.join(map(str, results[key]['wall_s']))} "
        f"| {' / '.join(map(str, results[key]['cpu_s']))} |"
        for name, key, told in (
            ("`autoseg benchmark --dry-run`", "autoseg", f"{results['jobs_told']} jobs"),
            ("`snakemake --dry-run`", "snakemake", f"{results['packs_told']} packs of them"),
        )
    ]
    ratio = results["snakemake"]["wall_s"][1] / results["autoseg"]["wall_s"][1]
    return "\n".join(
        [
            "# A dry run of thousands of jobs",
            "",
            f"One list of {results['jobs']} jobs, told by both. Seconds: least / median / most.",
            "",
            "| | tells | wall | CPU |",
            "|---|---|---|---|",
            *rows,
            "",
            f"autoseg is {ratio:.1f} times as fast (target: under {TARGET_S:g} s).",
        ]
    )


if __name__ == "__main__":
    main()
