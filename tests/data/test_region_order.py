"""An order of regions gives every label back, or it is found out."""

from __future__ import annotations

import numpy as np
import pytest

from autoseg.data.dataset import Labels
from autoseg.data.region_order import lost_labels, working_order

NESTED = {"background": 0, "whole": (1, 2, 3), "middle": (1, 2), "core": 1}
SMALL_FIRST = {"background": 0, "core": 1, "middle": (1, 2), "whole": (1, 2, 3)}


@pytest.mark.parametrize(
    ("names", "order", "lost", "regions", "right"),
    [
        (NESTED, (3, 2, 1), {}, None, None),
        (NESTED, (1, 2, 3), {1: 3, 3: 1}, ("whole", "middle", "core"), (3, 2, 1)),
        (SMALL_FIRST, (1, 2, 3), {1: 3, 2: 3}, ("whole", "middle", "core"), (3, 2, 1)),
        # One region of several labels is all that is wanted: which of them is written does not matter.
        ({"background": 0, "any": (1, 2)}, (1,), {}, None, None),
        ({"background": 0, "any": (1, 2)}, (2,), {}, None, None),
        # Labels side by side with a region of both.
        ({"background": 0, "a": 1, "b": 2, "both": (1, 2)}, (1, 2, 1), {1: 1, 2: 1}, None, None),
        ({"background": 0, "a": (1, 2), "b": (2, 3)}, (1, 3), {2: 3}, None, None),
    ],
)
def test_orders(names: dict, order: tuple, lost: dict, regions: tuple | None, right: tuple | None) -> None:
    labels = Labels(names, order)
    found = lost_labels(labels)
    # A label that comes back as itself is not lost.
    assert found == {old: new for old, new in lost.items() if old != new}
    if right:
        assert working_order(labels) == (regions, right)


def test_what_is_proposed_gives_all_back() -> None:
    generator = np.random.default_rng(3)
    proposed = 0
    for _ in range(200):
        count = int(generator.integers(2, 5))
        regions = [
            tuple(sorted(generator.choice(count, generator.integers(1, count + 1), replace=False) + 1))
            for _ in range(int(generator.integers(1, 4)))
        ]
        names = {"background": 0, **{f"r{k}": tuple(map(int, region)) for k, region in enumerate(regions)}}
        labels = Labels(names, tuple(region[0] for region in regions))
        if labels.has_regions and (found := working_order(labels)):
            ordered, order = found
            again = Labels({"background": 0, **{name: names[name] for name in ordered}}, order)
            assert lost_labels(again) == {}
            proposed += 1
    assert proposed > 50


def test_regions_that_overlap_in_part_have_no_order() -> None:
    assert working_order(Labels({"background": 0, "a": (1, 2), "b": (2, 3)}, (1, 3))) is None
