"""Whether a second network would order cases better: its agreement with the first, as a confidence.

    python benchmarks/bench_second_network.py --one WORKSPACE --other WORKSPACE [--only Hippocampus]

needs all folds of one model of the data set in each workspace, trained alike from different seeds, with
evidence. A network of its own that disagrees is more than any score of a single network can know. Where even
that orders cases no better than the mean entropy of the softmax, what is left of the errors lies in what both
networks share: the image, the training data and the reference.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results
from _trust_order import difference
from scipy.stats import spearmanr

from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_segmentation
from autoseg.pipeline.quality import as_walked, training_profiles
from autoseg.trust.held_out import EVALUATION, HeldOut, held_out_of
from autoseg.trust.measure import cross_fitted
from autoseg.trust.risk import aurc
from autoseg.workspace import Workspace

SETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead", "Dataset021_NucleiColor")
ENTROPY = "mean softmax entropy"


def main() -> None:
    """Compare both and write results/second_network.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    where = machine("cpu", ("scipy",))
    rows = {name: _of_set(name, options) for name in SETS if options.only in name}
    write_results("second_network", where, rows, report(rows))


def _of_set(name: str, options: argparse.Namespace) -> dict[str, Any]:
    dataset, first, one = _held_out(name, options.one)
    _, second, other = _held_out(name, options.other)
    structures = list(dataset.labels.structures)
    estimates = cross_fitted(first, structures)
    dice = np.array([each.dice for each in first])
    by_case = {each.case: each for each in second}
    agreement = [_agreement(dataset, one[each.case], other[each.case]) for each in first]
    scores = {
        "agreement with a second network": np.array(agreement),
        "expected Dice": np.array([np.mean([row[each].dice for each in structures]) for row in estimates]),
        ENTROPY: -np.array([each.entropy for each in first]),
        "nothing": np.zeros(len(first)),
        "the best order": dice,
    }
    groups = [each.group for each in first]
    return {
        "cases": len(first),
        "dice": [float(dice.mean()), float(np.mean([each.dice for each in second]))],
        "alike": float(spearmanr(dice, [by_case[each.case].dice for each in first])[0]),
        "agreement": float(np.mean(agreement)),
        "aurc": {key: aurc(1 - dice, score) for key, score in scores.items()},
        "to_entropy": {
            key: difference(1 - dice, scores[key], scores[ENTROPY], groups) for key in list(scores)[:2]
        },
    }


def _held_out(name: str, place: Path) -> tuple[Dataset, list[HeldOut], dict[str, Path]]:
    """The held-out cases of all folds, and where their segmentations lie."""
    workspace = Workspace.locate(place)
    (model,) = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_0/{EVALUATION}")}
    dataset = as_walked(name, workspace)
    profiles = training_profiles(dataset, workspace, 1)
    folds = sorted(path.parent for path in model.glob(f"fold_*/{EVALUATION}"))
    found = [each for fold in folds for each in held_out_of(fold, dataset, profiles, 1)]
    ending = dataset.file_ending
    files = {path.name.removesuffix(ending): path for path in model.glob(f"fold_*/validation/*{ending}")}
    return dataset, found, files


def _agreement(dataset: Dataset, one: Path, other: Path) -> float:
    """Mean Dice between two segmentations, of the structures that either has."""
    first, second = (read_segmentation(path, dataset.reader).array for path in (one, other))
    found = []
    for values in dataset.labels.structures.values():
        a, b = np.isin(first, values), np.isin(second, values)
        if total := int(a.sum() + b.sum()):
            found.append(2 * int((a & b).sum()) / total)
    return float(np.mean(found)) if found else 1.0


def report(rows: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        "# Whether a second network would order cases better",
        "",
        "Two five-fold models of one data set, trained alike from different seeds. Every held-out case is",
        "predicted by the networks of its fold, which had not seen it. The Dice between the two predictions",
        "is taken as confidence in the first one. AURC: area under the risk-coverage curve, less is better.",
        "Differences to entropy are paired, with a bootstrap over groups.",
    ]
    for name, row in rows.items():
        lines += [
            "",
            f"## {name}",
            "",
            f"{row['cases']} cases. Held-out Dice {row['dice'][0]:.3f} and {row['dice'][1]:.3f}; of one with",
            f"the other {row['agreement']:.3f}. The rank correlation of their Dice over cases is",
            f"{row['alike']:.2f}: 1 where both err on the same cases by the same order.",
            "",
            "| confidence | AURC | less entropy's |",
            "|---|---|---|",
        ]
        for key, area in row["aurc"].items():
            apart = row["to_entropy"].get(key)
            words = "-"
            if apart is not None:
                low, high = apart["interval"]
                words = f"{apart['mean']:+.4f} [{low:+.4f}, {high:+.4f}], p = {apart['p']:.4f}"
            lines.append(f"| {key} | {area:.4f} | {words} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
