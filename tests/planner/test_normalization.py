"""Which channels of which plan are clipped to percentiles."""

from __future__ import annotations

import pytest

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner import plan_experiment
from autoseg.planner.configuration import PERCENTILE
from autoseg.planner.normalization_schemes import with_percentiles
from autoseg.planner.plan import Plan


def plan_of(*channels: str, left_by_crop: float = 0.9) -> Plan:
    numbers = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}
    numbers |= {"percentile_99_5": 1.0, "percentile_00_5": 0.0}
    cases = 20
    fingerprint = Fingerprint(
        ((1.0, 1.0, 1.0),) * cases,
        ((40, 40, 40),) * cases,
        {index: numbers for index in range(len(channels))},
        left_by_crop,
    )
    about = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": {"background": 0, "organ": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    return plan_experiment(about, fingerprint, dataset_name="Dataset001_Small")


@pytest.mark.parametrize(
    ("channels", "requested", "taken"),
    [
        (("T1", "FLAIR"), False, (0, 1)),
        (("CT",), True, (0,)),
        (("CT", "PET"), False, (1,)),
        (("CT", "PET"), True, (0, 1)),
        (("T1", "noNorm"), True, (0,)),
        (("zscore", "T2", "rescale_to_0_1"), False, (1,)),
    ],
)
def test_a_name_that_asks_for_a_scheme_keeps_it(
    channels: tuple[str, ...], requested: bool, taken: tuple[int, ...]
) -> None:
    before = plan_of(*channels)
    after = with_percentiles(before, channels, requested)
    for name, configuration in after.configurations.items():
        planned = before.configuration(name)
        for index in range(len(channels)):
            if index in taken:
                assert configuration.normalization[index] == PERCENTILE
                assert configuration.use_mask_for_norm[index] is True
            else:
                assert configuration.normalization[index] == planned.normalization[index] != PERCENTILE
                assert configuration.use_mask_for_norm[index] == planned.use_mask_for_norm[index]
        assert configuration.data_identifier != planned.data_identifier
    (decision,) = [each for each in after.decisions if each.name == "normalization"]
    assert sum(PERCENTILE in told for told in decision.value) == len(taken)
    assert Plan.from_json(after.to_json()) == Plan.from_json(Plan.from_json(after.to_json()).to_json())


def test_a_default_changes_nothing_where_every_name_asks() -> None:
    plan = plan_of("CT")
    assert with_percentiles(plan, ("CT",), requested=False) is plan


def test_a_wish_that_no_channel_can_follow_is_refused() -> None:
    with pytest.raises(PlanError, match="noNorm"):
        with_percentiles(plan_of("noNorm"), ("noNorm",), requested=True)


def test_every_choice_of_channels_has_a_folder_of_its_own() -> None:
    channels = ("CT", "PET")
    plan = plan_of(*channels)
    plans = plan, with_percentiles(plan, channels, False), with_percentiles(plan, channels, True)
    folders = {each.configuration("3d_fullres").data_identifier for each in plans}
    assert folders == {
        "nnUNetPlans_3d_fullres",
        "nnUNetPlans_3d_fullres_percentile_1",
        "nnUNetPlans_3d_fullres_percentile",
    }
