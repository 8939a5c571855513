"""Planning again from a fingerprint: seconds for each preset and for the decisions, without torch.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_planner.py

Published fingerprints of five data sets; the target is 0.3 s for each plan.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from _machine import machine, write_results

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import PRESETS, plan_experiment
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import choose_dimension
from autoseg.planner.explain.explain import explain, to_markdown
from autoseg.planner.networks import Hardware
from autoseg.planner.situation import Situation
from autoseg.planner.suitability import suitable_trainers

ROUNDS = 5
TARGET_S = 0.3


def seconds(work: Any) -> float:
    """Median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def decide(about: dict[str, Any], found: Fingerprint) -> None:
    """A plan, the dimension, the trainers, and all of it explained."""
    plan, hardware = plan_experiment(about, found), Hardware("cpu", 1.6e11)
    data = DataFacts.of(plan, found)
    choice = choose_dimension(plan, data, hardware, 1800.0)
    trainers = suitable_trainers(Situation(data, choice, plan, hardware, 1800.0))
    to_markdown(plan, explain(plan, (choice.decision, trainers.decision)))


def main() -> None:
    """Measure and write the table."""
    where = machine()
    root = os.environ.get("AUTOSEG_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    rows = []
    for folder in sorted(path for path in (Path(root) / "msd_reference").glob("*") if path.is_dir()):
        found = Fingerprint.load(folder / "dataset_fingerprint.json")
        about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        row: dict[str, Any] = {"task": folder.name}
        for preset in PRESETS:
            row[preset] = round(seconds(lambda p=preset, a=about, f=found: plan_experiment(a, f, p)), 4)
        row["decisions"] = round(seconds(lambda a=about, f=found: decide(a, f)), 4)
        rows.append(row)
    if "torch" in sys.modules:
        raise SystemExit("Planning imported torch.")
    columns = list(rows[0])
    worst = max(value for row in rows for key, value in row.items() if key != "task")
    text = [
        "# Planning again from a fingerprint",
        "",
        f"Seconds, median of {ROUNDS}; `decisions`: nnU-Net's plan, the dimension, the trainers and the "
        f"explanation as a page. torch is not imported. The longest took {worst:.3f} s (target {TARGET_S}).",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(str(row[key]) for key in columns)} |" for row in rows),
    ]
    write_results("planner", where, rows, "\n".join(text))


if __name__ == "__main__":
    main()
