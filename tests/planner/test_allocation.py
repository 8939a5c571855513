"""The time is divided so that the best model is expected to be best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.planner.allocation import OVERHEAD_S, SPREAD, allocate, expected_best, shortfall, steps_in
from autoseg.planner.budget import FEWEST_STEPS
from autoseg.planner.learning import gap, patch_loss, spacing_loss, width_loss

RATES = st.lists(st.floats(0.05, 100.0), min_size=1, max_size=8)


def named(rates: list[float]) -> dict[str, float]:
    return {f"trainer_{number}": rate for number, rate in enumerate(rates)}


@given(RATES, st.floats(60.0, 1e5), st.booleans())
def test_the_parts_are_the_whole_and_everyone_is_decided_on(
    rates: list[float], run_s: float, widens: bool
) -> None:
    found = allocate(named(rates), run_s, widening=named(rates) if widens else ())
    assert sum(found.fractions.values()) == pytest.approx(1.0)
    assert next(iter(found.fractions)) == "trainer_0"
    assert {*found.fractions, *found.left} == set(named(rates)) and not {*found.fractions} & {*found.left}
    if len(found.fractions) > 1:
        for name, fraction in found.fractions.items():
            assert steps_in(named(rates)[name], fraction * run_s) >= FEWEST_STEPS


@given(RATES, st.floats(60.0, 1e5))
def test_no_trainer_is_worse_than_the_first_alone(rates: list[float], run_s: float) -> None:
    alone = expected_best([shortfall(rates[0], run_s, False)])
    assert allocate(named(rates), run_s).expected >= alone - 1e-12


def test_few_steps_go_to_one_and_many_are_divided() -> None:
    six = named([5.0] * 6)
    counts = [len(allocate(six, seconds).fractions) for seconds in (120.0, 360.0, 3600.0, 36000.0)]
    assert counts[:2] == [1, 1] and counts == sorted(counts) and counts[-1] > counts[-2] > 1
    short = allocate(six, 360.0)
    assert short.sentence.startswith("trainer_0 alone gets all of the time")
    assert (
        "steps of trainer_0 instead of" in short.left["trainer_1"] or "none learns" in short.left["trainer_1"]
    )


def test_what_is_slow_gets_more_of_the_time_and_fewer_of_the_steps() -> None:
    found = allocate({"first": 20.0, "quick": 20.0, "slow": 5.0}, 20000.0)
    assert found.fractions["slow"] == pytest.approx(2 * found.fractions["quick"])
    assert found.fractions["first"] == pytest.approx(1 / 3), "its rate is that of its narrowest network"


def test_of_equal_trainers_the_best_is_better_by_the_known_factor() -> None:
    """The expected largest of two standard normal values is 1 / sqrt(pi)."""
    many = expected_best([0.0, 0.0])
    assert many == pytest.approx(0.5642 * SPREAD, rel=1e-2)
    assert expected_best([0.0]) == pytest.approx(0.0, abs=1e-6)
    assert shortfall(1e9, 1000.0, False) == pytest.approx(width_loss(16))
    assert shortfall(1e9, 1000.0, True) == pytest.approx(width_loss(32))
    assert steps_in(10.0, OVERHEAD_S) == 0


def test_what_a_network_gains_by_its_width_counts_for_its_time() -> None:
    """Hearts in 18 minutes: half of it bought another trainer, and cost the first its wider network."""
    rates = {"nnunet": 7.0, "nnunet_resenc_m": 5.0}
    assert len(allocate(rates, 1080.0).fractions) == 2
    assert list(allocate(rates, 1080.0, widening=rates).fractions) == ["nnunet"]
    assert len(allocate(rates, 36000.0, widening=rates).fractions) == 2
    narrow, wide = shortfall(7.0, 540.0, True), shortfall(7.0, 1080.0, True)
    assert narrow - wide > 0.004 > shortfall(7.0, 540.0, False) - shortfall(7.0, 1080.0, False)


def test_steps_are_worth_less_and_less() -> None:
    assert gap(1500) == pytest.approx(0.012) and gap(3000) == pytest.approx(0.006)
    assert gap(1500, batch=32) == pytest.approx(0.006)
    assert gap(0) > gap(1) > gap(400) == pytest.approx(0.045)
    assert width_loss(8) - width_loss(16) == pytest.approx(0.009)
    assert width_loss(None) == 0.0 and width_loss(32) < width_loss(16) / 2
    assert patch_loss(1.0) == 0.0 and patch_loss(0.125) == pytest.approx(9 * patch_loss(0.5))
    # A structure that takes four times as much of the image loses four times as much.
    assert patch_loss(0.5, 0.4) == pytest.approx(4 * patch_loss(0.5, 0.1))
    assert spacing_loss(1.0, 0.0) == 0.0 and spacing_loss(2.0, 48.0) > spacing_loss(1.25, 48.0)
