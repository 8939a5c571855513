"""Which prediction to distrust: coverage of intervals, order of cases, shifts, and planted label errors.

    python benchmarks/bench_trust.py --data DATA --workspace WORKSPACE

needs all folds of one model of each data set in the workspace, with evidence (`autoseg plan-and-train`, or
`autoseg quality`). A data set without one is named in the results as not run; what a small one is too few for
is said in words. Held-out cases are predicted again once, under shifts too, and stored in the workspace's
folder ``trust_cache``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results
from _trust_cases import Source, gathered
from _trust_cost import cost_of
from _trust_coverage import by_splits, without_features
from _trust_labels import label_errors
from _trust_order import order_of
from _trust_shifts import under_shifts
from _trust_sizes import found_by_size
from _trust_tables import text_of

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_images
from autoseg.pipeline.quality import as_walked, training_profiles
from autoseg.trust.conformal import groups_needed
from autoseg.trust.fit import fit_quality
from autoseg.trust.held_out import EVALUATION, HeldOut, held_out_of
from autoseg.workspace import Workspace

# With whose images as another organ.
SETS = {
    "Dataset004_Hippocampus": "Dataset040_CTOrgans",
    "Dataset018_FetalHead": "Dataset021_NucleiColor",
    "Dataset021_NucleiColor": "Dataset018_FetalHead",
    "Dataset030_MSLesion": "Dataset040_CTOrgans",
}
SHIFTED = 40
# With fewer cases a tenth of them is no two, and with fewer groups half of them give no interval.
FEWEST_CASES, FEWEST_GROUPS = 20, 2 * groups_needed()


def main() -> None:
    """Measure all and write results/trust.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets and msd_reference")
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    where = machine("cpu", ("scipy", "cleanlab", "torch"))
    workspace = Workspace.locate(options.workspace)
    found: dict[str, Any] = {"sets": {}, "left_out": {}}
    for name, other in SETS.items():
        models = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_0/{EVALUATION}")}
        if len(models) != 1:
            found["left_out"][name] = f"Not run: the workspace holds {len(models)} models of it, not one."
            continue
        found["sets"][name] = _of_set(
            models.pop(), name, options.data / other, workspace, options.workspace / "trust_cache"
        )
        print(name, "done", flush=True)
    found["without_features"] = without_features(options.data / "msd_reference")
    write_results("trust", where, found, text_of(found))


def _of_set(model: Path, name: str, other: Path, workspace: Workspace, cache: Path) -> dict[str, Any]:
    dataset = as_walked(name, workspace)
    profiles = training_profiles(dataset, workspace, 1)
    folds = sorted(path.parent for path in model.glob(f"fold_*/{EVALUATION}"))
    by_fold: list[list[HeldOut]] = [held_out_of(fold, dataset, profiles, 1) for fold in folds]
    strange = load_dataset(other)
    images = tuple(read_images(case.images, strange.reader) for case in strange.cases[:36])
    source = Source(dataset, model, workspace, images, SHIFTED)
    cases = gathered(source, cache)
    fit_quality(model, dataset, profiles, 1)
    held_out = [each for fold in by_fold for each in fold]
    structures = list(dataset.labels.structures)
    groups = len({each.group for each in held_out})
    enough = len(held_out) >= FEWEST_CASES
    return {
        "cases": len(held_out),
        "groups": groups,
        "folds": len(folds),
        "dice": float(np.mean([each.dice for each in held_out])),
        "coverage": by_splits(held_out, structures) if groups >= FEWEST_GROUPS else None,
        "order": order_of(held_out, structures, cases) if enough else None,
        "shifts": under_shifts(by_fold, dataset, profiles, cases) if enough else None,
        "labels": label_errors(held_out, dataset, cases) if enough else None,
        "sizes": found_by_size(held_out, dataset, model) if enough else None,
        "cost": cost_of(dataset, model),
    }


if __name__ == "__main__":
    main()
