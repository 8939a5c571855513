"""CPU minutes from the raw folder to a Dice: autoseg, stock nnU-Net's training, and a plain loop.

    OMP_NUM_THREADS=1 python benchmarks/bench_time_to_dice.py --data FOLDER --workspace FOLDER --plain LOOP.py

Each way gets one budget after the other, each from the raw folder on, in processes of their own; the
processor time of all of them counts, verification and prediction of fold 0 too. A level is reached where the
mean Dice of the held-out cases, over structures, is at least as high; between two budgets there is no
interpolation. The plain loop is a file that takes DATASET DIMENSION MINUTES OUTPUT split=SPLITS and writes
predictions of the held-out cases. Run again, what is measured stays.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from _machine import machine, write_results
from _processes import Cost, measure

NAME = "time_to_dice"
LEVELS = {"Dataset004_Hippocampus": (0.80, 0.85, 0.87), "Dataset018_FetalHead": (0.95,)}
DIMENSION = {"Dataset004_Hippocampus": 3, "Dataset018_FetalHead": 2}
WALKS = {"autoseg": "auto", "autoseg, nnunet": "nnunet", "stock nnU-Net": "nnunet:stock=true"}
PLAIN = "plain loop"


def main() -> None:
    """Measure what is not measured yet, and write."""
    where = machine(packages=("torch", "nnunetv2"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", default="time_to_dice_workspace", help="run again, it goes on there")
    parser.add_argument("--datasets", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 2, 4, 8, 16], help="budgets")
    parser.add_argument("--ways", nargs="+", default=[*WALKS, PLAIN], choices=[*WALKS, PLAIN])
    parser.add_argument("--plain", type=Path, help="the file of the plain loop; without it, it is left out")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    place = Path(options.workspace).absolute()
    rows = []
    for dataset in options.datasets:
        for way in options.ways:
            if way == PLAIN and options.plain is None:
                continue
            for minutes in sorted(options.minutes):
                row = measured(Path(options.data) / dataset, way, minutes, place, options.plain)
                rows.append(row)
                print(json.dumps(row), flush=True)
                if row["dice"] >= max(LEVELS[dataset]):
                    break  # a longer one shows nothing more
    if options.results:
        write_results(NAME, where, rows, report(rows))


def measured(raw: Path, way: str, minutes: float, place: Path, plain: Path | None) -> dict[str, Any]:
    """One way with one budget: CPU minutes from the raw folder, and the Dice of fold 0."""
    folder = place / raw.name / way.replace(", ", "_").replace(" ", "_") / f"{minutes:g}"
    kept = folder / "measured.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    folder.mkdir(parents=True, exist_ok=True)
    if way == PLAIN:
        assert plain is not None
        cost, dice = plain_loop(raw, minutes, folder, plain)
    else:
        cost, dice = walk(raw, WALKS[way], minutes, folder)
    row = {
        "dataset": raw.name,
        "way": way,
        "budget_minutes": minutes,
        "cpu_minutes": round(cost.cpu_s / 60, 3),
        "wall_minutes": round(cost.wall_s / 60, 3),
        "dice": round(dice, 4),
    }
    kept.write_text(json.dumps(row))
    return row


def walk(raw: Path, trainers: str, minutes: float, folder: Path) -> tuple[Cost, float]:
    """The whole command, from nothing."""
    command = [sys.executable, "-m", "autoseg", "plan-and-train", str(raw), "--trainers", trainers]
    command += ["--folds", "0", "--budget", f"{60 * minutes:g}s", "--device", "cpu", "--workers", "1"]
    cost = measure([*command, "--workspace", str(folder)], {}, folder / "log.txt")
    records = [json.loads(path.read_text()) for path in folder.glob("results/*/*/fold_0/record.jsonl")]
    return cost, max(record["quality"]["dice"]["value"] for record in records if record["quality"])


def plain_loop(raw: Path, minutes: float, folder: Path, program: Path) -> tuple[Cost, float]:
    """The plain loop on the same split; what autoseg does to make that split is not counted."""
    from autoseg.data.dataset import load_dataset
    from autoseg.data.folds import folds_to_json, make_folds
    from autoseg.evaluation.scoring import evaluate
    from autoseg.leaderboard.records.scores import ScoreTable

    dataset = load_dataset(raw)
    folds = make_folds(dataset)
    splits, out = folder / "splits.json", folder / "predictions"
    splits.write_text(json.dumps(folds_to_json(folds)))
    command = [sys.executable, str(program), str(raw), str(DIMENSION[raw.name]), f"{minutes:g}", str(out)]
    size = ["resize=192x256"] if DIMENSION[raw.name] == 2 else []
    cost = measure([*command, f"split={splits}", *size], {}, folder / "log.txt")
    evaluation = evaluate(out, dataset, cases=folds[0].validation, metrics=("dice",), workers=1)
    table = ScoreTable.from_evaluation(evaluation, dataset.groups)
    return cost, float(table.case_scores("dice").mean())


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# CPU minutes from the raw folder to a Dice",
        "",
        "The least processor time of all budgets that were tried with which the mean Dice of fold 0 is at",
        "least the level; of whole commands, from the raw folder to scores (the plain loop: to predictions).",
    ]
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        levels = LEVELS[dataset]
        of = [row for row in rows if row["dataset"] == dataset]
        lines += ["", f"## {dataset}", "", f"| way | {' | '.join(f'{level:.2f}' for level in levels)} |"]
        lines += [f"|---|{'---|' * len(levels)}"]
        for way in dict.fromkeys(row["way"] for row in of):
            mine = [row for row in of if row["way"] == way]
            lines.append(f"| {way} | {' | '.join(reached(mine, level) for level in levels)} |")
        lines += ["", "| way | budget, min | CPU min | wall, min | Dice |", "|---|---|---|---|---|"]
        lines += [
            f"| {row['way']} | {row['budget_minutes']:g} | {row['cpu_minutes']:.1f} "
            f"| {row['wall_minutes']:.1f} | {row['dice']:.3f} |"
            for row in of
        ]
    return "\n".join(lines)


def reached(rows: list[dict[str, Any]], level: float) -> str:
    """The least CPU minutes that reach a level, or how far the longest came."""
    there = [row["cpu_minutes"] for row in rows if row["dice"] >= level]
    if there:
        return f"{min(there):.1f}"
    return f"not in {max(row['cpu_minutes'] for row in rows):.1f} ({max(row['dice'] for row in rows):.3f})"


if __name__ == "__main__":
    main()
