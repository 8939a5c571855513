"""Is `--memory` kept on a CPU? Every trainer, planned as plan-and-train plans it, for 4, 8 and 16 GB.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_memory_kept.py --workspace DIR [--memory 4 8 16]
        [--datasets NAME ...] [--trainers NAME ...] [--known FILE ...] [--limit 900]

A few real steps of each plan in a process of its own, all cases in memory (see bench_memory.py); kept is what
peaks below the memory that was asked for. What comes close to it takes more steps, since gaps in the heap may
still add some after the first two. Where more memory leads to the same patch and batch as less, the training
is not measured twice; nor is what `--known` files hold (earlier files of this benchmark: another estimate may
lead to the same patch and batch). Rows are written when they are measured, and those of the results file are
not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench_memory
from _machine import RESULTS, machine, write_results

NAME = "memory_kept"
# Measured above this share of what was asked, a training takes so many steps.
CLOSE, LONG = 0.9, 10
MEASURE = Path(bench_memory.__file__)
Row = dict[str, Any]


def main() -> None:
    from autoseg import plugins

    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--memory", type=float, nargs="+", default=[4.0, 8.0, 16.0], help="GB")
    parser.add_argument("--datasets", nargs="+", default=list(bench_memory.DATASETS))
    parser.add_argument("--trainers", nargs="+", default=list(plugins.available("trainers")))
    parser.add_argument("--known", type=Path, nargs="+", default=[], help="earlier rows, JSON")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a row may take")
    options = parser.parse_args()
    path = RESULTS / f"{NAME}.json"
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    known = [row for file in options.known for row in json.loads(file.read_text(encoding="utf-8"))["results"]]
    there = {(row["dataset"], row["trainer"], row["asked_gb"]) for row in rows}
    for dataset in options.datasets:
        prepared = bench_memory.prepare(dataset, options.workspace)
        # Small targets first: what they lead to is quick, and often what larger ones lead to.
        for memory in sorted(options.memory):
            for trainer in options.trainers:
                if (dataset, trainer, memory) not in there:
                    rows.append(_row(prepared, trainer, memory, [*rows, *known], options))
                    print(json.dumps(rows[-1]), flush=True)
                    write_results(NAME, where, rows, _report(rows))
    print(_report(rows))


def _row(prepared: Any, trainer: str, memory_gb: float, earlier: Sequence[Row], options: Any) -> Row:
    from autoseg.errors import PlanError

    dataset, _, _, home = prepared
    row: Row = {"dataset": dataset.name, "trainer": trainer, "asked_gb": memory_gb}
    try:
        plan = _planned(prepared, trainer, memory_gb)
    except PlanError as problem:
        return {**row, "note": str(problem)}
    (configuration,) = plan.configurations.values()
    (fit,) = (each for each in plan.decisions if each.name.endswith("memory_fit"))
    row |= {"configuration": configuration.name, "patch": list(configuration.patch_size)}
    row |= {"batch": configuration.batch_size, "predicted_gb": fit.inputs["footprint_gb"]["total"]}
    path = home / f"kept_{trainer}.json"
    plan.save(path)
    command = [sys.executable, str(MEASURE), "--one", str(path), configuration.name, trainer]
    command.append(str(options.workspace))
    try:
        found = _before(row, earlier) or _measured(command, bench_memory.STEPS, options.limit)
        close = found["measured_gb"] > CLOSE * memory_gb
        if close and found["steps"] < LONG:
            found = _measured(command, LONG, options.limit)
    except subprocess.TimeoutExpired:
        return {**row, "note": f"its steps took more than {options.limit:g} s"}
    except subprocess.CalledProcessError as problem:
        return {**row, "note": (problem.stderr.strip().splitlines() or ["killed"])[-1][:300]}
    return {**row, **found}


def _before(row: Row, earlier: Sequence[Row]) -> Row | None:
    """The longest of earlier measurements of the same training."""
    same = ("dataset", "trainer", "configuration", "patch", "batch")
    found = [
        other for other in earlier if "measured_gb" in other and all(other[key] == row[key] for key in same)
    ]
    if not found:
        return None
    longest = max(found, key=lambda other: other.get("steps", bench_memory.STEPS))
    at = longest.get("measured_at_gb", longest["asked_gb"])
    steps = longest.get("steps", bench_memory.STEPS)
    return {"measured_gb": longest["measured_gb"], "steps": steps, "measured_at_gb": at}


def _measured(command: Sequence[str], steps: int, limit_s: float) -> Row:
    done = subprocess.run(
        [*command, "--steps", str(steps)], capture_output=True, text=True, timeout=limit_s, check=True
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    peak = round(found["peaks"]["trained"] / 1e9, 3)
    return {"measured_gb": peak, "steps": steps, "seconds": found["seconds"]}


def _planned(prepared: Any, trainer: str, memory_gb: float) -> Any:
    """The plan that plan-and-train would train with, its data preprocessed."""
    import torch

    from autoseg.choice import Choice, Request
    from autoseg.preprocess import preprocess_dataset
    from autoseg.tailor import tailor

    dataset, fingerprint, _, home = prepared
    plan = tailor(dataset, fingerprint, Choice(trainer), Request(torch.device("cpu"), memory_gb=memory_gb))
    (configuration,) = plan.configurations.values()
    preprocess_dataset(dataset, plan, configuration, home / configuration.data_identifier, 2)
    return plan


def _report(rows: Sequence[Row]) -> str:
    measured = [row for row in rows if "measured_gb" in row]
    kept = [row for row in measured if row["measured_gb"] <= row["asked_gb"]]
    close = [row for row in measured if abs(_error(row)) <= bench_memory.WITHIN]
    lines = [
        "# Memory asked for, on a CPU",
        "",
        "Peak resident set of a process that takes real steps (2, or 10 where those come within "
        f"{1 - CLOSE:.0%} of what was asked) with every case in memory, planned as",
        f"plan-and-train plans. Kept: {len(kept)} of {len(measured)}. Predicted within "
        f"{bench_memory.WITHIN:.0%}: {len(close)} of {len(measured)}.",
        "",
        "| data set | trainer | asked | configuration | patch | batch | predicted | measured | error | |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(_line, measured),
        "",
        *(
            f"- {row['dataset']}, {row['trainer']}, {row['asked_gb']:g} GB: {row['note']}"
            for row in rows
            if "note" in row
        ),
    ]
    return "\n".join(lines)


def _error(row: Row) -> float:
    return float(row["predicted_gb"] / row["measured_gb"] - 1)


def _line(row: Row) -> str:
    told = "kept" if row["measured_gb"] <= row["asked_gb"] else "EXCEEDED"
    return (
        f"| {row['dataset']} | {row['trainer']} | {row['asked_gb']:g} GB | {row['configuration']} "
        f"| {'x'.join(map(str, row['patch']))} | {row['batch']} | {row['predicted_gb']:.2f} "
        f"| {row['measured_gb']:.2f} | {_error(row):+.0%} | {told} |"
    )


if __name__ == "__main__":
    main()
