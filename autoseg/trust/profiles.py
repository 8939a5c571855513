"""What the training cases are like: quantities of each image and shapes of each reference, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import finite
from autoseg.data.readers import read_images, read_segmentation
from autoseg.errors import DataError
from autoseg.system import progress
from autoseg.system.files import read_object, write_json
from autoseg.system.workers import forked
from autoseg.trust.inputs import quantities_of
from autoseg.trust.outline import outlines_of
from autoseg.trust.shape import Shape, shapes_of, steps_of

FILE_NAME = "case_profiles.json"
# 3: quantities of images are of fewer voxels.
FORMAT = 3


@dataclass(frozen=True)
class Profile:
    """One training case.

    Attributes:
        inputs: see `quantities_of`.
        shapes: of the reference, by structure.
        steps: size of a voxel along z, y, x, see `steps_of`.
        unit: of sizes.
        flat: whether it is a picture.
        outlines: the image across the reference's outline, by structure, see `outlines_of`.
    """

    inputs: Mapping[str, float]
    shapes: Mapping[str, Shape]
    steps: tuple[float, ...]
    unit: str
    flat: bool
    outlines: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        shapes = {name: shape.to_json() for name, shape in self.shapes.items()}
        return {
            "inputs": dict(self.inputs), "shapes": shapes, "steps": list(self.steps), "unit": self.unit,
            "flat": self.flat, "outlines": {name: list(each) for name, each in self.outlines.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Profile:
        """Read what `to_json` wrote."""
        shapes = {name: Shape.from_json(each) for name, each in content["shapes"].items()}
        return cls(
            content["inputs"], shapes, tuple(content["steps"]), content["unit"], content["flat"],
            content["outlines"],
        )  # fmt: skip


def profiles_of(
    dataset: Dataset, fingerprint_hash: str, path: Path, workers: int | None = None
) -> dict[str, Profile]:
    """The profiles of all training cases: from the file where that is of these data, else made and written.

    Raises:
        DataError: if a case cannot be read.
    """
    stored = read_object(path)
    if stored.get("format") == FORMAT and stored.get("fingerprint") == fingerprint_hash:
        return {name: Profile.from_json(each) for name, each in stored["cases"].items()}
    jobs = [(case, dataset) for case in dataset.cases]
    found = {}
    with progress.stage("Profiles", total=len(jobs)) as advance, forked(workers, len(jobs)) as processes:
        for case, profile in zip(dataset.cases, processes.map(_profile, jobs), strict=True):
            found[case.identifier] = profile
            advance()
    cases = {name: profile.to_json() for name, profile in found.items()}
    write_json(path, {"format": FORMAT, "fingerprint": fingerprint_hash, "cases": cases})
    return found


def _profile(case: Case, dataset: Dataset) -> Profile:
    if case.label is None:
        raise DataError(
            f"The case {case.identifier} has no label file. Add it, or move its images to imagesTs."
        )
    image = finite(read_images(case.images, dataset.reader), case.images)
    label = read_segmentation(case.label, dataset.reader).array[0]
    steps, unit = steps_of(image)
    return Profile(
        quantities_of(image, dataset.channels),
        shapes_of(label, steps, dataset.labels.structures),
        steps,
        unit,
        image.array.shape[1] == 1,
        outlines_of(image.array, label, steps, dataset.labels.structures),
    )
