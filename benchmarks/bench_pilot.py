"""What a pilot finds where the rules leave 2D or 3D open, beside what longer trainings of the same data gave.

    python benchmarks/bench_pilot.py --workspace FOLDER [--only Narrow,Thick]

The race is the walk's own (autoseg.pipeline.pilot), on thick slices, narrow ones with the pilot of a walk of
40 minutes and wide ones with that of two hours: nnunet in both dimensions on the last fold, in two trainings
each. Not on fold 0, which the longer trainings of pilot_walk.md and dimension_fresh.md were compared on. Rows
of other data sets stay in the results file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from _ambiguous import NARROW, write_ambiguous, write_narrow
from _machine import RESULTS, machine, write_results

from autoseg.pipeline.pilot import PARTS, pilot_fold, race_dimensions
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import dimension_of
from autoseg.workspace import Workspace

# Seed of each, and seconds of a pilot for each dimension.
PHANTOMS = {NARROW: 5, "Dataset911_Thick": 23}
SECONDS = {NARROW: 120.0, "Dataset911_Thick": 360.0}
BOTH = ("2d", "3d_fullres")


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--only", default="Narrow,Thick", help="parts of the data sets' names, with commas")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = options.workspace.absolute()
    narrow, wide = PHANTOMS
    folders = {
        narrow: write_narrow(place / f"phantoms_{PHANTOMS[narrow]}", PHANTOMS[narrow]),
        wide: place / f"phantoms_{PHANTOMS[wide]}" / wide,
    }
    write_ambiguous(folders[wide].parent, seed=PHANTOMS[wide])
    path = RESULTS / "pilot.json"
    found = json.loads(path.read_text(encoding="utf-8"))["results"] if path.is_file() else []
    for name, folder in folders.items():
        if any(part in name for part in options.only.split(",")):
            row = _one(folder, place, options.device)
            found = [*(each for each in found if each["dataset"] != name), row]
            write_results("pilot", where, found, _report(found))


def _one(folder: Path, place: Path, device: str) -> dict[str, Any]:
    workspace = Workspace.locate(place)
    prepared = prepare(folder, workspace, Settings(device=device))
    seconds = SECONDS[folder.name]
    # Of a walk whose pilot takes a tenth, this is what is left.
    request = Request(torch.device(device), run_s=18 * seconds)
    rules = dimension_of(prepared.plan, prepared.fingerprint, request)
    fold = pilot_fold(prepared.folds, prepared.folds[:1])
    lengths = [part * seconds for part in PARTS]
    decision = race_dimensions(prepared, rules, rules.contenders, fold, request, lengths, workspace)
    return {
        "dataset": folder.name,
        "phantoms": PHANTOMS[folder.name],
        "seconds_each": lengths,
        "seconds_after": request.run_s,
        "rules": rules.value,
        "confidence": rules.confidence,
        "fold": fold.index,
        "held_out": len(fold.validation),
        "dice": decision.inputs["pilot_dice"],
        "p": decision.inputs["p"],
        "lead_at_the_end": decision.inputs["lead_at_the_end"],
        "decided": decision.value,
        "rule": decision.rule,
    }


def _report(found: list[dict[str, Any]]) -> str:
    lines = [
        "# A pilot where the rules leave 2D or 3D open",
        "",
        "nnunet in both dimensions on the fold that is named, in two trainings each; p of Wilcoxon's",
        "signed-rank test over the held-out cases of the longer; the lead of what the rules did not choose,",
        "as its trend continues to the end of the time. Last: Dice of 3D less that of 2D on fold 0 after so",
        "many minutes (dimension_fresh.md, pilot_walk.md).",
        "",
        "| data set | the rules | fold (cases) | s | pilot Dice 2D | 3D | p | lead at the end | decided "
        "| trained longer |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        dice = " | ".join(", ".join(f"{each:.3f}" for each in row["dice"][name]) for name in BOTH)
        told = ", ".join(f"{each:g}" for each in row["seconds_each"])
        end = f"{row['lead_at_the_end']:+.3f} ({row['seconds_after'] / 60:g} min)"
        lines.append(
            f"| {row['dataset']} | {row['rules']} ({row['confidence']}) | {row['fold']} ({row['held_out']}) "
            f"| {told} | {dice} | {row['p']:.3f} | {end} | {row['decided']} | {_longer(row)} |"
        )
    return "\n".join([*lines, "", *(f"- {row['dataset']}: {row['rule']}." for row in found)])


def _longer(row: dict[str, Any]) -> str:
    known = [
        each
        for name in ("dimension", "dimension_fresh", "pilot_walk")
        for each in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]
        if each.get("dataset", NARROW) == row["dataset"]
        and each.get("phantoms") == row["phantoms"]
        and each.get("fold", 0) == 0
    ]
    # Of a walk with a pilot, the training's own time.
    told = sorted(
        (float(each.get("run_budget_s", 60 * each["minutes"])), each["difference"]) for each in known
    )
    return ", ".join(f"{seconds / 60:g} min {difference:+.3f}" for seconds, difference in told)


if __name__ == "__main__":
    main()
