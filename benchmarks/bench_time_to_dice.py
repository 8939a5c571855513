"""CPU minutes from the raw folder to a Dice: autoseg, an earlier autoseg, stock nnU-Net, and a plain loop.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/bench_time_to_dice.py --data FOLDER --workspace FOLDER \\
        --plain LOOP.py --before COMMIT

Each way gets one budget after the other, each from the raw folder on, in a process of its own. The budgets
are minutes of processor time, for every way: its clock is replaced by the processor time of its process
(`_cpu_clock.py`), so that a busy machine changes nothing. What counts is the processor time of the whole
command: verification, planning, prediction and scoring of fold 0 too (the plain loop: up to its predictions).
A level is reached where the mean Dice of the held-out cases, over structures, is at least as high; between
two budgets there is no interpolation. The ladder of budgets stands in `LADDER`: from the shortest on, up to
the first that reaches the highest level; stock nnU-Net, which reaches nothing in minutes, gets the longest
alone. The plain loop is a file that takes DATASET DIMENSION MINUTES OUTPUT split=SPLITS and writes the
predictions of the held-out cases. Run again, what is measured stays; ``--write`` writes the page of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

from _machine import HERE, RESULTS, commit, machine, write_results
from _processes import Cost, measure

NAME = "time_to_dice"
LEVELS = {"Dataset004_Hippocampus": (0.80, 0.85, 0.87), "Dataset018_FetalHead": (0.95,)}
LADDER = {"Dataset004_Hippocampus": (0.5, 1.0, 2.0, 4.0), "Dataset018_FetalHead": (0.5, 1.0, 2.0, 4.0)}
DIMENSION = {"Dataset004_Hippocampus": 3, "Dataset018_FetalHead": 2}
NOW, BEFORE, STOCK, PLAIN = "autoseg", "autoseg before", "stock nnU-Net", "plain loop"
WALKS = {NOW: "auto", BEFORE: "auto", STOCK: "nnunet:stock=true"}
# The functions of `time` that a budget goes by.
CLOCKS, PLAIN_CLOCK = "monotonic,perf_counter", "time"
# Memory is not what is measured here.
LOOK_S = 30.0
# No processes of their own, whose time the clock would not see.
IN_PROCESS = {"nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1"}


def main() -> None:
    """Measure what is not measured yet, and write."""
    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", default="time_to_dice_workspace", help="run again, it goes on there")
    parser.add_argument("--datasets", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--ways", nargs="+", default=[*WALKS, PLAIN], choices=[*WALKS, PLAIN])
    parser.add_argument("--plain", type=Path, help="the file of the plain loop; without it, it is left out")
    parser.add_argument("--before", help="the commit of the earlier autoseg; without it, it is left out")
    parser.add_argument("--write", action="store_true", help="measure nothing, write what is measured")
    options = parser.parse_args()
    place = Path(options.workspace).absolute()
    if not options.write:
        for dataset in options.datasets:
            climb(Path(options.data) / dataset, place, options)
        return
    kept = [json.loads(path.read_text()) for path in place.glob("*/*/*/measured.json")]
    ways = [*WALKS, PLAIN]
    # Ways of other names are those of commits in between, renamed by hand to stay beside the newest.
    place_of = {way: number for number, way in enumerate(ways)}
    rows = sorted(
        kept,
        key=lambda row: (row["dataset"], place_of.get(row["way"], len(ways)), row["budget_minutes"]),
    )
    of = next(row["commit"] for row in rows if row["way"] != BEFORE)
    write_results(NAME, {**where, "commit": of}, rows, report(rows))


def climb(raw: Path, place: Path, options: argparse.Namespace) -> None:
    """One budget after the other; a way that has reached the highest level gets no longer one."""
    given = {PLAIN: options.plain, BEFORE: options.before}
    ways = [way for way in options.ways if given.get(way, True) is not None]
    for minutes in LADDER[raw.name]:
        for way in list(ways):
            if way == STOCK and minutes != LADDER[raw.name][-1]:
                continue
            row = measured(raw, way, minutes, place, options)
            print(json.dumps(row), flush=True)
            if row["dice"] >= max(LEVELS[raw.name]):
                ways.remove(way)


def measured(raw: Path, way: str, minutes: float, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One way with one budget: CPU minutes from the raw folder, and the Dice of fold 0."""
    folder = place / raw.name / way.replace(" ", "_") / f"{minutes:g}"
    kept = folder / "measured.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    shutil.rmtree(folder, ignore_errors=True)  # what was broken off begins anew
    folder.mkdir(parents=True)
    tree = earlier(options.before, place) if way == BEFORE else HERE.parent
    if way == PLAIN:
        cost, dice, facts = plain_loop(raw, minutes, folder, options.plain.resolve())
    else:
        cost, dice, facts = walk(raw, WALKS[way], minutes, folder, tree)
    row = {
        "dataset": raw.name,
        "way": way,
        "commit": options.before if way == BEFORE else commit(),
        "budget_minutes": minutes,
        "cpu_minutes": round(cost.cpu_s / 60, 3),
        "wall_minutes": round(cost.wall_s / 60, 3),
        "dice": round(dice, 4),
        **facts,
    }
    kept.write_text(json.dumps(row))
    return row


