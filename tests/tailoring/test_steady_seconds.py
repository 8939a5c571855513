"""A step is measured as it goes on, not as it begins; and a long one no more often than needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from autoseg.tailoring.machine import layers

CPU = torch.device("cpu")


def measured(monkeypatch: pytest.MonkeyPatch, durations: Iterator[float]) -> tuple[float, int]:
    """What is found, and how many rounds it took, by a clock that only work moves."""
    clock, rounds = [0.0], [0]

    def work() -> None:
        clock[0] += next(durations)
        rounds[0] += 1

    monkeypatch.setattr(layers, "now", lambda _: clock[0])
    return layers.steady_seconds(work, CPU), rounds[0]


def test_the_first_rounds_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As measured on a core of its own: the shortest of the two after the first was a half too long."""
    taken = iter([0.2056, 0.1331, 0.1374, 0.1335, 0.0911, 0.0875, 0.0880, 0.0896, 0.0903, 0.0898])
    found, _ = measured(monkeypatch, taken)
    assert found == pytest.approx(0.0888, rel=0.02)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.01, 9), (0.2, 5), (2.0, 3)])
def test_long_rounds_are_few(monkeypatch: pytest.MonkeyPatch, seconds: float, rounds: int) -> None:
    found, made = measured(monkeypatch, iter([seconds] * 20))
    assert (found, made) == (pytest.approx(seconds), rounds)
