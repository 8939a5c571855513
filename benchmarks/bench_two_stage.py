"""Two stages against one: BrainUNet trained on one half of a data set, then on a few cases of the other.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/bench_two_stage.py --data FOLDER --workspace FOLDER

A seed divides the cases into the halves A and B, and sets cases of B apart that are only ever scored. The
first stage trains with labels on all of A. Then, for every number of cases and every seed, two runs train on
the same cases of B (a seed's subsets lie within each other), for the same wall clock, prediction of the
held-out cases included:

- *fine-tuned*: weights and plan of the first stage, at the lower learning rate (`init`, `plan_from=init`);
- *from scratch*: random weights, the same plan (`plan_from`), at the trainer's own rate.

What is fair here: network, patch, batch, spacing, normalisation, loss, augmentation, cases and seconds are
equal, so the first weights and the rate that goes with them are all that differs. A plan of its own would be
made from the very same kind of images, so the arm from scratch loses nothing by the moved one. The time of
the first stage comes on top for the fine-tuned arm: it is what such a model costs once, for all later uses.
Both halves are of one source and have the same labels, which is the best case of a transfer; how the first
stage does on the held-out cases as it came, without any case of B, stands beside the curve as its reference.

What is done is not repeated: a run with a record is skipped, an interrupted one goes on.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _few_cases import Floats, interval, picture, summarise, table
from _halves import HALVES, make_halves
from _machine import RESULTS, machine, write_results

from autoseg.data.dataset import Dataset
from autoseg.evaluation.scoring import Evaluation, evaluate
from autoseg.inference.ensemble import load_ensemble
from autoseg.inference.predict import predict_cases
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.pipeline.trial import Trial, members_of, run_trial
from autoseg.preprocessing.dataset import link_references
from autoseg.system.files import read_json, write_text
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.workspace import Workspace

ARMS = ("fine-tuned", "from scratch")
NAME = "two_stage"


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "SimpleITK"))
    options = _options()
    workspace = Workspace.locate(options.workspace)
    first, second = make_halves(
        Path(options.data) / options.dataset, workspace, options.held_out, options.split_seed
    )
    model = _first_stage(workspace, options)
    runs = _second_stage(model, workspace, options)
    unchanged = _unchanged(model, second, workspace, options)
    result = _result(runs, unchanged, first, model, options)
    text = _report(result, options)
    print(text)
    if options.results:
        write_text(RESULTS / f"{NAME}.svg", picture(result["rows"], ARMS, unchanged))
        write_results(NAME, where, result, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--dataset", default="Dataset004_Hippocampus")
    parser.add_argument("--workspace", default="two_stage_workspace", help="run again, it goes on there")
    parser.add_argument("--trainer", default="brainunet")
    parser.add_argument("--network", default="", help="options of the first stage's network: width=16")
    parser.add_argument("--first-minutes", type=float, default=8.0, help="of the first stage")
    parser.add_argument("--minutes", type=float, default=2.0, help="of each run of the second")
    parser.add_argument("--sizes", default="5,10,20", help="numbers of training cases")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--held-out", type=int, default=25, help="cases of half B that are scored")
    parser.add_argument("--split-seed", type=int, default=0, help="of the halves")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    return parser.parse_args()


def _first_stage(workspace: Workspace, options: argparse.Namespace) -> Path:
    """The folder of the model that is trained on all of half A."""
    settings = Settings(total_s=options.first_minutes * 60, device=options.device, workers=1)
    trainer = ":".join(filter(None, [options.trainer, options.network]))
    return train_one(HALVES[0], trainer, "all", workspace, settings).run.model_folder


def _rows(model: Path, trainer: str, size: int) -> dict[str, Choice]:
    """The two arms as a user would type them."""
    return {
        "fine-tuned": Choice.parse(f"{trainer}:init={model}:plan_from=init:cases={size}"),
        "from scratch": Choice.parse(f"{trainer}:plan_from={model}:cases={size}"),
    }


def _second_stage(model: Path, workspace: Workspace, options: argparse.Namespace) -> list[dict[str, Any]]:
    settings = Settings(device=options.device, workers=1)
    ready = prepare(workspace.find_raw(HALVES[1]), workspace, settings)
    link_references(ready.dataset, workspace.references_of(HALVES[1]))
    found = []
    for seed, size in itertools.product(_numbers(options.seeds), _numbers(options.sizes)):
        for arm, choice in _rows(model, options.trainer, size).items():
            request = Request(torch.device(options.device), run_s=options.minutes * 60, seed=seed)
            trial = Trial(ready.dataset, ready.fingerprint, ready.folds, choice, ready.folds[0], request)
            began = time.monotonic()
            record = run_trial(trial, workspace, workers=1)
            if record.status in ("failed", "impossible"):
                raise SystemExit(f"{choice}: {record.reason}")
            run = members_of(trial, workspace)[0].run
            values = Evaluation.load(run.evaluation).values("dice")
            found.append(
                {
                    "arm": arm,
                    "cases": size,
                    "seed": seed,
                    "status": record.status,
                    "steps": record.cost.training_steps,
                    "seconds": record.cost.train_s,
                    "changes": list(record.changes),
                    "dice": {case: values[case] for case in sorted(values)},
                    "initialised_from": _without_place(read_json(run.cost)["initialised_from"]),
                    "code_version": record.code_version,
                }
            )
            print(f"{arm}, {size} cases, seed {seed}: Dice {np.mean(list(values.values())):.3f}", flush=True)
            print(f"  {record.cost.training_steps} steps, {time.monotonic() - began:.0f} s here", flush=True)
    return found


def _without_place(source: dict[str, Any]) -> dict[str, Any]:
    """What was loaded; of the checkpoint's path the model's folder and what is below it."""
    return {**source, "source": "/".join(Path(source["source"]).parts[-3:])}


def _unchanged(
    model: Path, second: Dataset, workspace: Workspace, options: argparse.Namespace
) -> dict[str, Any]:
    """The first stage on the held-out cases of half B as it came; not mirrored, as short runs are not."""
    (fold,) = read_json(workspace.folds_of(HALVES[1]))
    cases = [case for case in second.cases if case.identifier in fold["val"]]
    output = model / "held_out_of_half_b"
    predict_cases(load_ensemble([model], torch.device(options.device), False, 0.5), cases, output)
    values = evaluate(output, second, cases=fold["val"], workers=1).values("dice")
    scores = np.array([[values[case] for case in sorted(values)]])
    return {"mean": float(scores.mean()), "interval": interval(scores), "dice": dict(sorted(values.items()))}


def _result(
    runs: list[dict[str, Any]],
    unchanged: dict[str, Any],
    first: Dataset,
    model: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    cost = read_json(model / "fold_all" / "cost.json")
    asked = ("dataset", "trainer", "network", "first_minutes", "minutes", "held_out", "split_seed")
    return {
        **{key: getattr(options, key) for key in asked},
        "first_stage": {
            "cases": len(first.cases),
            **{key: cost[key] for key in ("steps", "train_s", "parameters", "peak_memory_mb", "device")},
        },
        "unchanged": unchanged,
        "rows": summarise(_scores(runs), ARMS),
        "runs": runs,
    }


def _scores(runs: list[dict[str, Any]]) -> dict[int, dict[str, Floats]]:
    """By number of cases and arm, (seeds, cases)."""
    found: dict[int, dict[str, list[list[float]]]] = {}
    for run in sorted(runs, key=lambda each: each["seed"]):
        found.setdefault(run["cases"], {}).setdefault(run["arm"], []).append(list(run["dice"].values()))
    return {size: {arm: np.array(values) for arm, values in arms.items()} for size, arms in found.items()}


def _report(result: dict[str, Any], options: argparse.Namespace) -> str:
    stage, unchanged = result["first_stage"], result["unchanged"]
    steps = {arm: [run["steps"] for run in result["runs"] if run["arm"] == arm] for arm in ARMS}
    counted = ", ".join(f"{arm} {min(n)} to {max(n)}" for arm, n in steps.items())
    low, high = unchanged["interval"]
    changes = {arm: next(run["changes"] for run in result["runs"] if run["arm"] == arm) for arm in ARMS}
    lines = [
        f"# Two stages against one: {options.trainer} on {options.dataset}",
        "",
        f"First stage: {stage['cases']} cases of half A with labels, {stage['train_s']:.0f} s, "
        f"{stage['steps']} steps, {stage['parameters'] / 1e6:.1f} M parameters. Second stage: "
        f"{60 * options.minutes:.0f} s a run, prediction included, on cases of half B; {options.held_out} "
        f"others of half B are scored and seen by no training. Steps: {counted}.",
        "",
        "Dice is the mean over held-out cases of the mean over structures; 95 % intervals by drawing cases",
        "and seeds again; differences are paired by case and seed, tested over cases (Wilcoxon, Holm).",
        "",
        table(result["rows"], ARMS),
        "",
        f"The first stage as it came, without a case of half B: {unchanged['mean']:.3f} "
        f"[{low:.3f}, {high:.3f}].",
        "",
        f"![Dice against the number of cases]({NAME}.svg)",
        "",
        "Both arms have the same network, patch, batch, spacing and normalisation (the plan of the first",
        "stage) and the same time. What their rows say:",
        "",
        *(f"- {arm}: {'; '.join(changes[arm])}" for arm in ARMS),
    ]
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