def earlier(wanted: str, place: Path) -> Path:
    """A clone of this repository at a commit, installed in an environment that finds today's libraries."""
    clone = place / f"before_{wanted}"
    if not clone.is_dir():
        source = str(HERE.parent)
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", source, str(clone)], check=True)
        subprocess.run(["git", "checkout", "--quiet", wanted], cwd=clone, check=True)
        venv.create(clone / ".venv")
        (own,) = (clone / ".venv").glob("lib/python*/site-packages")
        libraries = [each for each in sys.path if each.endswith("-packages")]
        # After its own entry for autoseg, by the alphabet.
        (own / "zz_libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
        install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(clone)]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(python_of(clone)), *install], check=True)
    return clone


def python_of(tree: Path) -> Path:
    """The interpreter that finds the autoseg of a tree."""
    return Path(sys.executable) if tree == HERE.parent else tree / ".venv" / "bin" / "python"


def by_cpu(clocks: str, *words: str) -> list[str]:
    """A command whose clock is processor time."""
    return [str(HERE / "_cpu_clock.py"), clocks, *words]


def walk(
    raw: Path, trainers: str, minutes: float, folder: Path, tree: Path
) -> tuple[Cost, float, dict[str, Any]]:
    """The whole command of the autoseg in `tree`, from nothing: cost, Dice of its best row, trainings."""
    see_that_it_is(tree)
    command = [str(python_of(tree)), *by_cpu(CLOCKS, "-m", "autoseg", "plan-and-train", str(raw))]
    command += ["--trainers", trainers, "--folds", "0", "--budget", f"{60 * minutes:g}s"]
    command += ["--device", "cpu", "--workers", "1", "--workspace", str(folder / "workspace")]
    # What each keeps of the machine is its own, in a form of its own; the shortest budget pays for it.
    own = {"XDG_CACHE_HOME": str(folder.parent / "cache")}
    cost = measure(command, {**IN_PROCESS, **own}, folder / "log.txt", LOOK_S)
    found = folder.glob("workspace/results/*/*/fold_0/record.jsonl")
    records = [json.loads(path.read_text().splitlines()[-1]) for path in found]
    scored = [record for record in records if record["quality"]]
    best = max(scored, key=lambda record: record["quality"]["dice"]["value"])
    facts = {"trainers": len(records), "steps": best["cost"]["training_steps"]}
    return cost, best["quality"]["dice"]["value"], facts


