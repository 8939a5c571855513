"""Names beside the points of a figure: all where there is room, only the readable ones where there is not."""

from __future__ import annotations

import itertools

from autoseg.leaderboard.page.scatter import _box, _labels, _overlap


def test_few_points_all_have_their_names() -> None:
    names = ["nnunet", "unet", "mednext_s"]
    assert None not in _labels(names, [(80.0, 40.0), (200.0, 120.0), (320.0, 200.0)], [0], [])


def test_in_a_crowd_the_cheapest_and_the_best_are_named_and_no_two_names_cover_each_other() -> None:
    names = [f"resnet50_unet {number}" for number in range(18)]
    places = [(200.0 + number, 60.0 + 2 * number) for number in range(18)]
    labels = _labels(names, places, [0, 17], [])
    assert labels[0] and labels[17] and None in labels
    boxes = [
        _box(label, 7.4 * len(name)) for label, name in zip(labels, names, strict=True) if label is not None
    ]
    for one, other in itertools.combinations(boxes, 2):
        assert _overlap(one, [other]) <= 0.3 * (one[2] - one[0]) * (one[3] - one[1])
