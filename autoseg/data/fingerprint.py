"""The fingerprint of a raw data set: all that a plan is made from.

What nnU-Net knows of it lies under nnU-Net's keys with nnU-Net's values, so stock planning reads the file;
the sizes of the labelled structures and a hash of the files' contents are ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from autoseg.data import intensities, kept_intensities
from autoseg.data.case_store import CaseStore
from autoseg.data.components import Components, components_of, summary
from autoseg.data.fingerprint_document import check_fingerprint
from autoseg.data.geometry import nonzero_box, slices
from autoseg.data.image import voxel_size
from autoseg.data.orientation import Directions, directions_of, summary_of
from autoseg.data.readers import Image, read_images, read_segmentation
from autoseg.errors import DataError
from autoseg.system import progress
from autoseg.system.files import digest, read_json, write_json
from autoseg.system.workers import SharedArray, forked

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from autoseg.data.dataset import Case, Dataset

Result = TypeVar("Result")

# The draws of a channel take 400 MB, however small the data set is.
CHANNELS_AT_ONCE = 4
# Bytes that are kept of the intensities of a case; one with more is read again.
LARGEST_KEPT = 2**28


@dataclass(frozen=True)
class Fingerprint:
    """What the planner needs to know of a data set.

    Attributes:
        spacings: mm of each case, array order.
        shapes_after_crop: voxels of each case after the crop to the nonzero region.
        intensities: foreground values by channel: mean, median, std, min, max, percentiles 0.5 and 99.5.
        relative_size_after_crop: median over cases of the share of voxels that the crop leaves.
        class_sizes: ``unit`` of the sizes; ``structures``: by name, the number of cases with it, voxels in
            all, median voxels and least, median and largest size among those cases, and ``components``, see
            `autoseg.data.components.summary`; ``voxels``: by case and label. Empty if nnU-Net extracted the
            fingerprint.
        orientation: along which axes the images are stored, see `autoseg.data.orientation`; empty for
            pictures, or if nnU-Net extracted the fingerprint.
        hash: SHA-256 of the files' contents and of the labels and channels in dataset.json.
    """

    spacings: tuple[tuple[float, ...], ...]
    shapes_after_crop: tuple[tuple[int, ...], ...]
    intensities: Mapping[int, Mapping[str, float]]
    relative_size_after_crop: float
    class_sizes: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""
    orientation: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """nnU-Net's dataset_fingerprint.json, with further keys."""
        return {
            "spacings": [list(spacing) for spacing in self.spacings],
            "shapes_after_crop": [list(shape) for shape in self.shapes_after_crop],
            "foreground_intensity_properties_per_channel": {
                str(channel): dict(values) for channel, values in self.intensities.items()
            },
            "median_relative_size_after_cropping": self.relative_size_after_crop,
            "class_sizes": dict(self.class_sizes),
            "hash": self.hash,
            **({"orientation": dict(self.orientation)} if self.orientation else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fingerprint:
        """Read a fingerprint of autoseg or of nnU-Net.

        Raises:
            DataError: listing the entries that are missing or wrong.
        """
        check_fingerprint(document)
        return cls(
            spacings=tuple(map(tuple, document["spacings"])),
            shapes_after_crop=tuple(map(tuple, document["shapes_after_crop"])),
            intensities={
                int(channel): dict(values)
                for channel, values in document["foreground_intensity_properties_per_channel"].items()
            },
            relative_size_after_crop=document["median_relative_size_after_cropping"],
            class_sizes=document.get("class_sizes", {}),
            hash=document.get("hash", ""),
            orientation=document.get("orientation", {}),
        )

    def save(self, path: Path) -> None:
        """Write the fingerprint, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Fingerprint:
        """Read a fingerprint.

        Raises:
            DataError: if the file is missing, is not JSON or is not a fingerprint.
        """
        return cls.from_json(read_json(path))


def extract_fingerprint(
    dataset: Dataset, workers: int | None = None, kept: Path | None = None
) -> Fingerprint:
    """Read every case once and sum up what a plan needs.

    The numbers equal those of nnU-Net 2.8.1's DatasetFingerprintExtractor.

    Args:
        dataset: the data set.
        workers: processes; as many as there are processors if None.
        kept: a folder where what is found of each case is kept: only new and changed cases are read then.

    Raises:
        DataError: if a case cannot be read or has no label file, or none has foreground.
    """
    channels = len(dataset.channels)
    samples = intensities.room_for_samples(min(channels, CHANNELS_AT_ONCE), len(dataset.cases))
    values = dict(dataset.labels.structures)
    store = _store(dataset, kept) if kept is not None else None
    about = (dataset.reader, channels, samples, store)
    jobs = [(case, values, *about, index) for index, case in enumerate(dataset.cases)]
    try:
        with forked(workers, len(jobs)) as processes:
            found = list(_counted(processes.map(_analyse, jobs), len(jobs), "Fingerprint"))
            drawn = [index for index, case in enumerate(found) if case.has_foreground]
            if not drawn:
                raise DataError(
                    f"No case of {dataset.name} has a labelled voxel where its images are nonzero. Check "
                    f"that the label files belong to the images."
                )
            statistics = {}
            for first in range(0, channels, CHANNELS_AT_ONCE):
                if first:
                    more = [(dataset.cases[index], first, *about, index) for index in drawn]
                    list(_counted(processes.map(_draw_more, more), len(more), "Fingerprint"))
                for channel in range(first, min(first + CHANNELS_AT_ONCE, channels)):
                    place = channel - first
                    statistics[channel] = intensities.statistics(samples, place, drawn, processes)
    finally:
        samples.close()
    if store is not None:
        store.forget_others(dataset.cases)
    return Fingerprint(
        spacings=tuple(case.spacing for case in found),
        shapes_after_crop=tuple(case.shape for case in found),
        intensities=statistics,
        relative_size_after_crop=float(np.median([case.left_by_crop for case in found])),
        class_sizes=_class_sizes(dataset, found),
        hash=_combined_hash(dataset, [case.hash for case in found]),
        orientation=summary_of([case.directions for case in found]),
    )


def _counted(results: Iterator[Result], total: int, name: str) -> Iterator[Result]:
    with progress.stage(name, total) as advance:
        for result in results:
            advance()
            yield result


@dataclass(frozen=True)
class _CaseFacts:
    """What is retained of one case; its intensities are in the shared array."""

    spacing: tuple[float, ...]
    shape: tuple[int, ...]
    left_by_crop: float
    has_foreground: bool
    voxels: Mapping[int, int]
    components: Mapping[str, Components]
    voxel_size: tuple[float, str]
    hash: str
    directions: Directions | None


def _analyse(
    case: Case,
    structures: Mapping[str, Sequence[int]],
    reader: str,
    channels: int,
    samples: SharedArray,
    store: CaseStore | None,
    index: int,
) -> _CaseFacts:
    key = store.key(case) if store else ""
    if store and (known := _known(store, case, key)):
        facts, values = known
        if values.draw(0, samples.array[:CHANNELS_AT_ONCE, index]):
            return facts
    if case.label is None:
        raise DataError(
            f"The case {case.identifier} has no label file. Add it, or move its images to imagesTs."
        )
    images, segmentation = read_images(case.images, reader), read_segmentation(case.label, reader)
    _check(case, images, segmentation, channels)
    inner = slices(nonzero_box(images.array))
    cropped, labels = images.array[:, *inner], segmentation.array[0]
    foreground = labels[inner] > 0
    inside = [channel[foreground] for channel in cropped]
    if not all(np.isfinite(channel).all() for channel in inside):
        raise DataError(f"Labelled voxels of the case {case.identifier} are infinite. Give them a number.")
    if has_foreground := bool(foreground.any()):
        _draw(inside, 0, samples, index)
    present, counts = np.unique(labels[labels > 0], return_counts=True)
    facts = _CaseFacts(
        spacing=tuple(float(n) for n in images.spacing),
        shape=cropped.shape[1:],
        left_by_crop=float(np.prod(cropped.shape[1:]) / np.prod(labels.shape)),
        has_foreground=has_foreground,
        voxels={int(value): int(count) for value, count in zip(present, counts, strict=True)},
        components=components_of(labels, structures),
        voxel_size=voxel_size(images),
        hash=_case_hash(case),
        directions=directions_of(images),
    )
    if store:
        _keep(store, case, key, facts, inside, samples.array.shape[2])
    return facts


def _store(dataset: Dataset, folder: Path) -> CaseStore:
    request = [dict(dataset.labels.structures), dataset.reader, len(dataset.channels)]
    return CaseStore.at(folder, "fingerprint", request, [Path(__file__).parent])


@cache
def _facts_in_json() -> TypeAdapter[_CaseFacts]:
    from pydantic import TypeAdapter

    return TypeAdapter(_CaseFacts)


def _keep(
    store: CaseStore,
    case: Case,
    key: str,
    facts: _CaseFacts,
    inside: Sequence[intensities.Singles],
    draws: int,
) -> None:
    described, numbers = kept_intensities.to_bytes(kept_intensities.keep(inside, draws))
    if len(numbers) <= LARGEST_KEPT:
        content = [_facts_in_json().dump_python(facts, mode="json"), described]
        store.write(case, key, json.dumps(content).encode(), numbers)


def _known(store: CaseStore, case: Case, key: str) -> tuple[_CaseFacts, kept_intensities.KeptValues] | None:
    """What was kept of a case under this key."""
    if (found := store.read(case, key)) is None:
        return None
    text, numbers = found
    try:
        facts, described = json.loads(text)
        return _facts_in_json().validate_python(facts), kept_intensities.from_bytes(described, numbers)
    except (ValueError, KeyError, TypeError):  # another program wrote it: the case is read again
        return None


def _draw_more(
    case: Case,
    first: int,
    reader: str,
    channels: int,
    samples: SharedArray,
    store: CaseStore | None,
    index: int,
) -> None:
    """Draw from further channels of a case, which is read again: all at once take too much memory."""
    known = _known(store, case, store.key(case)) if store else None
    if known and known[1].draw(first, samples.array[: channels - first, index][:CHANNELS_AT_ONCE]):
        return
    assert case.label is not None  # the first pass has read it
    images, segmentation = read_images(case.images, reader), read_segmentation(case.label, reader)
    _check(case, images, segmentation, channels)
    inner = slices(nonzero_box(images.array))
    foreground = segmentation.array[0][inner] > 0
    _draw([channel[inner][foreground] for channel in images.array], first, samples, index)


def _draw(values: Sequence[intensities.Singles], first: int, samples: SharedArray, index: int) -> None:
    part = values[first : first + CHANNELS_AT_ONCE]
    intensities.draw(part, samples.array[: len(part), index], before=first)


def _check(case: Case, images: Image, segmentation: Image, channels: int) -> None:
    found, expected = segmentation.array.shape, (1, *images.array.shape[1:])
    if found != expected:
        raise DataError(
            f"{case.label} has the shape {found}; its images need {expected}. Correct one of them."
        )
    if len(images.array) != channels:
        raise DataError(
            f"The case {case.identifier} has {len(images.array)} channels; dataset.json names {channels}. "
            f"Add the missing files, or correct channel_names."
        )
    # A sum is NaN if anything in it is: one pass, and no array of flags.
    for array, name in ((images.array, "images"), (segmentation.array, "label file")):
        if array.dtype.kind == "f" and np.isnan(np.add.reduce(array, axis=None)) and np.isnan(array).any():
            raise DataError(f"The {name} of the case {case.identifier} hold NaN. Replace NaN by a number.")


def _class_sizes(dataset: Dataset, found: Sequence[_CaseFacts]) -> dict[str, Any]:
    structures = {}
    for name, labels in dataset.labels.structures.items():
        voxels = [sum(case.voxels.get(label, 0) for label in labels) for case in found]
        sizes = [n * case.voxel_size[0] for n, case in zip(voxels, found, strict=True) if n]
        structures[name] = {
            "cases": len(sizes),
            "voxels": sum(voxels),
            "median_voxels": float(np.median([n for n in voxels if n] or [0])),
            "min": min(sizes, default=0.0),
            "median": float(np.median(sizes)) if sizes else 0.0,
            "max": max(sizes, default=0.0),
            **_component_sizes(name, found),
        }
    per_case = {
        case.identifier: {str(label): count for label, count in facts.voxels.items()}
        for case, facts in zip(dataset.cases, found, strict=True)
    }
    return {"unit": found[0].voxel_size[1], "structures": structures, "voxels": per_case}


def _component_sizes(name: str, found: Sequence[_CaseFacts]) -> dict[str, Any]:
    present = [case for case in found if name in case.components]
    if not present:
        return {}
    parts = [case.components[name] for case in present]
    spacings = [case.spacing for case in present]
    return {"components": summary(parts, spacings, [case.voxel_size[0] for case in present])}


def _case_hash(case: Case) -> str:
    return digest([_file_hash(path) for path in (*case.images, case.label) if path is not None])


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _combined_hash(dataset: Dataset, cases: Sequence[str]) -> str:
    names = [case.identifier for case in dataset.cases]
    about = {key: dataset.dataset_json.get(key) for key in ("labels", "regions_class_order", "numTraining")}
    return digest([about, dataset.channels, dataset.reader, list(zip(names, cases, strict=True))])