def see_that_it_is(tree: Path) -> None:
    """End where another autoseg than that of `tree` would run, such as an installed one."""
    asked = [str(python_of(tree)), "-c", "import autoseg; print(autoseg.__file__)"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    found = subprocess.run(asked, env=environment, check=True, capture_output=True, text=True).stdout
    if Path(found.strip()).parents[1] != tree.resolve():
        raise SystemExit(f"{found.strip()} would run, not the autoseg in {tree}")


def plain_loop(raw: Path, minutes: float, folder: Path, program: Path) -> tuple[Cost, float, dict[str, Any]]:
    """The plain loop on the same split; what autoseg does to make that split is not counted."""
    from autoseg.data.dataset import load_dataset
    from autoseg.data.folds import folds_to_json, make_folds
    from autoseg.evaluation.scoring import evaluate
    from autoseg.leaderboard.records.scores import ScoreTable

    dataset = load_dataset(raw)
    folds = make_folds(dataset)
    splits, out = folder / "splits.json", folder / "predictions"
    splits.write_text(json.dumps(folds_to_json(folds)))
    command = [
        sys.executable,
        *by_cpu(PLAIN_CLOCK, str(program), str(raw), str(DIMENSION[raw.name]), f"{minutes:g}", str(out)),
    ]
    size = ["resize=192x256"] if DIMENSION[raw.name] == 2 else []
    cost = measure([*command, f"split={splits}", *size], IN_PROCESS, folder / "log.txt", LOOK_S)
    evaluation = evaluate(out, dataset, cases=folds[0].validation, metrics=("dice",), workers=1)
    table = ScoreTable.from_evaluation(evaluation, dataset.groups)
    steps = json.loads(out.with_name(f"{out.name}.json").read_text())["steps"]
    return cost, float(table.case_scores("dice").mean()), {"trainers": 1, "steps": steps}


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# CPU minutes from the raw folder to a Dice",
        "",
        "The least processor time of all budgets that were tried with which the mean Dice of fold 0 is at",
        "least the level; of whole commands, from the raw folder to scores (the plain loop: to predictions).",
        "One thread, one seed. A budget is a number of CPU minutes for every way. The ladder stood before:",
        "; ".join(
            f"{name.split('_')[1]} {', '.join(f'{each:g}' for each in ladder)} minutes"
            for name, ladder in LADDER.items()
        )
        + ";",
        "up to the first with which the highest level is reached. Stock nnU-Net got the longest alone.",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        levels = LEVELS[dataset]
        of = [row for row in rows if row["dataset"] == dataset]
        lines += ["", f"## {dataset}", "", f"| way | {' | '.join(f'{level:.2f}' for level in levels)} |"]
        lines += [f"|---|{'---|' * len(levels)}"]
        for way in dict.fromkeys(row["way"] for row in of):
            mine = [row for row in of if row["way"] == way]
            lines.append(f"| {way} | {' | '.join(reached(mine, level) for level in levels)} |")
        lines += [
            "",
            "| way | commit | budget | CPU min | wall, min | trainings | steps of the best | Dice |",
        ]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [
            f"| {row['way']} | `{row['commit']}` | {row['budget_minutes']:g} | {row['cpu_minutes']:.1f} "
            f"| {row['wall_minutes']:.1f} | {row['trainers']} | {row['steps']} | {row['dice']:.3f} |"
            for row in of
        ]
    return "\n".join([*lines, "", *not_run(rows), *stock_by_the_clock()])


def not_run(rows: list[dict[str, Any]]) -> list[str]:
    """What the ladder asks for and is not measured."""
    done = {(row["dataset"], row["way"], row["budget_minutes"]): row["dice"] for row in rows}
    missing = []
    for dataset, ladder in LADDER.items():
        for way in (*WALKS, PLAIN):
            dice = [done.get((dataset, way, minutes)) for minutes in ladder]
            top = max((each for each in dice if each is not None), default=0.0)
            left = [
                f"{minutes:g}"
                for minutes, each in zip(ladder, dice, strict=True)
                if each is None and not (way == STOCK and minutes != ladder[-1])
            ]
            if left and top < max(LEVELS[dataset]):
                missing.append(f"- {dataset}, {way}: {', '.join(left)} minutes")
    return ["Not run:", "", *missing] if missing else []


def stock_by_the_clock() -> list[str]:
    """What stock nnU-Net reached in other runs on one core, by wall clock."""
    found = []
    for dataset in LEVELS:
        name = f"budgets_{dataset.split('_')[1].lower()}"
        rows = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"].values()
        stock = [row for row in rows if row["trainer"] == "nnunet:stock=true" and row.get("case_dice")]
        if not stock:
            continue
        longest = max(stock, key=lambda row: row["budget_s"])
        cases = [value for value in longest["case_dice"] if value is not None]
        found.append(
            f"- {dataset}: {sum(cases) / len(cases):.3f} after {longest['steps']} steps in "
            f"{longest['wall_clock_s'] / 60:.0f} minutes of a core of its own ({name}.md)"
        )
    return ["", "Stock nnU-Net's longest training of other runs:", "", *found] if found else []


def reached(rows: list[dict[str, Any]], level: float) -> str:
    """The least CPU minutes that reach a level, or how far the longest came."""
    there = [row["cpu_minutes"] for row in rows if row["dice"] >= level]
    if there:
        return f"{min(there):.1f}"
    return f"not in {max(row['cpu_minutes'] for row in rows):.1f} ({max(row['dice'] for row in rows):.3f})"


if __name__ == "__main__":
    main()
