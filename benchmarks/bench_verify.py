"""autoseg's verification beside nnU-Net's own check, and what it finds in data sets that are sound.

    python benchmarks/bench_verify.py --data FOLDER [--repeats 1] [--sound NAME,NAME]

Time: `autoseg verify --again --workers 1` and nnU-Net's `verify_dataset_integrity` with one process, on the
130 cases of Dataset004_Hippocampus. Each is a process of its own that ends after the check, in turns. CPU
seconds are its own and its children's, imports included. Findings: of every data set in FOLDER that is known
to be sound, of which a careful reader would say nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import machine, write_results

GOAL = 5.0
TIMED = "Dataset004_Hippocampus"
SOUND = (
    TIMED,
    "Dataset018_FetalHead",
    "Dataset021_NucleiColor",
    "Dataset030_MSLesion",
    "Dataset040_CTOrgans",
)
STOCK = (
    "import sys\n"
    "from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity\n"
    "if __name__ == '__main__':\n"
    "    verify_dataset_integrity(sys.argv[1], num_processes=1)\n"
)


def main() -> None:
    options = _options()
    where = machine(packages=("nnunetv2", "SimpleITK"))
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "stock.py"
        program.write_text(STOCK)
        root = options.data / TIMED
        commands = {"autoseg": _ours(root, scratch), "nnU-Net": [sys.executable, str(program), str(root)]}
        costs: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, command in commands.items():
                costs[name].append(_timed(command))
                print(name, costs[name][-1], flush=True)
        findings = {}
        for name in options.sound.split(","):
            findings[name] = _findings(options.data / name, scratch)
            print(name, findings[name], flush=True)
    results = {"costs": costs, "findings": findings}
    write_results("verify", where, results, _text(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sound", default=",".join(SOUND), help="whose findings are listed")
    return parser.parse_args()


def _ours(root: Path, workspace: str) -> list[str]:
    words = ["verify", str(root), "--again", "--workers", "1", "--json", "--workspace", workspace]
    return [sys.executable, "-m", "autoseg", *words]


def _timed(command: list[str]) -> dict[str, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2)}


def _findings(root: Path, workspace: str) -> dict[str, Any]:
    done = subprocess.run(_ours(root, workspace), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return {
        "cases": report["cases"],
        "findings": [f"{each['severity']} {each['code']}: {each['message']}" for each in report["findings"]],
    }


def _text(results: dict[str, Any]) -> str:
    middle = {
        name: {key: statistics.median(cost[key] for cost in costs) for key in costs[0]}
        for name, costs in results["costs"].items()
    }
    ratio = {key: middle["nnU-Net"][key] / middle["autoseg"][key] for key in middle["autoseg"]}
    cases = results["findings"].get(TIMED, {}).get("cases", "all")
    lines = [
        "# Verification beside nnU-Net's own check",
        "",
        f"The {cases} cases of {TIMED}, one process each, imports included; nnU-Net's is",
        "`verify_dataset_integrity`. Medians over the repeats. CPU seconds count, for other work slows the",
        "wall clock.",
        "",
        "| | CPU s | wall s |",
        "|---|---|---|",
        *(f"| {name} | {cost['cpu_s']:.1f} | {cost['wall_s']:.1f} |" for name, cost in middle.items()),
        f"| nnU-Net / autoseg | {ratio['cpu_s']:.1f} | {ratio['wall_s']:.1f} |",
        "",
        f"The goal of {GOAL:g} times in CPU seconds is {'met' if ratio['cpu_s'] >= GOAL else 'missed'}.",
        "",
        "## Findings in sound data sets",
        "",
        "| data set | cases | findings |",
        "|---|---|---|",
    ]
    for name, each in results["findings"].items():
        told = "<br>".join(each["findings"]).replace("|", r"\|") or "none"
        lines.append(f"| {name} | {each['cases']} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
