"""What a pilot finds where the rules leave 2D or 3D open, beside what longer trainings of the same data gave.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_pilot.py --workspace FOLDER [--seconds 360] [--phantoms 23]
        [--only Thick,MSLesion]

The race is the walk's own (autoseg.pilot): nnunet in both dimensions on the last fold, so many seconds each
in two trainings, whether or not the walk would think them enough; not on fold 0, which the longer trainings
of dimension.md and dimension_fresh.md were compared on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from _ambiguous import write_ambiguous
from _machine import RESULTS, machine, write_results

from autoseg.choice import Request
from autoseg.pilot import PARTS, pilot_fold, race_dimensions
from autoseg.prepare import Settings, prepare
from autoseg.tailor import dimension_of
from autoseg.workspace import Workspace

REAL = ("Dataset030_MSLesion",)
BOTH = ("2d", "3d_fullres")


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "numpy", "SimpleITK"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=360.0, help="of each dimension")
    parser.add_argument("--phantoms", type=int, default=23, help="seed of the phantoms")
    parser.add_argument("--only", default="Thick,MSLesion", help="parts of the data sets' names, with commas")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    place = options.workspace.absolute()
    folders = write_ambiguous(place / f"phantoms_{options.phantoms}", seed=options.phantoms)
    folders += [Path(options.data) / name for name in REAL]
    found = []
    for folder in folders:
        if any(part in folder.name for part in options.only.split(",")):
            found.append(_one(folder, place, options))
            write_results("pilot", where, found, _report(found, options.seconds))


def _one(folder: Path, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    workspace = Workspace.locate(place)
    prepared = prepare(folder, workspace, Settings(device=options.device))
    # Of a walk whose pilot takes a tenth, this is what is left.
    request = Request(torch.device(options.device), run_seconds=18 * options.seconds)
    rules = dimension_of(prepared.plan, prepared.fingerprint, request)
    fold = pilot_fold(prepared.folds, prepared.folds[:1])
    lengths = [part * options.seconds for part in PARTS]
    decision = race_dimensions(prepared, rules, rules.contenders, fold, request, lengths, workspace)
    return {
        "dataset": folder.name,
        "phantoms": None if folder.name in REAL else options.phantoms,
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


def _report(found: list[dict[str, Any]], seconds: float) -> str:
    told = [f"{part * seconds:g}" for part in PARTS]
    lines = [
        "# A pilot where the rules leave 2D or 3D open",
        "",
        f"nnunet in both dimensions on the fold that is named, {' and '.join(told)} s each; p of Wilcoxon's",
        "signed-rank test over its held-out cases; the lead of what the rules did not choose, as it is after",
        f"{18 * seconds:.0f} s by its trend. Last: Dice of 3D less that of 2D on fold 0 after as many minutes",
        "(dimension.md, dimension_fresh.md).",
        "",
        "| data set | the rules | fold (cases) | pilot Dice 2D | 3D | p | lead at the end | decided "
        "| trained longer |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        dice = " | ".join(", ".join(f"{each:.3f}" for each in row["dice"][name]) for name in BOTH)
        lines.append(
            f"| {row['dataset']} | {row['rules']} ({row['confidence']}) | {row['fold']} ({row['held_out']}) "
            f"| {dice} | {row['p']:.3f} | {row['lead_at_the_end']:+.3f} | {row['decided']} | {_longer(row)} |"
        )
    return "\n".join([*lines, "", *(f"- {row['dataset']}: {row['rule']}." for row in found)])


def _longer(row: dict[str, Any]) -> str:
    known = [
        each
        for name in ("dimension", "dimension_fresh")
        for each in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]
        if each["dataset"] == row["dataset"]
        and each.get("phantoms") == row["phantoms"]
        and each.get("fold", 0) == 0
    ]
    known.sort(key=lambda each: float(each["minutes"]))
    return ", ".join(f"{each['minutes']:g} min {each['difference']:+.3f}" for each in known)


if __name__ == "__main__":
    main()
