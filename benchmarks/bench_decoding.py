"""Probabilities and decoding: calibration before and after, and the Dice of decoding for the best Dice.

    python benchmarks/bench_decoding.py --workspace WORKSPACE

needs finished folds of one model of a data set of `SETS` in the workspace (`autoseg plan-and-train`).
Held-out cases are predicted twice; the package rankseg, where installed, decodes the same probabilities.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results

from autoseg.data.folds import folds_from_json
from autoseg.decoding.decide import decide_decoding
from autoseg.decoding.expected_dice import segment_for_dice
from autoseg.decoding.rules import BEST_DICE, CALIBRATED
from autoseg.decoding.temperature import AS_THEY_ARE, Calibration, calibrated
from autoseg.pipeline.calibrate import HeldOutProbabilities, Source
from autoseg.pipeline.quality import as_walked
from autoseg.preprocessing.restore import segment_probabilities
from autoseg.system.files import read_json
from autoseg.trust.held_out import EVALUATION
from autoseg.trust.written import dices
from autoseg.workspace import Workspace

SETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset021_NucleiColor", "Dataset030_MSLesion")
WAYS = (
    "likeliest label",
    "likeliest label, calibrated",
    "best Dice",
    "best Dice, calibrated",
    "rankseg",
    "rankseg, calibrated",
)


def main() -> None:
    """Measure what is there and write results/decoding.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    where = machine("cpu", ("scipy", "torch", "rankseg"))
    workspace = Workspace.locate(options.workspace)
    found = {}
    for name in SETS:
        models = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_*/{EVALUATION}")}
        if len(models) == 1:
            found[name] = _of_set(models.pop(), name, workspace)
            print(name, "done", flush=True)
    write_results("decoding", where, found, "\n".join(_text(found)))


def _of_set(model: Path, name: str, workspace: Workspace) -> dict[str, Any]:
    dataset = as_walked(name, workspace)
    source = Source(model, dataset, workspace, "cpu")
    folds = folds_from_json(read_json(workspace.folds_of(name)))
    done = [fold for fold in folds if (model / f"fold_{fold.index}" / EVALUATION).is_file()]
    observed = [source.observed(each) for each in source.each(done, "Probabilities")]
    scores: dict[str, list[float]] = {way: [] for way in WAYS}
    seconds: dict[str, float] = dict.fromkeys(WAYS, 0.0)

    def gains(calibrations: Sequence[Calibration]) -> dict[str, list[float]]:
        known = {each.sample.case: c for each, c in zip(observed, calibrations, strict=True)}
        for each in source.each(done, "Decoding"):
            _score(source, each, known[each.case], scores, seconds)
        ours = {CALIBRATED: "likeliest label, calibrated", BEST_DICE: "best Dice, calibrated"}
        base = scores["likeliest label"]
        return {way: [a - b for a, b in zip(scores[name], base, strict=True)] for way, name in ours.items()}

    decided = decide_decoding(observed, dataset.labels.has_regions, gains)
    return {
        "decoding": decided.to_json(),
        "dice": {way: float(np.mean(values)) for way, values in scores.items() if values},
        "better": _compared(scores),
        "seconds": {way: seconds[way] / len(observed) for way in WAYS if scores[way]},
        "folds": len(done),
    }


def _score(
    source: Source,
    each: HeldOutProbabilities,
    calibration: Calibration,
    scores: dict[str, list[float]],
    seconds: dict[str, float],
) -> None:
    labels, reference = source.dataset.labels, each.reference.array[0]
    plain = calibrated(each.probabilities, AS_THEY_ARE, labels.has_regions)
    given = calibrated(each.probabilities, calibration, labels.has_regions)
    ways = {
        "likeliest label": lambda: segment_probabilities(each.probabilities, labels),
        "likeliest label, calibrated": lambda: segment_probabilities(given, labels),
        "best Dice": lambda: segment_for_dice(plain, labels),
        "best Dice, calibrated": lambda: segment_for_dice(given, labels),
        "rankseg": lambda: _rankseg(plain),
        "rankseg, calibrated": lambda: _rankseg(given),
    }
    for name, way in ways.items():
        began = time.process_time()
        segmentation = way()
        seconds[name] += time.process_time() - began
        if segmentation is not None:
            scores[name].append(float(np.mean(list(dices(segmentation, reference, labels).values()))))


def _rankseg(probabilities: np.ndarray) -> np.ndarray | None:
    """The package's labels of heads that exclude each other; None without the package."""
    try:
        from rankseg import RankSEG
    except ImportError:
        return None
    import torch

    solver = RankSEG(metric="dice", output_mode="multiclass")
    clipped = torch.from_numpy(np.clip(probabilities, 0, 1)[None])
    return np.asarray(solver.predict(clipped)[0].numpy())


def _compared(scores: Mapping[str, Sequence[float]]) -> dict[str, list[int]]:
    """Of each way in how many cases it is better and worse than the likeliest label."""
    base = np.array(scores["likeliest label"])
    return {
        way: [int((np.array(values) > base + 1e-9).sum()), int((np.array(values) < base - 1e-9).sum())]
        for way, values in scores.items()
        if values and way != "likeliest label"
    }


def _text(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "# Calibrated probabilities, and decoding for the best Dice",
        "",
        "Every held-out case is judged by the network of its own fold, and calibrated by what",
        "was fitted without its fold. Errors of calibration are of the structures' probabilities in and near",
        "them (10 mm, or where more than 5 % are thought possible). The documentation explains it on",
        'the page "Probabilities and how they are decided".',
        "",
        "## Calibration",
        "",
        "| data set | cases | temperature | bias | ECE before | after | surprise before | after | p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        about = each["decoding"]["evidence"]
        before, after = about["before"], about["after"]
        lines.append(
            f"| {name} | {about['n_cases']} in {about['n_groups']} groups, {each['folds']} folds | "
            f"{each['decoding']['temperature']:.2f} | "
            f"{', '.join(f'{value:+.2f}' for value in each['decoding']['bias']) or 'none'} | "
            f"{before['expected_error']:.4f} | {after['expected_error']:.4f} | {before['surprise']:.4f} | "
            f"{after['surprise']:.4f} | {about['calibration_p']:.4f} |"
        )
    lines += ["", "## Reliability", "", "Mean probability: share that is of the structure, before and after."]
    for name, each in found.items():
        about = each["decoding"]["evidence"]
        lines += ["", f"### {name}", "", "| before | | after | |", "|---|---|---|---|"]
        rows = [about[key]["diagram"] for key in ("before", "after")]
        for index in range(max(map(len, rows))):
            cells = [
                f"{row[index][0]:.3f} | {row[index][1]:.3f}" if index < len(row) else " | " for row in rows
            ]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Decoding", "", "Mean Dice of held-out cases; cases that are better and worse than with"]
    lines += ["the likeliest label; processor time of deciding a case.", ""]
    lines += ["| data set | way | Dice | better | worse | ms |", "|---|---|---|---|---|---|"]
    for name, each in found.items():
        for way, dice in each["dice"].items():
            better, worse = each["better"].get(way, ("", ""))
            lines.append(
                f"| {name} | {way} | {dice:.4f} | {better} | {worse} | {1000 * each['seconds'][way]:.1f} |"
            )
    lines += ["", "## What was decided", ""]
    for name, each in found.items():
        lines += [f"- {name}: {' '.join(each['decoding']['evidence']['in_words'])}"]
    return lines


if __name__ == "__main__":
    main()
