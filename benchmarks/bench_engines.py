"""One suite through several engines: how long each takes, and whether they end with the same scores.

    python benchmarks/bench_engines.py --data FOLDER [--engines serial,local] [--steps 200] [--suite smoke]

Each engine gets a workspace of its own and starts from nothing, as `autoseg benchmark` is typed. The suite
has a budget in steps, so that under one seed all scores of all cases have to be equal, to the last digit.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import machine, write_results

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.standings import records
from autoseg.benchmark.suite.suite import find_suite, load_suite


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "snakemake"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--suite", default="smoke", help="a file, or the name of one that ships")
    parser.add_argument("--engines", default="serial,local", help="with commas; the first is the standard")
    parser.add_argument("--jobs", default="2", help="at once, for all engines but serial")
    parser.add_argument("--steps", help="of each run, instead of the suite's")
    parser.add_argument("--workspace", help="one folder per engine is made in it; a temporary one by default")
    parser.add_argument("--engine-options", default="", help="of Snakemake")
    options = parser.parse_args()
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_engines_")).absolute()
    suite = _suite(options.suite, options.steps, place)
    results = [_run(engine, suite, options, place / engine) for engine in options.engines.split(",")]
    text = _report(results)
    print(text)
    for result in results:
        del result["scores"]
    write_results("engines", where, results, text)


def _suite(name: str, steps: str | None, place: Path) -> Path:
    text = find_suite(name).read_text(encoding="utf-8")
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{Path(name).stem}.yaml"
    path.write_text(re.sub(r"steps: \d+", f"steps: {steps}", text) if steps else text, encoding="utf-8")
    return path


def _run(engine: str, suite: Path, options: Any, workspace: Path) -> dict[str, Any]:
    """One engine, from raw data to the leaderboard's page."""
    datasets = [entry.dataset for entry in load_suite(suite).datasets]
    paths = [Path(options.data) / name for name in datasets if (Path(options.data) / name).is_dir()]
    given = [part for path in paths for part in ("--dataset", str(path))]
    command = [sys.executable, "-m", "autoseg", "benchmark", str(suite), *given, "--engine", engine]
    more = ["--jobs", options.jobs, f"--engine-options={options.engine_options}"]
    began = time.monotonic()
    subprocess.run([*command, *more, "--workspace", str(workspace)], check=True)
    seconds = time.monotonic() - began
    board = Board(Graph.load(workspace / "results" / "benchmarks" / suite.stem / "jobs.json"))
    scores = {(r.dataset, r.trainer, str(r.options), r.fold): r.scores for r in records(board)}
    rows = {
        " ".join(map(str, (r.dataset, r.trainer, f"fold {r.fold}"))): r.quality["dice"].value
        for r in records(board)
        if "dice" in r.quality
    }
    return {
        "engine": engine,
        "jobs_at_once": 1 if engine == "serial" else int(options.jobs),
        "wall_s": round(seconds, 1),
        "page": board.page.is_file(),
        "dice": rows,
        "scores": scores,
    }


def _report(results: list[dict[str, Any]]) -> str:
    first = results[0]
    lines = ["# One suite through several engines", ""]
    lines += ["From raw data to the leaderboard's page, each in a workspace of its own; one seed.", ""]
    lines += ["| engine | at once | wall | runs with scores | page | equal to the first engine's |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for result in results:
        same = sum(result["scores"].get(key) == value for key, value in first["scores"].items())
        result["equal_runs"] = same
        lines.append(
            f"| {result['engine']} | {result['jobs_at_once']} | {result['wall_s'] / 60:.1f} min "
            f"| {len(result['dice'])} | {'yes' if result['page'] else 'no'} "
            f"| {same} of {len(first['scores'])} |"
        )
    lines += ["", "| run | Dice |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {value:.4f} |" for name, value in first["dice"].items())])


if __name__ == "__main__":
    main()
