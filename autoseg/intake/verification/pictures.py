"""Pictures of the cases of a raw data set that are worth a look: those with findings, and the extremes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.readers import Image
from autoseg.drawing.slices import Picture, draw, frame_around
from autoseg.intake.verification.case_checks import read_case
from autoseg.intake.verification.findings import Finding, VerifyReport

Array = np.ndarray[Any, np.dtype[Any]]

MOST_PICTURES = 12
_FEWEST_VOXELS = 1


@dataclass(frozen=True)
class Shot:
    """One case as it is shown.

    Attributes:
        case: its name.
        title: why it is shown.
        sentence: which slice, and what is drawn on it.
        picture: the first channel with the label's outlines; None where it cannot be read.
        alt: what the picture shows, in words.
        severity: severity of the case's worst finding; empty without any.
    """

    case: str
    title: str
    sentence: str
    picture: Picture | None
    alt: str
    severity: str


def shots_of(dataset: Dataset, report: VerifyReport, fingerprint: Fingerprint | None) -> tuple[Shot, ...]:
    """The cases with findings, worst first, then smallest, typical and largest labels; at most twelve."""
    by_case: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if finding.case is not None:
            by_case.setdefault(finding.case, []).append(finding)
    worst = sorted(by_case, key=lambda name: [-count for count in _counted(by_case[name])])
    titles = {name: _title(by_case[name]) for name in worst}
    for title, name in _extremes(fingerprint):
        titles[name] = f"{titles[name]}; {title[0].lower()}{title[1:]}" if name in titles else title
    known = {case.identifier: case for case in dataset.cases}
    chosen = [name for name in titles if name in known][:MOST_PICTURES]
    return tuple(_shot(dataset, known[name], titles[name], by_case.get(name, [])) for name in chosen)


def _counted(findings: Sequence[Finding]) -> tuple[int, int]:
    errors = sum(finding.severity == "error" for finding in findings)
    return errors, len(findings) - errors


def _title(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.code.replace("_", " ") for finding in findings)
    listed = ", ".join(f"{code} ({count} times)" if count > 1 else code for code, count in counts.items())
    return listed[0].upper() + listed[1:]


def _extremes(fingerprint: Fingerprint | None) -> list[tuple[str, str]]:
    """Cases by the voxels of all their labels."""
    by_label: Mapping[str, Mapping[str, int]] = (
        fingerprint.class_sizes.get("voxels", {}) if fingerprint else {}
    )
    sizes = {
        case: sum(count for label, count in counts.items() if int(label) > 0)
        for case, counts in by_label.items()
    }
    order = sorted(
        (case for case in sizes if sizes[case] >= _FEWEST_VOXELS), key=lambda case: (sizes[case], case)
    )
    if not order:
        return []
    picks = (("Smallest labels", 0), ("Typical labels", (len(order) - 1) // 2), ("Largest labels", -1))
    return [(title, order[place]) for title, place in picks]


def _shot(dataset: Dataset, case: Case, title: str, findings: Sequence[Finding]) -> Shot:
    severity = min((finding.severity for finding in findings), default="")
    images, label, _ = read_case(dataset, case)
    image = next(iter(images.values()), None)
    if image is None or not image.array.size:
        return Shot(case.identifier, title, "The image cannot be shown.", None, "", severity)
    usable = label is not None and label.array.shape[1:] == image.array.shape[1:]
    volume = _labels(label) if usable and label is not None else np.zeros(image.array.shape[1:], np.int64)
    axis, index, count = _best_slice(volume, image.spacing)
    background = np.take(_shown(image), index, axis=axis + 1)
    plane = np.take(volume, index, axis=axis)
    spacing = [size for i, size in enumerate(image.spacing) if i != axis]
    picture = draw(
        frame_around([np.zeros_like(plane)], background, spacing), plane, None, dataset.labels.structures
    )
    where = f"Slice {index + 1} of {count}. " if count > 1 else ""
    what = "Outlines of the label." if plane.any() else "No label to draw."
    if label is not None and not usable:
        what = "The label has another shape."
    alt = f"Case {case.identifier}: {dataset.channels[0]} with the outlines of its label"
    return Shot(case.identifier, title, where + what, picture, alt, severity)


def _labels(label: Image) -> Array:
    array = label.array[0]
    return np.asarray(np.rint(np.nan_to_num(array)).astype(np.int64) if array.dtype.kind == "f" else array)


def _shown(image: Image) -> Array:
    """Three channels of one file are colours; of several channels the first is shown."""
    array = image.array if len(image.array) == 3 else image.array[:1]
    return np.asarray(np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0))


def _best_slice(volume: Array, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Across the coarsest axis, where the label is largest; the middle where there is none."""
    axis = 0 if volume.shape[0] == 1 else int(np.argmax(np.round(spacing, 3)))
    counts = np.count_nonzero(volume > 0, axis=tuple(i for i in range(3) if i != axis))
    count = volume.shape[axis]
    return axis, int(counts.argmax()) if counts.any() else count // 2, count
