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

# In a fold's folder: evidence of each held-out case, written as they are predicted.
EVIDENCE = "evidence.json"
# Beside it: the shapes of the predictions, which are read once.
SHAPES = "predicted_shapes.json"


def add_evidence(folder: Path, case: str, evidence: Mapping[str, Any]) -> None:
    """Write down the evidence of one more case."""
    path = folder / EVIDENCE
    write_json(path, {"cases": {**evidence_of(folder), case: dict(evidence)}})


def evidence_of(folder: Path) -> dict[str, Any]:
    """The evidence of a fold's cases; empty for a run of an earlier version."""
    cases = read_object(folder / EVIDENCE).get("cases", {})
    return dict(cases) if isinstance(cases, dict) else {}


def facts_of_fold(
    folder: Path,
    predictions: Path,
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None = None,
) -> dict[str, dict[str, Facts]]:
    """Facts by case and structure, of the cases that have evidence, a prediction and a profile."""
    evidence = evidence_of(folder)
    files = {case: predictions / f"{case}{dataset.file_ending}" for case in evidence if case in profiles}
    files = {case: path for case, path in files.items() if path.is_file()}
    shapes = _shapes(folder, files, dataset, profiles, workers)
    return {
        case: {
            name: Facts(evidence[case]["structures"][name], shape, profiles[case].flat)
            for name, shape in shapes[case].items()
        }
        for case in files
    }


def _shapes(
    folder: Path,
    files: Mapping[str, Path],
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None,
) -> dict[str, dict[str, Shape]]:
    of = digest([[case, path.stat().st_mtime_ns, path.stat().st_size] for case, path in files.items()])
    stored = read_object(folder / SHAPES)
    if stored.get("of") == of:
        return {
            case: {name: Shape.from_json(each) for name, each in shapes.items()}
            for case, shapes in stored["cases"].items()
        }
    jobs = [(path, dataset, profiles[case].steps) for case, path in files.items()]
    with forked(workers, len(jobs)) as processes:
        found = dict(zip(files, processes.map(_shape_of_file, jobs), strict=True))
    cases = {
        case: {name: shape.to_json() for name, shape in shapes.items()} for case, shapes in found.items()
    }
    write_json(folder / SHAPES, {"of": of, "cases": cases})
    return found


def _shape_of_file(path: Path, dataset: Dataset, steps: tuple[float, ...]) -> dict[str, Shape]:
    return shapes_of(read_segmentation(path, dataset.reader).array[0], steps, dataset.labels.structures)
