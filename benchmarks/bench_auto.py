"""`--trainers auto` against every single trainer with the whole time, and against an earlier version.

    python benchmarks/bench_auto.py --data FOLDER --workspace PLACE [--only Hearts] [--minutes 6]
        [--singles nnunet,resnet34_mlp] [--before TREE] [--busy 2] [--shared]

Everything computes in float32 on one core, where a processor could do better as well, so that it is the same
everywhere. What is in the results file already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _hearts import NAME as HEARTS
from _hearts import write_hearts
from _machine import RESULTS, commit, machine, write_results

from autoseg.leaderboard.records.files import Record, load_records
from autoseg.planner.plan import Plan

DATASETS = (HEARTS, "Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset021_NucleiColor")
# A command line that computes in float32 alone.
FLOAT32 = (
    "import autoseg.system.device as d; d._computes_in_bfloat16 = lambda: False; "
    "from autoseg.cli.app import main; main()"
)
IN_3D = " in 3D"
MEAN_GOAL, WORST_GOAL, KEPT, LONG = 0.01, 0.03, 0.05, 18
Row = dict[str, Any]


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--singles", default="nnunet,resnet34_mlp")
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--busy", type=int, default=0, help="busy processes beside")
    parser.add_argument("--shared", action="store_true", help="other programs come and go on this core")
    parser.add_argument("--report", action="store_true", help="run nothing")
    options = parser.parse_args()
    where, rows = machine(), _known()
    if options.report:  # where it was measured, not where it is written
        where = json.loads((RESULTS / "auto.json").read_text(encoding="utf-8"))["machine"]
        for row in rows.values():
            place = _place(row["dataset"], row["minutes"], row["who"], row["busy"], options.workspace)
            row["trained"] = _trained(place) if place.is_dir() else row["trained"]
    for name in DATASETS:
        if not any(part in name for part in options.only) or options.report:
            continue
        source = write_hearts(options.workspace / "raw") if name == HEARTS else options.data / name
        for who in ("auto", "auto before", *filter(None, options.singles.split(","))):
            key = f"{name} {options.minutes:g} min {who}{_condition(options.busy, options.shared)}"
            if key in rows or (who == "auto before" and options.before is None):
                continue
            rows[key] = _row(source, who, options)
            write_results("auto", where, rows, _report(rows))
    if rows:
        write_results("auto", where, rows, _report(rows))
    print(_report(rows))


def _condition(busy: int, shared: bool) -> str:
    """What else the core had to do."""
    return (f", {busy} busy beside" if busy else "") + (", shared core" if shared else "")


def _known() -> dict[str, Row]:
    path = RESULTS / "auto.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))["results"]) if path.is_file() else {}


def _row(source: Path, who: str, options: argparse.Namespace) -> Row:
    tree = options.before if who == "auto before" else Path(__file__).resolve().parents[1]
    place = _place(source.name, options.minutes, who, options.busy, options.workspace)
    trainers = who.split()[0]
    command = (
        f"plan-and-train {source} --trainers {trainers} --folds 0 --budget {options.minutes:g}m --device cpu"
    )
    length = ["--budget", f"{options.minutes:g}m"]
    if who.endswith(IN_3D):
        length += ["--configuration", "3d_fullres"]
    core = str(min(os.sched_getaffinity(0)))
    burners = [
        subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", "while True: pass"])
        for _ in range(options.busy)
    ]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(tree),
        # The machine is measured anew, and knows nothing of trainings before.
        "XDG_CACHE_HOME": str(place / "cache"),
    }
    began = time.monotonic()
    try:
        subprocess.run(
            [sys.executable, "-c", FLOAT32, *command.split(), *length, "--workspace", str(place)],
            check=True,
            cwd=tree,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    finally:
        for each in burners:
            each.kill()
    return {
        "dataset": source.name,
        "minutes": options.minutes,
        "who": who,
        "busy": options.busy,
        "shared": options.shared,
        "command_s": round(time.monotonic() - began, 1),
        "commit": commit() if who != "auto before" else _commit_of(tree),
        "trained": _trained(place),
    }


def _place(dataset: str, minutes: float, who: str, busy: int, workspace: Path) -> Path:
    """Where a command works."""
    return workspace / f"{dataset}_{minutes:g}_{who.replace(' ', '_')}_{busy}"


def _commit_of(tree: Path) -> str:
    command = ["git", "-C", str(tree), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _trained(place: Path) -> list[Row]:
    """What was trained, the best by its held-out cases first."""
    found = []
    for record in load_records(place / "results"):
        if record.status not in ("ok", "partial"):
            found.append({"trainer": record.trainer, "status": record.status, "dice": None})
            continue
        path = place / "preprocessed" / record.dataset / f"{record.plan}.json"
        plan = Plan.load(path) if path.is_file() else None
        budget = next((each for each in plan.decisions if each.name == "budget"), None) if plan else None
        found.append(
            {
                "trainer": record.trainer,
                "status": record.status,
                "dice": float(np.mean(record.scores.case_scores("dice"))),
                "configuration": record.configuration,
                "steps": record.cost.training_steps,
                "predicted_steps": None if budget is None else budget.inputs["predicted_steps"],
                "share": None if budget is None else budget.inputs.get("machine_share"),
                "computed_step_s": None if budget is None else _corrected(budget.inputs),
                "made_computed_step_s": _cost_of(record).get("computed_step_s"),
                "budget_s": record.cost.budget_s,
                "train_s": record.cost.train_s,
                "changes": list(record.changes),
            }
        )
    return sorted(found, key=lambda each: -(each["dice"] if each["dice"] is not None else -1.0))


def _corrected(inputs: Mapping[str, Any]) -> float | None:
    """Seconds of computing of a step, as predicted."""
    found = inputs.get("computed_step_s")
    return None if found is None else found * inputs["correction"]


def _cost_of(record: Record) -> dict[str, Any]:
    """What a run's training cost, beside what its record says."""
    path = None if record.source is None else record.source.with_name("cost.json")
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path and path.is_file() else {}


