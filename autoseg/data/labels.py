"""Labels and regions of a data set, as nnU-Net understands them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Region = int | tuple[int, ...]


@dataclass(frozen=True)
class Labels:
    """The labels or regions of a data set, with the meaning that nnU-Net's LabelManager gives them.

    Attributes:
        names: name to label, or to the labels that make up a region, in the order of dataset.json.
        region_order: ``regions_class_order``: the label that each region's head writes, in head order.
        ignore: the label of voxels without annotation.
    """

    names: Mapping[str, Region]
    region_order: tuple[int, ...] | None = None
    ignore: int | None = None

    @property
    def has_regions(self) -> bool:
        """Whether training is on overlapping regions, which needs a sigmoid per head."""
        return any(isinstance(value, tuple) and len(value) > 1 for value in self.names.values())

    @property
    def all_values(self) -> tuple[int, ...]:
        """Every value that a label file may hold, background included, the ignore label left out."""
        return tuple(sorted({v for name, value in self._annotated() for v in _values(value)}))

    @property
    def foreground(self) -> tuple[Region, ...]:
        """Labels or regions without the background; the order of the heads."""
        if self.has_regions:
            return tuple(value for _, value in self._annotated() if set(_values(value)) != {0})
        return self.foreground_values

    @property
    def foreground_values(self) -> tuple[int, ...]:
        """`all_values` without the background's: a cascade's second stage has a channel for each."""
        return tuple(value for value in self.all_values if value != 0)

    @property
    def num_heads(self) -> int:
        """Output channels of a network: one per region, or one per label with the background."""
        return len(self.foreground) if self.has_regions else len(self.all_values)

    @property
    def structures(self) -> dict[str, tuple[int, ...]]:
        """What is evaluated: each foreground label or region by name, as the label values in it."""
        return {name: _values(value) for name, value in self._annotated() if set(_values(value)) != {0}}

    def _annotated(self) -> Iterable[tuple[str, Region]]:
        return ((name, value) for name, value in self.names.items() if name != "ignore")


def _values(value: Region) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
