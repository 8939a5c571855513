"""Which held-out cases a race looks at on the way, and in which groups they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from autoseg.pipeline.trial import Trial
from autoseg.racing.cases import cases_of_look, groups_of, held_out, pooled

PATIENTS = [f"p{number:02d}" for number in range(20)]
IMAGES = [f"{patient}_{side}" for patient in PATIENTS for side in "ab"]
OF_PATIENTS = {image: image[:3] for image in IMAGES}


def trials_of(folds: Sequence[Sequence[str]], groups: Mapping[str, str] | None = None) -> list[Trial]:
    """As much of a trainer's runs as is asked here: two seeds of each fold."""
    dataset = SimpleNamespace(groups=groups or {})
    trials = [
        SimpleNamespace(fold=SimpleNamespace(index=index, validation=tuple(fold)), dataset=dataset)
        for index, fold in enumerate(folds)
        for _ in range(2)
    ]
    return cast("list[Trial]", trials)


def test_without_a_number_all_are_looked_at() -> None:
    trials = trials_of([PATIENTS[:9], PATIENTS[9:]])
    assert cases_of_look(trials, None) == cases_of_look(trials, 99) == held_out(trials) == tuple(PATIENTS)
    assert groups_of(trials) is None


@pytest.mark.parametrize("most", [8, 9, 12])
def test_as_many_of_every_fold_spread_over_it(most: int) -> None:
    found = cases_of_look(trials_of([PATIENTS[:10], PATIENTS[10:]]), most)
    assert sum(case in PATIENTS[:10] for case in found) == sum(case in PATIENTS[10:] for case in found)
    assert most <= len(found) <= most + 1
    places = [PATIENTS.index(case) for case in found]
    assert places == sorted(places) and max(np.diff(places)) <= 3


def test_one_case_of_each_group_first() -> None:
    trials = trials_of([IMAGES], OF_PATIENTS)
    found = cases_of_look(trials, 12)
    assert len({OF_PATIENTS[case] for case in found}) == 12
    assert groups_of(trials, found) is None  # every case is its own
    more = cases_of_look(trials, 24)
    assert len(more) == 24 and {OF_PATIENTS[case] for case in more} == set(PATIENTS)
    assert groups_of(trials, more) == tuple(OF_PATIENTS[case] for case in more)
    assert groups_of(trials) == tuple(OF_PATIENTS[case] for case in sorted(IMAGES))


def test_a_case_counts_with_its_mean_over_the_runs_and_an_empty_one_as_right() -> None:
    def table(**dice: float) -> Any:
        return SimpleNamespace(cases=tuple(dice), case_scores=lambda _: list(dice.values()))

    assert pooled([table(b=0.5, a=float("nan")), table(a=0.8, b=0.7)]) == pytest.approx([0.9, 0.6])
