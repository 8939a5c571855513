"""One race over several seeds of each trainer against their full matrix, both really run.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/bench_race_seeds.py --workspace FOLDER [--only NAME]

As `bench_race.py`, whose matrix it takes up where that stands in the workspace; but the seeds of a trainer
race together, as they do in a suite with several: a case counts with its mean over the seeds. The race is
capped. Whether two trainers are tied is decided by the matrix, with the same means.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machine import RESULTS, machine, write_results
from _race_rules import SPENT
from bench_race import DATASETS, TRAINERS, divide

from autoseg.leaderboard import statistics
from autoseg.leaderboard.ranking.stability import tied_with_best
from autoseg.leaderboard.records.files import Record
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trial import Trial
from autoseg.pipeline.walk import plan_and_train, run_each
from autoseg.racing.cases import groups_of, pooled
from autoseg.racing.race import Race
from autoseg.racing.state import rung_to_json
from autoseg.racing.walk import race_trials
from autoseg.workspace import Workspace

NAME = "race_seeds"
# Of walks that do not say so: looks, and a cap that was not spent.
EARLIER = (("15%", "35%"), 0.35)


class _Planned(Exception):
    """Ends a walk where its runs are known."""


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "SimpleITK", "segmentation-models-pytorch"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", required=True, help="what is there already is not done again")
    parser.add_argument("--seconds", type=float, default=120.0, help="full time of a run")
    parser.add_argument("--seeds", default="0,1,2", help="with commas")
    parser.add_argument("--only", default=",".join(DATASETS), help="data sets, with commas")
    options = parser.parse_args()
    for name in (name for name in DATASETS if any(part in name for part in options.only.split(","))):
        found = {
            "seeds": options.seeds,
            "looks": [f"{rung:.0%}" for rung in SPENT.rungs],
            "cap": SPENT.cap,
            "rules": f", looks at {SPENT.look_cases} cases, {SPENT.reference} goes to the second one",
            "processor": where["processor"],
            "date": where["date"],
            **_walk(name, options),
        }
        # Another process may be at another data set.
        key = (name, options.seeds)
        walks = [*(each for each in _known() if (each["dataset"], each["seeds"]) != key), found]
        walks.sort(key=lambda each: (_first_seed(each), list(DATASETS).index(each["dataset"])))
        write_results(NAME, where, walks, _report(walks, options))
    print(_report(_known(), options))


def _known() -> list[dict[str, Any]]:
    path = RESULTS / f"{NAME}.json"
    walks: list[dict[str, Any]] = []
    if path.is_file():
        walks = json.loads(path.read_text(encoding="utf-8"))["results"]
    return walks


def _walk(name: str, options: argparse.Namespace) -> dict[str, Any]:
    root, workspace = Path(options.data) / name, Workspace.locate(Path(options.workspace))
    divide(root, DATASETS[name], workspace)
    trials = [
        trial for seed in options.seeds.split(",") for trial in _cells(root, workspace, int(seed), options)
    ]
    records = run_each(trials, workspace, None)
    raced = race_trials(trials, workspace, SPENT)
    return _compared(name, records, raced.race, groups_of(trials))


def _cells(root: Path, workspace: Workspace, seed: int, options: argparse.Namespace) -> list[Trial]:
    """The runs of one seed, as plan-and-train makes them."""
    settings = Settings(
        trainers=TRAINERS,
        folds=(0,),
        total_s=options.seconds * len(TRAINERS),
        device="cpu",
        seed=seed,
    )
    found: list[Trial] = []

    def planned(trials: Sequence[Trial], place: Workspace, workers: int | None) -> Sequence[Record]:
        found.extend(trials)
        raise _Planned

    try:
        plan_and_train(root, workspace, settings, planned)
    except _Planned:
        return found
    raise AssertionError("The walk ended without its runs.")


def _compared(
    dataset: str, records: Sequence[Record], race: Race, groups: Sequence[str] | None
) -> dict[str, Any]:
    scores = np.stack([pooled([r.scores for r in records if r.trainer == name]) for name in TRAINERS])
    weights = statistics.resample(scores.shape[1], groups)
    means = scores.mean(axis=1)
    tied = tied_with_best(-means, statistics.compare_pairs(scores, weights, groups))
    best, winner = int(means.argmax()), TRAINERS.index(race.winner)
    seconds = sum(record.cost.train_s or 0.0 for record in records)
    return {
        "dataset": dataset,
        "cases": int(scores.shape[1]),
        "commits": sorted({str(record.code_version) for record in records}),
        "matrix": [
            {"trainer": name, "dice": float(mean), "tied_with_best": bool(is_tied)}
            for name, mean, is_tied in zip(TRAINERS, means, tied, strict=True)
        ],
        "matrix_winner": TRAINERS[best],
        "race_winner": race.winner,
        "race_dice": float(race.rungs[-1].seen[race.winner].scores.mean()),
        "same": best == winner,
        "tied": bool(tied[winner]),
        "given_away": float(means[best] - means[winner]),
        "matrix_s": round(seconds, 1),
        "race_s": round(race.total, 1),
        "percent": round(100 * race.total / seconds, 1),
        "rungs": [rung_to_json(rung) for rung in race.rungs],
    }


def _report(walks: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    return "\n".join(
        [
            "# One race over three seeds against the full matrix",
            "",
            f"{len(TRAINERS)} trainers x three seeds, {options.seconds:g} s a run, one fold. A case counts",
            "with its mean over the seeds. Compute is the wall clock of training and prediction, looks",
            "included. Given away is what the race's winner is behind the matrix's winner, in the matrix.",
            "",
            *(_sum(rules, walks) for rules in dict.fromkeys(map(_rules, walks))),
            "",
            "| data set | seeds | cases | winner of the matrix | winner of the race | | given away | matrix "
            "| race | compute |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *map(_line, walks),
            "",
            "| data set | seeds | the matrix: Dice, best first; = not told from the best |",
            "|---|---|---|",
            *(f"| {walk['dataset']} | {walk['seeds']} | {_field(walk)} |" for walk in walks),
            "",
            "How, where and when each was made, one core each; rules in `_race_rules.py`, the cap as a part",
            "of the full times of all:",
            "",
            "| data set | seeds | looks | cap | commit | processor | date |",
            "|---|---|---|---|---|---|---|",
            *map(_made, walks),
        ]
    )


def _first_seed(walk: dict[str, Any]) -> int:
    return int(walk["seeds"].split(",")[0])


def _rules(walk: dict[str, Any]) -> str:
    looks, cap = walk.get("looks", EARLIER[0]), walk.get("cap", EARLIER[1])
    return f"Looks after {', '.join(looks)}, cap {cap:.0%}{walk.get('rules', '')}"


def _sum(rules: str, walks: Sequence[dict[str, Any]]) -> str:
    of = [walk for walk in walks if _rules(walk) == rules]
    held = sum(walk["same"] or walk["tied"] for walk in of)
    share = sum(walk["race_s"] for walk in of) / sum(walk["matrix_s"] for walk in of)
    most = max(walk["percent"] for walk in of)
    return (
        f"- {rules}: the winner held (the same, or tied with it in the matrix) in {held} of {len(of)} "
        f"races; compute {share:.0%} of the matrices', at most {most:.0f} %."
    )


def _line(walk: dict[str, Any]) -> str:
    told = "the same" if walk["same"] else "tied with it" if walk["tied"] else "LOST"
    best = max(each["dice"] for each in walk["matrix"])
    return (
        f"| {walk['dataset']} | {walk['seeds']} | {walk['cases']} | {walk['matrix_winner']} {best:.3f} "
        f"| {walk['race_winner']} {walk['race_dice']:.3f} | {told} | {walk['given_away']:.4f} "
        f"| {walk['matrix_s']:.0f} s | {walk['race_s']:.0f} s | {walk['percent']:.0f} % |"
    )


def _made(walk: dict[str, Any]) -> str:
    commits = ", ".join(walk["commits"])
    looks, cap = ", ".join(walk.get("looks", EARLIER[0])), walk.get("cap", EARLIER[1])
    return (
        f"| {walk['dataset']} | {walk['seeds']} | {looks} | {cap:.0%} | {commits} | {walk['processor']} "
        f"| {walk['date']} |"
    )


def _field(walk: dict[str, Any]) -> str:
    ordered = sorted(walk["matrix"], key=lambda each: -each["dice"])
    return ", ".join(
        f"{each['trainer']} {each['dice']:.3f}{'=' if each['tied_with_best'] else ''}" for each in ordered
    )


if __name__ == "__main__":
    main()
