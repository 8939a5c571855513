"""The sample and its statistics, against numpy on everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autoseg.data import intensities
from autoseg.system.workers import Workers, forked

Singles = NDArray[np.float32]


def everything_at_once(samples: Sequence[NDArray[np.float64] | Singles | list[float]]) -> dict[str, float]:
    values = np.concatenate(samples)
    low, median, high = np.percentile(values, np.array((0.5, 50.0, 99.5)))
    return {
        "mean": float(np.mean(values)),
        "median": float(median),
        "std": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentile_99_5": float(high),
        "percentile_00_5": float(low),
    }


@st.composite
def foregrounds(draw: st.DrawFn) -> list[Singles | None]:
    """The foreground voxels of some cases, None where there are none: real-valued, integers or constants."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    cases: list[Singles | None] = []
    for _ in range(draw(st.integers(1, 7))):
        size = draw(st.one_of(st.integers(1, 40), st.integers(41, 5000)))
        kind = draw(st.sampled_from(["real", "whole", "constant", "wide"]))
        values = {
            "real": generator.normal(3, 100, size),
            "whole": generator.integers(-4, 5, size),
            "constant": np.full(size, 3.3),
            "wide": 10 ** generator.uniform(-5, 6, size),
        }[kind]
        cases.append(values.astype(np.float32) if draw(st.integers(0, 5)) else None)
    return cases if any(case is not None for case in cases) else [np.ones(1, np.float32)]


@settings(max_examples=60, deadline=None)
@given(foregrounds(), st.integers(10, 900_000))
def test_statistics_are_those_of_numpy_to_the_last_bit(cases: list[Singles | None], count: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intensities, "SAMPLES", count)
        samples = intensities.room_for_samples(2, len(cases))
    whole: list[NDArray[np.float64] | Singles | list[float]] = []
    for index, values in enumerate(cases):
        random = np.random.RandomState(1234)
        if values is None:
            whole.append([])
            continue
        intensities.draw([values, -values], samples.array[:, index])
        draws = count // len(cases)
        assert (samples.array[0, index] == random.choice(values, draws, replace=True)).all()
        whole.append(random.choice(-values, draws, replace=True))
    drawn = [index for index, values in enumerate(cases) if values is not None]
    if count // len(cases):
        assert intensities.statistics(samples, 1, drawn, Workers(None, 1)) == everything_at_once(whole)
    samples.close()


def test_draws_are_the_same_remembered_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(3000, dtype=np.float32)
    remembered, anew = np.zeros((3, 200_000), np.float32), np.zeros((3, 200_000), np.float32)
    intensities.draw([values] * 3, remembered)
    monkeypatch.setattr(intensities, "_REMEMBERED", 0)
    intensities.draw([values] * 3, anew)
    assert (remembered == anew).all()
    assert len(np.unique(remembered)) > 2900


def test_a_percentile_outside_its_range_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every value that is looked at to place the ranges is 0: they hold nothing of the rest.
    monkeypatch.setattr(intensities, "SAMPLES", 200_000)
    samples = intensities.room_for_samples(1, 1)
    samples.array[0, 0] = np.arange(200_000)
    samples.array[0, 0, :: intensities._STRIDE] = 0
    expected = everything_at_once([samples.array[0, 0].copy()])
    assert intensities.statistics(samples, 0, [0], Workers(None, 1)) == expected


def test_statistics_do_not_depend_on_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensities, "SAMPLES", 1_000_000)
    samples = intensities.room_for_samples(1, 2)
    samples.array[:] = np.random.default_rng(0).normal(size=samples.array.shape)
    alone = intensities.statistics(samples, 0, [0, 1], Workers(None, 1))
    with forked(2, 8) as processes:
        assert intensities.statistics(samples, 0, [0, 1], processes) == alone
