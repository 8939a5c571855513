"""From what size on a planted error is found: outlines moved ever farther, beside the model's own error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _label_errors import dices, eroded_by, shifted_by
from _trust_labels import SEEDS, SHARE, with_reference
from scipy import ndimage

from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_images, read_segmentation
from autoseg.trust.doubt import doubts_of
from autoseg.trust.held_out import PREDICTIONS, HeldOut
from autoseg.trust.outline import outlines_of
from autoseg.trust.risk import auroc
from autoseg.trust.shape import steps_of

VOXELS = (1, 2, 4, 8, 16)
KINDS = {"shifted": shifted_by, "eroded": eroded_by}


def found_by_size(held_out: Sequence[HeldOut], dataset: Dataset, model: Path) -> dict[str, Any]:
    """AUROC of doubt and of the lowest Dice by kind and voxels; and how far outlines are off, in voxels."""
    random = np.random.default_rng(20261129)
    values = list(dataset.labels.structures.values())
    files = {path.name: path for path in model.glob(f"fold_*/{PREDICTIONS}/*")}
    own, planted = [], {}
    for each in held_out:
        case = dataset.case(each.case)
        image, label = read_images(case.images, dataset.reader), _label(case.label, dataset)
        prediction = _label(files[f"{each.case}{dataset.file_ending}"], dataset)
        own.append(_distance(prediction > 0, label > 0))
        for kind, plant in KINDS.items():
            for voxels in (n for n in VOXELS if n <= _most(label)):
                given = plant(label, voxels, random)
                there = {
                    "dice": dices(prediction, given, values),
                    "sizes": [int(np.isin(given, list(v)).sum()) for v in values],
                    "outlines": outlines_of(
                        image.array, given, steps_of(image)[0], dataset.labels.structures
                    ),
                    "moved": _distance(given > 0, label > 0),
                }
                planted.setdefault((kind, voxels), {})[each.case] = there
    whole = [key for key, cases in planted.items() if len(cases) == len(held_out)]
    return {
        "own": float(np.median(own)),
        "rows": [_row(key, planted[key], held_out, dataset) for key in whole],
    }


def _label(path: Path | None, dataset: Dataset) -> np.ndarray:
    assert path is not None
    return read_segmentation(path, dataset.reader).array[0]


def _most(label: np.ndarray) -> int:
    """An error is at most a tenth of the image's shorter side."""
    return max(2, min(length for length in label.shape if length > 1) // 10)


def _distance(one: np.ndarray, two: np.ndarray) -> float:
    """Mean distance between two outlines, voxels; NaN where one has none."""
    edges = [mask ^ _inner(mask) for mask in (one, two)]
    if not all(edge.any() for edge in edges):
        return float("nan")
    away = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return float((away[1][edges[0]].mean() + away[0][edges[1]].mean()) / 2)


def _inner(mask: np.ndarray) -> np.ndarray:
    cross = ndimage.generate_binary_structure(3, 1)
    if mask.shape[0] == 1:
        cross[0] = cross[2] = False
    return ndimage.binary_erosion(mask, cross)


def _row(
    key: tuple[str, int],
    planted: Mapping[str, Mapping[str, Any]],
    held_out: Sequence[HeldOut],
    dataset: Dataset,
) -> dict[str, Any]:
    names = list(dataset.labels.structures)
    doubt, lowest = [], []
    for seed in range(SEEDS):
        random = np.random.default_rng([seed, 20261129])
        chosen = set(
            random.choice(len(held_out), max(1, round(SHARE * len(held_out))), replace=False).tolist()
        )
        seen = [
            with_reference(each, planted[each.case], None, names) if index in chosen else each
            for index, each in enumerate(held_out)
        ]
        flags = np.array([index in chosen for index in range(len(held_out))])
        scores = {each.case: each.score for each in doubts_of(seen, names)}
        doubt.append(auroc(flags, np.array([scores[each.case] for each in seen])))
        lowest.append(auroc(flags, np.array([-each.dice for each in seen])))
    return {
        "kind": key[0],
        "voxels": key[1],
        "moved": float(np.nanmedian([each["moved"] for each in planted.values()])),
        "doubt": [float(np.mean(doubt)), float(np.std(doubt))],
        "lowest": [float(np.mean(lowest)), float(np.std(lowest))],
    }
