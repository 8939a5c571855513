"""What is known of a fold's held-out cases: evidence of when they were predicted, shapes of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_segmentation
from autoseg.system.files import digest, read_object, write_json
from autoseg.system.workers import forked
from autoseg.trust.features import Facts
from autoseg.trust.profiles import Profile
from autoseg.trust.shape import Shape, shapes_of
from autoseg.trust.written import EVIDENCE, PLAIN, Written, dices

# In a fold's folder beside the evidence of each held-out case, which is written as they are predicted: the
# shapes of the predictions, which are read once, and their Dice where they are written otherwise than scored.
SHAPES = "predicted_shapes.json"


def add_evidence(folder: Path, case: str, evidence: Mapping[str, Any], name: str = EVIDENCE) -> None:
    """Write down the evidence of one more case."""
    write_json(folder / name, {"cases": {**evidence_of(folder, name), case: dict(evidence)}})


def evidence_of(folder: Path, name: str = EVIDENCE) -> dict[str, Any]:
    """The evidence of a fold's cases; empty for a run of an earlier version."""
    cases = read_object(folder / name).get("cases", {})
    return dict(cases) if isinstance(cases, dict) else {}


def facts_of_fold(
    folder: Path,
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None = None,
    written: Written = PLAIN,
) -> tuple[dict[str, dict[str, Facts]], dict[str, dict[str, float]]]:
    """Facts by case and structure, of the cases that have evidence, a prediction and a profile.

    Beside them the Dice by case and structure where it is not that of the fold's evaluation, since
    segmentations are written otherwise; else empty.
    """
    evidence, predictions = evidence_of(folder, written.evidence), folder / written.predictions
    files = {case: predictions / f"{case}{dataset.file_ending}" for case in evidence if case in profiles}
    files = {case: path for case, path in files.items() if path.is_file()}
    shapes, scores = _shapes(folder, files, dataset, profiles, workers, written)
    facts = {
        case: {
            name: Facts(evidence[case]["structures"][name], shape, profiles[case].flat)
            for name, shape in shapes[case].items()
        }
        for case in files
    }
    return facts, scores


def _shapes(
    folder: Path,
    files: Mapping[str, Path],
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None,
    written: Written,
) -> tuple[dict[str, dict[str, Shape]], dict[str, dict[str, float]]]:
    states = [[case, path.stat().st_mtime_ns, path.stat().st_size] for case, path in files.items()]
    of = digest([states, written.key] if written.key else states)
    stored = read_object(folder / SHAPES)
    if stored.get("of") == of:
        known = {
            case: {name: Shape.from_json(each) for name, each in shapes.items()}
            for case, shapes in stored["cases"].items()
        }
        return known, dict(stored.get("dice", {}))
    jobs = [(path, dataset, case, profiles[case].steps, written) for case, path in files.items()]
    with forked(workers, len(jobs)) as processes:
        found = dict(zip(files, processes.map(_of_file, jobs), strict=True))
    shapes = {case: each for case, (each, _) in found.items()}
    scores = {case: each for case, (_, each) in found.items() if each}
    cases = {case: {name: shape.to_json() for name, shape in each.items()} for case, each in shapes.items()}
    write_json(folder / SHAPES, {"of": of, "cases": cases, **({"dice": scores} if scores else {})})
    return shapes, scores


def _of_file(
    path: Path, dataset: Dataset, case: str, steps: tuple[float, ...], written: Written
) -> tuple[dict[str, Shape], dict[str, float]]:
    image = read_segmentation(path, dataset.reader)
    segmentation, label = written.apply(image.array[0], image.spacing), dataset.case(case).label
    scores = {}
    if written.key and label is not None:
        scores = dices(segmentation, read_segmentation(label, dataset.reader).array[0], dataset.labels)
    return shapes_of(segmentation, steps, dataset.labels.structures), scores
