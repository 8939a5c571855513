"""What helps a short training: one change at a time, at equal steps, on several data sets.

    OMP_NUM_THREADS=1 python benchmarks/bench_short_runs.py --data FOLDER --workspace FOLDER
        [--ideas today cosine] [--only Hippocampus] [--steps 1000] [--seeds 0] [--fold 0]

Lengths are in steps, so that a busy machine changes nothing. Each training scores its last weights and three
averages of its weights. Fold 0 is for development: what is chosen here is reported on others. What stands in
the results file is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from _machine import RESULTS, commit, machine, write_results
from _short_report import report
from _short_runs import IDEAS, LOOKS, SHAPES, Bench, measure

NAME = "short_runs"


def main() -> None:
    """Train what is missing and write the table."""
    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AUTOSEG_TEST_DATA", ".")))
    parser.add_argument("--workspace", type=Path, default=Path("short_runs_workspace"))
    parser.add_argument("--ideas", nargs="*", default=list(IDEAS), choices=list(IDEAS))
    # Of Nuclei eight cases are held out, which tell little apart.
    usual = ["Hippocampus", "FetalHead", "Hearts"]
    parser.add_argument("--only", nargs="*", default=usual, help="parts of the data sets' names")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no training after so many")
    parser.add_argument("--report", action="store_true", help="train nothing")
    options = parser.parse_args()
    sets = [name for name in SHAPES if any(part in name for part in options.only)]
    benches: dict[str, Bench] = {}
    began = time.monotonic()
    for idea in options.ideas if not options.report else ():
        for name in sets:
            for seed in options.seeds:
                key = f"{name} | {idea} | {options.steps} steps | fold {options.fold} | seed {seed}"
                if key in _known() or time.monotonic() - began > 60 * options.minutes:
                    continue
                if name not in benches:
                    benches[name] = Bench.of(name, options.data.absolute(), options.workspace.absolute())
                bench = benches[name]
                looks = LOOKS if idea == "today" and seed == 0 else 0
                found = measure(bench, IDEAS[idea], options.steps, seed, options.fold, looks)
                groups = bench.prepared.dataset.groups
                found["groups"] = [groups[case] for case in found["cases"]] if groups else None
                about = {"dataset": name, "idea": idea, "steps": options.steps, "fold": options.fold}
                row = {**about, "seed": seed, "shape": bench.shape, "commit": commit(), **found}
                rows = {**_known(), key: row}  # another process may have added some
                write_results(NAME, where, rows, report(rows))
                means = {kind: round(sum(dice) / len(dice), 4) for kind, dice in found["dice"].items()}
                print(key, means, f"{found['step_cpu_s']:.3f} s a step", found["curve"] or "", flush=True)
    rows = _known()
    if options.report:  # where it was measured, not where it is written
        where = json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8"))["machine"]
    if rows:
        write_results(NAME, where, rows, report(rows))


def _known() -> dict[str, Any]:
    path = RESULTS / f"{NAME}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["results"]) if path.is_file() else {}


if __name__ == "__main__":
    main()
