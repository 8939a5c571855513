"""The race against the full matrix, both really run: the same winner, and at which part of the compute?

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/bench_race.py --workspace FOLDER [--data FOLDER]

On each data set and for each seed, every trainer has its full time (the matrix), and then all of them race
with the same plans. Compute is the wall clock of training and prediction, all rungs of the race included.
Whether two trainers are tied is decided by the matrix: the paired test does not tell them apart there.
Run again with the same workspace, it goes on where it stopped. Beside the thrifty race stands what its cap
would have made of it: trainers learn alone, so a race that stops more of them saw the same of the others.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _machine import machine, write_results
from _race_rules import CAPPED, RULES, replayed

from autoseg.data.dataset import load_dataset
from autoseg.data.folds import folds_to_json, make_folds
from autoseg.leaderboard.ranking.ranking import Leaderboard
from autoseg.leaderboard.records.files import Record
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trial import Trial
from autoseg.pipeline.walk import plan_and_train
from autoseg.racing.cases import groups_of
from autoseg.racing.race import Race, Rules
from autoseg.racing.state import rung_to_json
from autoseg.racing.walk import race_trials
from autoseg.system.files import write_json
from autoseg.workspace import Workspace

# Data sets with the number of folds that the cases are divided into; the first fold is trained. Of five
# folds of 36 cases each has seven, and with seven cases no difference between six trainers, however large,
# reaches p < 0.05 after Holm.
DATASETS = {"Dataset004_Hippocampus": 5, "Dataset018_FetalHead": 5, "Dataset021_NucleiColor": 2}
TRAINERS = (
    "nnunet",
    "resnet34_mlp",
    "mobilenetv2_unet",
    "resnet50_unet",
    "unet",
    "unetplusplus",
    "deeplabv3plus",
)
# Starting, preparing and scoring a run, beside its time.
AROUND_A_RUN_S = 12.0


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "SimpleITK", "segmentation-models-pytorch"))
    options = _options()
    trainers, seeds = options.trainers.split(","), [int(seed) for seed in options.seeds.split(",")]
    names = [name for name in DATASETS if any(part in name for part in options.only.split(","))]
    runs = len(names) * len(trainers) * len(seeds)
    estimate = runs * ((1.4 if options.rules == "thrifty" else 1.7) * options.seconds + 2 * AROUND_A_RUN_S)
    print(
        f"{runs} runs of {options.seconds:g} s and {len(names) * len(seeds)} races: about "
        f"{estimate / 60:.0f} minutes from scratch.",
        flush=True,
    )
    walks = []
    for seed in seeds:
        for name in names:
            walks.append(_walk(name, seed, trainers, options))
            print(_line(walks[-1], options.rules), flush=True)
            text = _report(walks, options)
            write_results(options.name, where, {"walks": walks}, text)
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", required=True, help="what is there already is not done again")
    parser.add_argument("--seconds", type=float, default=120.0, help="full time of a run")
    parser.add_argument("--seeds", default="0,1,2", help="with commas")
    parser.add_argument("--only", default=",".join(DATASETS), help="data sets, with commas")
    parser.add_argument("--trainers", default=",".join(TRAINERS), help="with commas")
    parser.add_argument("--rules", choices=list(RULES), default="thrifty", help="of the race")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--name", default="race", help="of the files in benchmarks/results")
    return parser.parse_args()


def _walk(name: str, seed: int, trainers: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    root, workspace = Path(options.data) / name, Workspace.locate(Path(options.workspace))
    divide(root, DATASETS[name], workspace)
    settings = Settings(
        trainers=tuple(trainers),
        folds=(0,),
        total_s=options.seconds * len(trainers),
        device=options.device,
        seed=seed,
    )
    matrix = plan_and_train(root, workspace, settings)
    rules = RULES[options.rules]
    races: dict[str, Race] = {}

    def raced(trials: Sequence[Trial], place: Workspace, workers: int | None) -> Sequence[Record]:
        found = race_trials(trials, place, rules, workers)
        races[options.rules] = found.race
        if options.rules == "thrifty":
            try:
                races["capped"] = replayed(found.race, CAPPED, options.seconds, groups_of(trials[:1]))
            except SystemExit as unseen:
                print(f"{name}, seed {seed}, capped: {unseen}", flush=True)
        return found.records

    plan_and_train(root, workspace, settings, raced)
    return {
        **_matrix(name, seed, matrix.records, matrix.leaderboard),
        "races": {rules: _raced(race, matrix.records, matrix.leaderboard) for rules, race in races.items()},
    }


def divide(root: Path, folds: int, workspace: Workspace) -> None:
    """Write the folds, unless they are there."""
    dataset = load_dataset(root)
    path = workspace.folds_of(dataset.name)
    if not path.is_file():
        write_json(path, folds_to_json(make_folds(dataset, folds)))


def _matrix(dataset: str, seed: int, records: Sequence[Record], matrix: Leaderboard) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "seed": seed,
        "cases": matrix.rows[0].n_cases,
        "commits": sorted({str(record.code_version) for record in records}),
        "matrix": [
            {
                "trainer": row.trainer,
                "status": row.status,
                "dice": row.means.get("dice"),
                "tied_with_best": row.tied_with_best,
                "train_s": row.cost("train_s"),
                "steps": row.cost("training_steps"),
            }
            for row in matrix.rows
        ],
        "winner": matrix.rows[0].trainer,
        "seconds": round(_seconds(records), 1),
    }


def _seconds(records: Sequence[Record]) -> float:
    return sum(record.cost.train_s or 0.0 for record in records)


def _raced(race: Race, records: Sequence[Record], matrix: Leaderboard) -> dict[str, Any]:
    """What a race came to, beside the matrix."""
    best = matrix.rows[0]
    winner = next(row for row in matrix.rows if row.trainer == race.winner)
    return {
        "winner": race.winner,
        "dice": float(race.rungs[-1].seen[race.winner].scores.mean()),
        "same": best.trainer == race.winner,
        "tied": bool(winner.tied_with_best),
        "given_away": best.means["dice"] - winner.means["dice"],
        "seconds": round(race.total, 1),
        "percent": round(100 * race.total / _seconds(records), 1),
        "stopped": {
            name: rung.stretch.until_s
            for rung in race.rungs
            for name, verdict in rung.verdicts.items()
            if verdict.drop
        },
        "rungs": [rung_to_json(rung) for rung in race.rungs],
    }


def _verdict(race: dict[str, Any]) -> str:
    return "the same" if race["same"] else "tied with it" if race["tied"] else "LOST"


def _line(walk: dict[str, Any], rules: str) -> str:
    race = walk["races"][rules]
    stopped = ", ".join(f"{name} at {seconds:.0f} s" for name, seconds in race["stopped"].items())
    return (
        f"| {walk['dataset']} | {walk['seed']} | {walk['cases']} | {walk['winner']} "
        f"{walk['matrix'][0]['dice']:.3f} | {race['winner']} {race['dice']:.3f} "
        f"| {_verdict(race)} | {race['given_away']:.4f} | {walk['seconds']:.0f} s | {race['seconds']:.0f} s "
        f"| {race['percent']:.0f} % | {stopped or 'nobody'} |"
    )


def _report(walks: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        "# The race against the full matrix",
        "",
        f"{len(options.trainers.split(','))} trainers ({options.trainers}), {options.seconds:g} s each, one",
        "fold; freed time is saved. Compute is the wall clock of training and prediction, looks included.",
        "Given away is what the race's winner is behind the matrix's winner, in the matrix.",
        *(line for rules in RULES for line in _table(walks, rules)),
        "",
        "## The matrix",
        "",
        "| data set | seed | Dice, best first; = not told from the best |",
        "|---|---|---|",
        *(f"| {walk['dataset']} | {walk['seed']} | {_field(walk)} |" for walk in walks),
    ]
    return "\n".join(lines)


def _table(walks: Sequence[dict[str, Any]], name: str) -> list[str]:
    walks = [walk for walk in walks if name in walk["races"]]
    if not walks:
        return []
    races, rules = [walk["races"][name] for walk in walks], RULES[name]
    full, raced = sum(walk["seconds"] for walk in walks), sum(race["seconds"] for race in races)
    held = sum(race["same"] or race["tied"] for race in races)
    looks = ", ".join(f"{100 * rung:g}" for rung in rules.rungs)
    return [
        "",
        f"## {name.capitalize()}",
        "",
        f"Looks after {looks} % of the time. Stopped is what the paired test (Wilcoxon, Holm, p < "
        f"{rules.alpha:g}) finds",
        f"behind by more than {rules.margin:g} Dice and what would not catch up at its pace{_more(rules)}.",
        "",
        f"The winner held (the same, or tied with it in the matrix) in {held} of {len(walks)}; compute "
        f"{raced / full:.0%} of the matrix's, at most {max(race['percent'] for race in races):.0f} %.",
        "",
        "| data set | seed | cases | winner of the matrix | winner of the race | | given away | matrix "
        "| race | compute | stopped |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(_line(walk, name) for walk in walks),
    ]


def _more(rules: Rules) -> str:
    if rules.ties != "stop":
        return f"; before the last look nobody below {100 * rules.steep:g} % of the leader's Dice"
    words = f"; at the last look\nalso who is not expected to come out ahead by more than {rules.margin:g}"
    if rules.cap is None:
        return words
    words += f"; of those left, as many go on as there\nis time for within {rules.cap:.0%} of the full times"
    return words + ". Replayed from the looks above; left out where it needs one that was not taken"


def _field(walk: dict[str, Any]) -> str:
    return ", ".join(
        f"{row['trainer']} {row['status'] if row['dice'] is None else format(row['dice'], '.3f')}"
        f"{'=' if row['tied_with_best'] else ''}"
        for row in walk["matrix"]
    )


if __name__ == "__main__":
    main()