def _best(row: Row) -> float | None:
    return row["trained"][0]["dice"] if row["trained"] else None


def _report(rows: dict[str, Row]) -> str:
    lines = [
        "# What auto chooses, against a single trainer with the whole time",
        "",
        "Fold 0, one seed, one core, float32. The Dice of a command is that of its best row; the regret of",
        "auto is what it is below the best single trainer that was tried with the whole time (which auto",
        "itself is, where it gives all of the time to one). A shared core: other programs came and went",
        "beside. Rows are of several days and processors, so that only rows of one commit compare.",
        "Commands of auto that divided 18 minutes did so by a rule that is gone (the documentation's page on",
        "budgets): it gives all of them to nnunet now.",
        "",
        "| data set | budget | who | Dice | trained: steps (predicted) | runs took | command took | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.values():
        best = _best(row)
        busy = _condition(row["busy"], row["shared"])
        trained = "; ".join(
            f"{each['trainer']} {each['configuration']} {each['steps']} ({each['predicted_steps']})"
            if each["dice"] is not None
            else f"{each['trainer']} {each['status']}"
            for each in row["trained"]
        )
        took = sum(each.get("train_s") or 0.0 for each in row["trained"])
        lines.append(
            f"| {row['dataset']} | {row['minutes']:g} min | {row['who']}{busy} | "
            f"{'-' if best is None else f'{best:.3f}'} | {trained} | {took:.0f} s "
            f"({took / 60 / row['minutes'] - 1:+.1%}) | {row['command_s']:.0f} s | `{row['commit']}` |"
        )
    return "\n".join([*lines, "", *_verdicts(rows)])


def _shares(rows: list[Row]) -> str:
    """The share of the core that each plan of now found."""
    found = [each.get("share") for row in rows for each in row["trained"]]
    return ", ".join(f"{share:.2f}" for share in found if share is not None)


def _computed(rows: list[Row]) -> list[float]:
    """Predicted over made seconds of computing of a step, less 1."""
    pairs = [
        (each.get("computed_step_s"), each.get("made_computed_step_s"))
        for row in rows
        for each in row["trained"]
    ]
    return [predicted / made - 1 for predicted, made in pairs if predicted and made]


def _percent(values: list[float]) -> str:
    return ", ".join(f"{each:+.0%}" for each in values)


def _predictions(rows: list[Row], where: str) -> list[str]:
    """How far the steps that were predicted are from those that were made."""
    now = [row for row in rows if row["who"] != "auto before"]
    off = [
        each["predicted_steps"] / each["steps"] - 1
        for row in now
        for each in row["trained"]
        if each.get("steps") and each.get("predicted_steps")
    ]
    if not off:
        return []
    return [
        "",
        f"Predicted steps against steps made, {where}, each training: {_percent(off)} (goal: within 15 %). "
        f"The plans found these shares of the core free: {_shares(now)}. Seconds of computing of a step, "
        f"which load does not change, against those made: {_percent(_computed(now))}.",
    ]


def _verdicts(rows: dict[str, Row]) -> list[str]:
    lines, regrets = [], []
    alone = [row for row in rows.values() if not row["busy"]]
    for place in dict.fromkeys((row["dataset"], row["minutes"], row["shared"]) for row in alone):
        name, minutes, shared = place
        mine = [row for row in alone if (row["dataset"], row["minutes"], row["shared"]) == place]
        here = {row["who"]: _best(row) for row in mine}
        singles = {who: dice for who, dice in here.items() if who not in ("auto", "auto before") and dice}
        auto = next((row for row in mine if row["who"] == "auto"), None)
        if auto is None or here["auto"] is None:
            continue
        if len(auto["trained"]) == 1:
            singles[auto["trained"][0]["trainer"]] = here["auto"]
        if not singles:
            continue
        best = max(singles, key=lambda who: singles[who])
        regrets.append(singles[best] - here["auto"])
        before = here.get("auto before")
        gained = "" if before is None else f"; {here['auto'] - before:+.3f} against before ({before:.3f})"
        lines.append(
            f"- {name}, {minutes:g} min{_condition(0, shared)}: auto {here['auto']:.3f}, best single trainer "
            f"{best} {singles[best]:.3f}, regret {regrets[-1]:.3f}{gained}. "
            f"Tried alone: {', '.join(singles)}."
        )
    if regrets:
        lines += [
            "",
            f"Regret in the mean {np.mean(regrets):.3f} (goal {MEAN_GOAL}), at worst {max(regrets):.3f} "
            f"(goal {WORST_GOAL}), of {len(regrets)} comparisons. It is a lower bound: only the trainers "
            "that are named were tried alone, and where auto gave all of its time to the best of them it is "
            "0.",
        ]
    lines += _predictions([row for row in rows.values() if not row["shared"]], "on a core of its own")
    lines += _predictions([row for row in rows.values() if row["shared"]], "on a core that others use")
    missing = [name for name in DATASETS if not any(row["dataset"] == name for row in rows.values())]
    missing += [
        f"{name} before"
        for name in DATASETS
        if name not in missing
        and not any((row["dataset"], row["who"]) == (name, "auto before") for row in rows.values())
    ]
    if not any(row["minutes"] == LONG for row in rows.values()):
        missing.append(f"{LONG} minutes")
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return [*lines, "", _kept(rows)]


def _kept(rows: dict[str, Row]) -> str:
    """How many commands of now kept their budget, of the runs' own time."""
    off = {
        key: sum(each.get("train_s") or 0.0 for each in row["trained"]) / 60 / row["minutes"] - 1
        for key, row in rows.items()
        if row["who"] != "auto before" and row["trained"]
    }
    beyond = [f"{key} by {value:+.1%}" for key, value in off.items() if abs(value) > KEPT]
    words = f" Not: {'; '.join(beyond)}." if beyond else ""
    return f"Budgets kept within {KEPT:.0%}, now: {len(off) - len(beyond)} of {len(off)}.{words}"


if __name__ == "__main__":
    main()
