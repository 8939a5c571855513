"""What can be wrong with the label of one case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from autoseg.data.dataset import Case, Dataset
from autoseg.data.image import Array, Image
from autoseg.data.region_order import lost_labels, working_order
from autoseg.intake.segment_names import key, segment_names
from autoseg.intake.verification.findings import Finding, error, warning

# Counted a piece at a time, since bincount widens its input to 64 bits.
VOXELS_AT_ONCE = 1 << 20


def is_four_dimensional(image: Image) -> bool:
    """Whether a file holds several volumes along a fourth axis."""
    return len(image.properties.get("sitk_stuff", {}).get("spacing", ())) == 4


def check_label(
    dataset: Dataset, case: Case, label: Image, counts: Mapping[int, int] | None
) -> Iterator[Finding]:
    """Check the values of a label.

    Args:
        dataset: which labels are declared.
        case: whose label it is.
        label: the segmentation as it was read.
        counts: what `count_labels` says of it.
    """
    if len(label.array) != 1 and is_four_dimensional(label):
        message = f"The label file has 4 dimensions, {len(label.array)} volumes of one label or class each."
        remedy = "Unite them into one volume that holds the label of each voxel, or import the data."
        yield error("four_dimensions", message, remedy, case=case.identifier, file=case.label)
    elif len(label.array) != 1:
        message = f"The label file has {len(label.array)} channels; it needs one that holds the label values."
        remedy = "Convert its colours to label values."
        yield error("label_channels", message, remedy, case=case.identifier, file=case.label)
    elif label.replaced or counts is None:
        message = f"The label file holds values that are no labels{_examples(label)}."
        remedy = (
            "Write whole numbers. Fractions come from interpolation; resample labels by nearest neighbour."
        )
        yield error("label_not_integer", message, remedy, case=case.identifier, file=case.label)
    else:
        if label.rounded:
            message = (
                f"The label's values are off whole numbers by up to {label.rounded:.2g}, as a scaled header "
                f"makes them; they are read as whole numbers."
            )
            remedy = "Write the label with an integer type, or import the data: nnU-Net refuses such files."
            yield warning("label_rounded", message, remedy, case=case.identifier, file=case.label)
        yield from _check_values(dataset, case, counts)
        yield from _check_names(dataset, case, counts)


def check_regions(dataset: Dataset) -> Iterator[Finding]:
    """Whether every label of a data set with regions comes back from a prediction without a fault."""
    labels = dataset.labels
    if not (lost := lost_labels(labels)):
        return
    named = {value: name for name, value in labels.names.items() if isinstance(value, int)}
    listed = ", ".join(
        f"{old}{f' ({named[old]})' if old in named else ''} as {new}" for old, new in lost.items()
    )
    message = (
        f"regions_class_order {list(labels.region_order or ())} does not give the labels back: {listed}."
    )
    found = working_order(labels)
    if found is None:
        remedy = "No order does with these regions: of two that overlap, one has to lie in the other."
    else:
        regions, order = found
        moved = (
            "" if regions == tuple(labels.structures) else f" and list the regions as {', '.join(regions)}"
        )
        remedy = f'Write "regions_class_order": {list(order)}{moved}.'
    yield error("region_order", message, remedy, file=dataset.root / "dataset.json")


def check_alike(dataset: Dataset) -> Iterator[Finding]:
    """Names that stand for the same labels: one of them most likely has another's number."""
    names: dict[frozenset[int], list[str]] = {}
    for name, values in dataset.labels.structures.items():
        names.setdefault(frozenset(values), []).append(name)
    for same, alike in names.items():
        if len(alike) > 1:
            message = f"{', '.join(map(repr, alike))} all stand for {sorted(same)}: they are one structure."
            remedy = "Give each its own number as the label files have it, or leave one name."
            yield warning("same_structure", message, remedy, file=dataset.root / "dataset.json")


def _check_values(dataset: Dataset, case: Case, counts: Mapping[int, int]) -> Iterator[Finding]:
    labels = dataset.labels
    declared = set(labels.all_values) | (set() if labels.ignore is None else {labels.ignore})
    if undeclared := sorted(counts.keys() - declared):
        listed = ", ".join(f"{value} ({counts[value]} voxels)" for value in undeclared[:8])
        more = f" and {len(undeclared) - 8} more" if len(undeclared) > 8 else ""
        message = f"The label file holds undeclared labels: {listed}{more}. Declared are {sorted(declared)}."
        remedy = "Declare them in dataset.json, or replace them in the file."
        if undeclared[0] < 0:
            remedy = (
                "No label is negative. Write 0 for the background and the declared numbers for the labels."
            )
        if counts.keys() == {0, 255}:
            remedy = "This is a picture in black and white: write 1 instead of 255."
        yield error("label_undeclared", message, remedy, case=case.identifier, file=case.label)
    elif not counts.keys() - {0, labels.ignore}:
        message = "The label file holds nothing but background."
        remedy = "If the case has none of the structures, leave it so; else restore its label."
        yield warning("label_empty", message, remedy, case=case.identifier, file=case.label)


def _check_names(dataset: Dataset, case: Case, counts: Mapping[int, int]) -> Iterator[Finding]:
    """Whether a file of 3D Slicer gives a value the name that another value has in dataset.json."""
    if case.label is None or not case.label.name.lower().endswith(".nrrd"):
        return
    declared = {key(name): number for name, number in dataset.labels.names.items() if isinstance(number, int)}
    for value, name in segment_names(case.label).items():
        number = declared.get(key(name), value)
        if value in counts and number != value:
            message = f"The header calls the label {value} {name!r}, which is {number} in dataset.json."
            remedy = (
                "3D Slicer numbers segments anew in each file. Import the data (labels then go by their "
                "names), or give the structure the same number in all files."
            )
            yield warning("label_names", message, remedy, case=case.identifier, file=case.label)


def count_labels(array: Array) -> dict[int, int] | None:
    """How many voxels each value has, sorted by value; None if not all values are integers."""
    flat = array.reshape(-1)
    if flat.dtype.kind == "f":
        whole = np.rint(flat)
        # NaN is unequal to itself; beyond 2^53 a float64 cannot tell neighbouring integers apart.
        if not np.array_equal(whole, flat) or np.abs(whole).max(initial=0) > 2**53:
            return None
        flat = whole.astype(np.int64)
    low, high = (int(flat.min()), int(flat.max())) if flat.size else (0, 0)
    if low < 0 or high > np.iinfo(np.uint16).max:
        values, numbers = np.unique(flat, return_counts=True)
        return {int(value): int(number) for value, number in zip(values, numbers, strict=True)}
    counts = np.zeros(high + 1, np.int64)
    for start in range(0, flat.size, VOXELS_AT_ONCE):
        counts += np.bincount(flat[start : start + VOXELS_AT_ONCE], minlength=high + 1)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _examples(label: Image) -> str:
    if label.replaced:
        return f": {label.replaced} voxels are NaN or infinite"
    values = np.unique(label.array[np.rint(label.array) != label.array])
    return f", such as {', '.join(f'{value:g}' for value in values[:4])}" if values.size else ""
