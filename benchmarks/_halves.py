"""One data set as two: halves that share no case, each a raw data set whose cases are read in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Case, Dataset, load_dataset
from autoseg.data.folds import Fold, folds_to_json
from autoseg.system.files import write_json
from autoseg.workspace import Workspace

HALVES = ("Dataset901_HalfA", "Dataset902_HalfB")


def make_halves(root: Path, workspace: Workspace, held_out: int, seed: int) -> tuple[Dataset, Dataset]:
    """Divide a data set's cases at random, and set cases of the second half apart for scoring.

    Nothing is copied: each half's dataset.json lists the paths. The second half gets a single fold, which
    trains on what is not held out.

    Args:
        root: the raw data set.
        workspace: where the two go.
        held_out: cases of the second half that no training sees.
        seed: fixes the division.
    """
    whole = load_dataset(root)
    order = np.random.default_rng(seed).permutation(len(whole.cases)).tolist()
    middle = len(order) // 2
    parts = (order[:middle], order[middle:])
    found = []
    for name, part in zip(HALVES, parts, strict=True):
        _write(workspace.raw / name, whole, [whole.cases[index] for index in sorted(part)])
        found.append(load_dataset(workspace.raw / name))
    scored = sorted(whole.cases[index].identifier for index in parts[1][:held_out])
    training = tuple(case.identifier for case in found[1].cases if case.identifier not in scored)
    write_json(workspace.folds_of(HALVES[1]), folds_to_json([Fold(0, training, tuple(scored))]))
    return found[0], found[1]


def _write(folder: Path, whole: Dataset, cases: Sequence[Case]) -> None:
    document = {key: value for key, value in whole.dataset_json.items() if key != "dataset"}
    listed = {
        case.identifier: {"images": [str(path) for path in case.images], "label": str(case.label)}
        for case in cases
    }
    write_json(
        folder / "dataset.json",
        {**document, "name": folder.name, "numTraining": len(cases), "dataset": listed},
    )
