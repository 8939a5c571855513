"""What bench_trust needs of each held-out case, predicted by the fold that had not seen it, and stored.

Of each case: the exact mean entropy of the softmax, Dice and cleanlab's score against its reference and
against references with a planted error, and for some cases quality facts and Dice under each shift.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _label_errors import PLANTERS, cleanlab_score, dices, kinds
from _shifts import SHIFTS, another_organ

from autoseg.data.dataset import Dataset
from autoseg.data.folds import Fold, folds_from_json
from autoseg.data.image import Image
from autoseg.data.readers import read_images, read_segmentation
from autoseg.inference.model import Model, load_model
from autoseg.preprocessing.restore import restore_probabilities, segment_probabilities
from autoseg.system.files import read_json, read_object, write_json
from autoseg.trust.evidence import Evidence
from autoseg.trust.features import Facts
from autoseg.trust.inputs import quantities_of
from autoseg.trust.outline import outlines_of
from autoseg.trust.shape import shapes_of, steps_of
from autoseg.workspace import Workspace

SEED = 20261129


@dataclass(frozen=True)
class Source:
    """A finished five-fold run.

    Attributes:
        dataset: the data.
        model: the model's folder.
        workspace: where it lies.
        other: images of another body part.
        shifted: how many cases are shifted.
    """

    dataset: Dataset
    model: Path
    workspace: Workspace
    other: tuple[Image, ...]
    shifted: int

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds that it was trained on."""
        return folds_from_json(read_json(self.workspace.folds_of(self.dataset.name)))


def gathered(source: Source, cache: Path) -> dict[str, Any]:
    """By case; what the cache holds is not computed again."""
    path = cache / f"{source.dataset.name}.json"
    found: dict[str, Any] = read_object(path).get("cases", {})
    names = [case for fold in source.folds for case in fold.validation]
    chosen = set(np.random.default_rng(SEED).choice(names, min(source.shifted, len(names)), replace=False))
    for fold in source.folds:
        waiting = [case for case in fold.validation if case not in found]
        model = load_model(source.model, [fold.index], "cpu") if waiting else None
        for case in waiting:
            assert model is not None
            found[case] = _of_case(source, model, case, case in chosen)
            if len(found) % 10 == 0:
                write_json(path, {"cases": found})
                print(source.dataset.name, len(found), flush=True)
    write_json(path, {"cases": found})
    return json.loads(path.read_text())["cases"]


def _of_case(source: Source, model: Model, case: str, shift: bool) -> dict[str, Any]:
    files, random = source.dataset.case(case), np.random.default_rng([SEED, *case.encode()])
    image = read_images(files.images, source.dataset.reader)
    label = read_segmentation(files.label, source.dataset.reader).array[0]
    data, properties = model.preprocess(image)
    plan_grid = model.probabilities(data).numpy()
    whole = restore_probabilities(plan_grid, properties, model.plan, model.configuration)
    whole[0] += np.clip(1 - whole.sum(axis=0), 0, 1)  # outside the crop is background
    prediction = segment_probabilities(whole, source.dataset.labels)
    found = {
        "exact_entropy": _entropy(plan_grid),
        "label": _against(source, image, label, label, prediction, whole),
        "errors": dict(_planted(source, image, label, prediction, whole, random)),
    }
    if shift:
        found["shifts"] = dict(_shifted(source, model, image, label, random))
    return found


def _entropy(probabilities: np.ndarray) -> float:
    """Mean over voxels of the entropy of the softmax, nats; nothing is cut off."""
    logs = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    return float(-(probabilities * logs).sum(axis=0).mean(dtype=np.float64))


def _against(
    source: Source,
    image: Image,
    given: np.ndarray,
    label: np.ndarray,
    prediction: np.ndarray,
    whole: np.ndarray,
) -> dict[str, Any]:
    structures = source.dataset.labels.structures
    values = list(structures.values())
    return {
        "outlines": outlines_of(image.array, given, steps_of(image)[0], structures),
        "dice": dices(prediction, given, values),
        "sizes": [int(np.isin(given, list(each)).sum()) for each in values],
        "true_dice": dices(label, given, values),
        "cleanlab": cleanlab_score(given, whole),
    }


def _planted(
    source: Source,
    image: Image,
    label: np.ndarray,
    prediction: np.ndarray,
    whole: np.ndarray,
    random: np.random.Generator,
) -> Iterator[tuple[str, dict[str, Any]]]:
    dataset = source.dataset
    other = dataset.cases[int(random.integers(len(dataset.cases)))]
    another = read_segmentation(other.label, dataset.reader).array[0]
    for kind in kinds(len(dataset.labels.structures)):
        given = PLANTERS[kind](label, another, random)
        yield kind, _against(source, image, given, label, prediction, whole)


def _shifted(
    source: Source, model: Model, image: Image, label: np.ndarray, random: np.random.Generator
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "none", _seen(source, model, image, label)
    for name, shift in SHIFTS.items():
        yield name, _seen(source, model, *shift(image, label, random))
    other = source.other[int(random.integers(len(source.other)))]
    yield "another organ", _seen(source, model, *another_organ(image, other, random))


def _seen(source: Source, model: Model, image: Image, label: np.ndarray) -> dict[str, Any]:
    """Quality facts and Dice, as `autoseg predict` would have them."""
    labels = source.dataset.labels
    evidence = Evidence.of(labels)
    segmentation = model.segment_image(image, evidence)
    known, steps = evidence.to_json(labels), steps_of(image)[0]
    flat = image.array.shape[1] == 1
    facts: Mapping[str, Facts] = {
        name: Facts(known["structures"][name], shape, flat)
        for name, shape in shapes_of(segmentation, steps, labels.structures).items()
    }
    return {
        "inputs": quantities_of(image, source.dataset.channels),
        "facts": {name: each.to_json() for name, each in facts.items()},
        "entropy": known["entropy"],
        "dice": dices(segmentation, label, list(labels.structures.values())),
    }
