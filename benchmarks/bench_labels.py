"""Planted label errors: how far in front they are ranked, and from what size on they are found.

    python benchmarks/bench_labels.py --data DATA --workspace WORKSPACE

needs all five folds of one model of a data set of `bench_trust` in the workspace, with evidence; what
`bench_trust` stores of each case is made where it is missing. The same tables stand in results/trust.md, with
the intervals and shifts that take longer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _machine import machine, write_results
from _trust_cases import Source, gathered
from _trust_labels import label_errors
from _trust_sizes import found_by_size
from _trust_tables import labels_of, sizes_of
from bench_trust import SETS

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_images
from autoseg.pipeline.quality import as_walked, training_profiles
from autoseg.trust.held_out import EVALUATION, held_out_of
from autoseg.workspace import Workspace


def main() -> None:
    """Measure the data sets that are there and write results/labels.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--workspace", type=Path, required=True)
    options = parser.parse_args()
    where = machine("cpu", ("scipy", "cleanlab", "torch"))
    workspace = Workspace.locate(options.workspace)
    found: dict[str, Any] = {}
    for name, other in SETS.items():
        models = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_4/{EVALUATION}")}
        if len(models) == 1:
            cache = options.workspace / "trust_cache"
            found[name] = _of_set(models.pop(), name, options.data / other, workspace, cache)
            print(name, "done", flush=True)
    write_results("labels", where, found, "\n".join(_text(found)))


def _of_set(model: Path, name: str, other: Path, workspace: Workspace, cache: Path) -> dict[str, Any]:
    dataset = as_walked(name, workspace)
    profiles = training_profiles(dataset, workspace, 1)
    held_out = [
        each for fold in range(5) for each in held_out_of(model / f"fold_{fold}", dataset, profiles, 1)
    ]
    strange = load_dataset(other)
    images = tuple(read_images(case.images, strange.reader) for case in strange.cases[:36])
    cases = gathered(Source(dataset, model, workspace, images, 40), cache)
    return {
        "cases": len(held_out),
        "dice": sum(each.dice for each in held_out) / len(held_out),
        "labels": label_errors(held_out, dataset, cases),
        "sizes": found_by_size(held_out, dataset, model),
    }


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "# Planted label errors"
    for name, each in found.items():
        yield f"\n## {name}\n\n{each['cases']} cases, held-out Dice {each['dice']:.3f}.\n"
        yield from labels_of(each)
        yield ""
        yield from sizes_of(each)


if __name__ == "__main__":
    main()
