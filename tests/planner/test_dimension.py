"""2D, 3D, low resolution or a cascade: on data whose right answer is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from cases import fingerprint, planned
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner.data_facts import DataFacts, coverage
from autoseg.planner.dimension import DimensionChoice, choose_dimension
from autoseg.planner.networks import Hardware
from autoseg.planner.plan import Decision

TWO_CORES = Hardware("cpu", 1.6e11)


def chosen(
    found: Fingerprint, hardware: Hardware | None = None, seconds: float | None = None
) -> DimensionChoice:
    plan = planned(found)
    return choose_dimension(plan, DataFacts.of(plan, found), hardware, seconds)


def ball(diameter: float) -> float:
    return math.pi / 6 * diameter**3


def test_a_single_slice_is_2d_without_doubt() -> None:
    choice = chosen(fingerprint((1, 300, 400), (999.0, 1.0, 1.0)))
    assert (choice.value, choice.confidence, choice.alternatives) == ("2d", "clear", ())
    assert choice.contenders == ("2d",)


def test_an_isotropic_volume_that_a_patch_sees_is_3d_without_doubt() -> None:
    choice = chosen(fingerprint((64, 64, 64), (1.0, 1.0, 1.0)))
    assert (choice.value, choice.confidence) == ("3d_fullres", "clear")
    assert [each.value for each in choice.alternatives] == ["2d"]
    assert "one of 64 slices" in choice.alternatives[0].reason


@pytest.mark.parametrize(
    ("slices", "value", "confidence"),
    [(3, "2d", "clear"), (7, "2d", "in doubt"), (10, "3d_fullres", "clear")],
)
def test_few_slices_are_2d(slices: int, value: str, confidence: str) -> None:
    choice = chosen(fingerprint((slices, 128, 128), (2.0, 1.0, 1.0)))
    assert (choice.value, choice.confidence) == (value, confidence)


def test_thick_slices_leave_it_open_and_2d_is_the_rival() -> None:
    choice = chosen(fingerprint((20, 320, 320), (3.6, 0.6, 0.6)))
    assert (choice.value, choice.confidence) == ("3d_fullres", "in doubt")
    assert choice.contenders == ("3d_fullres", "2d")
    assert choice.decision.inputs["anisotropy"] == 6.0


def test_thick_slices_with_thinner_structures_are_2d() -> None:
    thin = fingerprint((20, 320, 320), (3.6, 0.6, 0.6), structures={"nodule": ball(4.0)})
    assert chosen(thin).value == "2d"
    thick = fingerprint((20, 320, 320), (3.6, 0.6, 0.6), structures={"organ": ball(40.0)})
    assert chosen(thick).value == "3d_fullres"


LARGE = ((400, 512, 512), (1.0, 0.8, 0.8))  # a patch of 128^3 sees 102 to 128 mm of 400


@pytest.mark.parametrize(
    ("structures", "value", "confidence"),
    [
        (None, "3d_fullres", "in doubt"),
        ({"kidney": ball(45)}, "3d_fullres", "clear"),
        ({"spleen": ball(80)}, "3d_fullres", "in doubt"),
        ({"liver": ball(150), "vessel": ball(30)}, "3d_cascade_fullres", "in doubt"),
    ],
)
def test_what_a_patch_does_not_hold_needs_context(
    structures: dict[str, float] | None, value: str, confidence: str
) -> None:
    choice = chosen(fingerprint(*LARGE, structures=structures))
    assert (choice.value, choice.confidence) == (value, confidence)
    assert {each.value for each in choice.alternatives} == {
        "2d",
        "3d_lowres",
        "3d_fullres",
        "3d_cascade_fullres",
    } - {value}


@pytest.mark.parametrize(("smallest", "value"), [(30.0, "3d_lowres"), (4.0, "3d_fullres")])
def test_without_time_for_a_cascade_the_smallest_structure_decides(smallest: float, value: str) -> None:
    found = fingerprint(*LARGE, structures={"liver": ball(150), "lesion": ball(smallest)})
    # Short for two trainings, and not so short that 2D is the better one.
    assert chosen(found, TWO_CORES, 6000.0).value == value


def test_no_time_for_3d_is_2d_and_little_time_a_doubt() -> None:
    found = fingerprint((128, 128, 128), (1.0, 1.0, 1.0))
    assert chosen(found, TWO_CORES, 20.0).value == "2d"
    short = chosen(found, TWO_CORES, 300.0)
    assert (short.value, short.confidence, short.contenders[1]) == ("3d_fullres", "in doubt", "2d")
    assert short.decision.inputs["steps_in_3d"] < short.decision.inputs["steps_in_2d"]
    long = chosen(found, TWO_CORES, 1e5)
    assert (long.value, long.confidence) == ("3d_fullres", "clear")
    assert "steps_in_3d" not in long.decision.inputs


def test_where_the_data_leave_it_open_3d_has_to_have_enough_steps() -> None:
    clear = fingerprint((64, 64, 64), (1.0, 1.0, 1.0))
    few = fingerprint((64, 64, 64), (1.0, 1.0, 1.0), cases=3)
    between = next(
        seconds
        for seconds in np.geomspace(10, 1e5, 200)
        if 400 <= steps_in_3d(chosen(few, TWO_CORES, seconds)) < 1500
    )
    assert chosen(clear, TWO_CORES, between).value == "3d_fullres"
    assert chosen(few, TWO_CORES, between).value == "2d"
    assert "fewer than 1500 steps" in chosen(few, TWO_CORES, between).decision.rule
    assert chosen(few, TWO_CORES, 20 * between).value == "3d_fullres"


def steps_in_3d(choice: DimensionChoice) -> float:
    return float(choice.decision.inputs.get("steps_in_3d", math.inf))


def test_few_cases_raise_a_doubt() -> None:
    assert chosen(fingerprint((64, 64, 64), (1.0, 1.0, 1.0), cases=3)).confidence == "in doubt"


def test_a_plan_keeps_the_choice_with_its_alternatives() -> None:
    choice = chosen(fingerprint(*LARGE, structures={"liver": ball(150)}), TWO_CORES, 1e6)
    kept = Decision(**json.loads(json.dumps(choice.decision.to_json(), allow_nan=False)))
    assert [each["value"] for each in kept.inputs["alternatives"]] == [
        each.value for each in choice.alternatives
    ]
    assert kept.inputs["confidence"] == choice.confidence
    assert choice.decision.inputs["largest_structure"]["width"] == 150.0
    assert choice.decision.inputs["costs"]["trainings"] == 2


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(8, 500), st.integers(8, 500)),
    depth=st.floats(0.3, 12),
    cases=st.integers(1, 200),
    sizes=st.none() | st.lists(st.floats(0, 1e7), max_size=3),
    seconds=st.none() | st.floats(1, 1e6),
)
def test_every_data_set_gets_a_configuration_of_its_plan_with_reasons(
    shape: tuple[int, int, int], depth: float, cases: int, sizes: list[float] | None, seconds: float | None
) -> None:
    structures = None if sizes is None else {f"s{n}": size for n, size in enumerate(sizes)}
    found = fingerprint(shape, (depth, 1.0, 1.0), cases, structures)
    plan = planned(found)
    choice = choose_dimension(plan, DataFacts.of(plan, found), TWO_CORES, seconds)
    assert {choice.value, *(each.value for each in choice.alternatives)} == set(plan.configurations)
    assert choice.decision.rule and choice.decision.source
    json.dumps(choice.decision.to_json(), allow_nan=False)
    assert 0 < coverage(plan.configuration(choice.value)) <= 1
