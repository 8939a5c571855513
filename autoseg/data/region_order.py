"""What becomes of each label when regions are encoded, predicted without a fault, and written back.

Each region's head writes the label that ``regions_class_order`` names; later heads overwrite earlier ones. An
order that fits other regions than these loses labels without any other sign than a poor score.
"""

from __future__ import annotations

from collections.abc import Iterator

from autoseg.data.labels import Labels


def lost_labels(labels: Labels) -> dict[int, int]:
    """The labels that come back in other regions, each with what it comes back as; empty without regions."""
    if not labels.has_regions or labels.region_order is None:
        return {}
    regions = [set(values) for values in labels.structures.values()]
    return _lost(regions, labels.region_order, labels.all_values)


def working_order(labels: Labels) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """The names of the regions and an order for them that gives every label back; None if there is none.

    The regions stay in their order if that is possible; else the largest comes first.
    """
    names = list(labels.structures)
    largest_first = sorted(names, key=lambda name: -len(labels.structures[name]))
    for ordered in (names, largest_first):
        regions = [set(labels.structures[name]) for name in ordered]
        found = tuple(_last(regions, labels.all_values))
        if len(found) == len(regions) and not _lost(regions, found, labels.all_values):
            return tuple(ordered), found
    return None


def _last(regions: list[set[int]], values: tuple[int, ...]) -> Iterator[int]:
    """For each region a label that no later region overwrites, or else any label of it."""
    for index, region in enumerate(regions):
        later = set[int]().union(*regions[index + 1 :])
        own = [value for value in values if value in region - later] or sorted(region)
        yield own[0]


def _lost(regions: list[set[int]], order: tuple[int, ...], values: tuple[int, ...]) -> dict[int, int]:
    lost = {}
    for value in values:
        written = 0
        for region, label in zip(regions, order, strict=True):
            written = label if value in region else written
        if [value in region for region in regions] != [written in region for region in regions]:
            lost[value] = written
    return lost
