"""Slices along other axes than nnU-Net's: plans of three orientations, and when there are three."""

from __future__ import annotations

from itertools import permutations

import pytest

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError, UsageError
from autoseg.planner import plan_experiment
from autoseg.planner.orientation import orientation_decision, slicing_axes
from autoseg.planner.plan import Plan
from autoseg.planner.spacing import first_axis

Triple = tuple[float, float, float]

ABOUT = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 20,
    "file_ending": ".nii.gz",
    "overwrite_image_reader_writer": "SimpleITKIO",
}


def fingerprint(shape: tuple[int, int, int], spacing: Triple) -> Fingerprint:
    return Fingerprint((spacing,) * 20, (shape,) * 20, {0: {"mean": 0.0}}, 1.0)


def planned(shape: tuple[int, int, int] = (90, 120, 100), spacing: Triple = (1.5, 1.0, 0.8)) -> list[Plan]:
    """nnU-Net's plan, and one with slices along each axis."""
    found = fingerprint(shape, spacing)
    own = plan_experiment(ABOUT, found)
    return [own, *(plan_experiment(ABOUT, found, transpose=first_axis(axis)) for axis in range(3))]


def test_three_orders_have_three_axes_first() -> None:
    assert [first_axis(axis) for axis in range(3)] == [(0, 1, 2), (1, 0, 2), (2, 0, 1)]


def test_slices_have_the_spacing_and_size_of_the_other_two_axes() -> None:
    shape, spacing = (90, 120, 100), (1.5, 1.0, 0.8)
    own, *plans = planned(shape, spacing)
    for plan in plans:
        flat = plan.configuration("2d")
        assert flat.spacing == tuple(spacing[axis] for axis in plan.transpose[1:])
        assert flat.median_shape == tuple(shape[axis] for axis in plan.transpose[1:])
        assert plan.configuration("3d_fullres").spacing == tuple(spacing[axis] for axis in plan.transpose)
    assert plans[0].to_json()["configurations"] == own.to_json()["configurations"]


def test_preprocessed_cases_of_two_orientations_do_not_share_a_folder() -> None:
    own, *plans = planned()
    folders = [plan.configuration("2d").data_identifier for plan in plans]
    assert folders == ["nnUNetPlans_2d", "nnUNetPlans_2d_axes102", "nnUNetPlans_2d_axes201"]
    assert own.configuration("2d").data_identifier == "nnUNetPlans_2d"
    coarse_last = fingerprint((100, 120, 90), (0.8, 1.0, 1.5))
    unmoved = plan_experiment(ABOUT, coarse_last, transpose=(0, 1, 2)).configuration("2d")
    assert unmoved.data_identifier == "nnUNetPlans_2d_axes012"


def test_stock_nnunet_reads_the_three_transpositions() -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    for plan in planned()[1:]:
        manager = PlansManager(plan.to_json())
        forward, backward = list(manager.transpose_forward), list(manager.transpose_backward)
        assert forward == list(plan.transpose)
        assert [forward[axis] for axis in backward] == [0, 1, 2]
        configuration = manager.get_configuration("2d")
        assert configuration.patch_size == list(plan.configuration("2d").patch_size)
        assert configuration.data_identifier == plan.configuration("2d").data_identifier


def test_any_order_of_three_axes_can_be_given_and_nothing_else() -> None:
    found = fingerprint((90, 120, 100), (1.5, 1.0, 0.8))
    for order in permutations(range(3)):
        assert plan_experiment(ABOUT, found, transpose=order).transpose == order
    for wrong in ((0, 1), (0, 1, 1), (1, 2, 3)):
        with pytest.raises(PlanError, match="order of the axes"):
            plan_experiment(ABOUT, found, transpose=wrong)


@pytest.mark.parametrize(
    ("spacing", "wanted", "requested", "axes"),
    [
        ((1.0, 1.0, 1.0), 3, False, (0, 1, 2)),
        ((1.0, 1.0, 2.0), 3, False, (2, 0, 1)),
        ((1.0, 1.0, 2.0), 2, False, (2, 0)),
        ((1.0, 1.0, 2.0), 1, False, (2,)),
        ((5.0, 1.0, 1.0), 3, False, (0,)),
        ((5.0, 1.0, 1.0), 3, True, (0, 1, 2)),
    ],
)
def test_volumes_are_cut_along_as_many_axes_as_make_sense(
    spacing: Triple, wanted: int, requested: bool, axes: tuple[int, ...]
) -> None:
    plan = plan_experiment(ABOUT, fingerprint((90, 100, 100), spacing))
    assert slicing_axes(plan, "2d", wanted, requested) == axes
    assert orientation_decision(plan, "2d").value == [axes[0]]


def test_images_and_3d_networks_have_one_orientation() -> None:
    image = plan_experiment(ABOUT, fingerprint((1, 300, 400), (999.0, 1.0, 1.0)))
    assert slicing_axes(image, "2d", 3, requested=True) == (0,)
    volume = plan_experiment(ABOUT, fingerprint((90, 100, 100), (1.0, 1.0, 1.0)))
    assert slicing_axes(volume, "3d_fullres", 3) == (0,)


@pytest.mark.parametrize("wrong", [0, 4, "three"])
def test_there_are_no_other_numbers_of_orientations(wrong: int) -> None:
    plan = plan_experiment(ABOUT, fingerprint((90, 100, 100), (1.0, 1.0, 1.0)))
    with pytest.raises(UsageError, match="orientations"):
        slicing_axes(plan, "2d", wrong)
