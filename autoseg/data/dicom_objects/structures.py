"""What label values stand for in a DICOM object: structures with numbers, codes and colours."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.data.codes import UNKNOWN, Coded
from autoseg.data.dicom_objects.texts import short_names
from autoseg.data.image import Array
from autoseg.data.labels import Labels

# Each hue is this part of a circle after the one before it: the golden ratio keeps any number of them apart.
_TURN = 0.618034


@dataclass(frozen=True)
class Structure:
    """A label or region.

    Attributes:
        number: from 1, without gaps, in the order of dataset.json.
        name: as dataset.json has it.
        label: the name as an element holds it, see `short_names`; no other structure has it.
        values: the label values in it.
        coded: what it is.
    """

    number: int
    name: str
    label: str
    values: tuple[int, ...]
    coded: Coded

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that stand for it in an object."""
        return self.name, self.label, self.coded.category.meaning, self.coded.type.meaning

    @property
    def colour(self) -> tuple[int, int, int]:
        """A colour (red, green, blue) of 0 to 255, another one for each number."""
        red, green, blue = colorsys.hsv_to_rgb((self.number - 1) * _TURN % 1, 0.75, 0.95)
        return round(255 * red), round(255 * green), round(255 * blue)

    def mask(self, labels: Array) -> Array:
        """Where a segmentation has it."""
        found: Array = np.isin(labels, self.values)
        return found


def structures_of(labels: Labels, codes: Mapping[str, Coded]) -> tuple[Structure, ...]:
    """The structures that a data set's models predict; neither the background nor the ignore label is one.

    Args:
        labels: labels or regions.
        codes: what some of them are, by name.
    """
    named = list(labels.structures.items())
    if not labels.has_regions:
        named.sort(key=lambda each: each[1])
    shown = short_names([name for name, _ in named])
    return tuple(
        Structure(number, name, shown[number - 1], values, codes.get(name, UNKNOWN))
        for number, (name, values) in enumerate(named, 1)
    )


def overlap(structures: Sequence[Structure]) -> bool:
    """Whether one voxel may belong to two of them."""
    values = [value for structure in structures for value in structure.values]
    return len(values) != len(set(values))
