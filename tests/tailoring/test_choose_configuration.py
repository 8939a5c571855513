"""Which configuration a trainer takes: asked for, its own, or as the data decide."""

from __future__ import annotations

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import file_of

from autoseg.errors import PlanError
from autoseg.planner import plan_experiment
from autoseg.planner.dimension import DimensionChoice, requested_dimension
from autoseg.planner.plan import Plan
from autoseg.system.machine_model import VARIABLE
from autoseg.tailoring.choose_configuration import choose_configuration
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import dimension_of
from autoseg.training.trainer import Trainer

LARGE = fingerprint_of((160, 200, 180))
VOLUMES = plan_experiment(ABOUT, LARGE)
CPU = torch.device("cpu")


class follows(Trainer):
    """A trainer that follows the data."""


class slices(Trainer):
    """A documented system for slices."""

    preferred_dimension = 2


class only_2d(Trainer):
    """A trainer without a 3D network."""

    dimensions = (2,)


def decided(name: str, plan: Plan = VOLUMES) -> DimensionChoice:
    return requested_dimension(plan, name)


def test_the_data_decide_for_whom_has_no_dimension_of_its_own() -> None:
    name, decisions = choose_configuration(VOLUMES, follows, "auto", decided("2d"))
    assert name == "2d" and [each.name for each in decisions] == ["dimension", "configuration"]
    name, decisions = choose_configuration(VOLUMES, slices, "auto", decided("3d_fullres"))
    assert name == "2d" and [each.name for each in decisions] == ["configuration"]
    assert choose_configuration(VOLUMES, only_2d, "auto", decided("3d_fullres"))[0] == "2d"
    assert choose_configuration(VOLUMES, follows, "auto")[0] == "3d_fullres"


def test_of_a_cascade_the_full_resolution_is_trained() -> None:
    plan = plan_experiment(ABOUT, fingerprint_of((400, 512, 512)))
    assert "3d_cascade_fullres" in plan.configurations
    name, (dimension, chosen) = choose_configuration(
        plan, follows, "auto", decided("3d_cascade_fullres", plan)
    )
    assert (name, dimension.value, chosen.value) == ("3d_fullres", "3d_cascade_fullres", "3d_fullres")
    assert choose_configuration(plan, follows, "auto", decided("3d_lowres", plan))[0] == "3d_lowres"


def test_what_is_asked_for_overrides() -> None:
    name, decisions = choose_configuration(VOLUMES, follows, "3d_fullres", decided("2d"))
    assert name == "3d_fullres" and [each.rule for each in decisions] == ["requested"]
    with pytest.raises(PlanError, match="trains in 2D"):
        choose_configuration(VOLUMES, only_2d, "3d_fullres")


def test_too_short_a_time_for_volumes_leaves_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(file_of("slow")))
    assert dimension_of(VOLUMES, LARGE, Request(CPU, run_s=36000.0)).value == "3d_fullres"
    assert dimension_of(VOLUMES, LARGE, Request(CPU, run_s=30.0)).value == "2d"


def test_a_network_of_one_stage_is_refused_with_its_patch() -> None:
    from autoseg.tailoring.tailored_plan import _refuse_single_stage
    from autoseg.tailoring.trainer_spec import Choice

    tiny = plan_experiment(ABOUT, fingerprint_of((6, 7, 7)))
    with pytest.raises(PlanError, match="nnunet cannot train patches of 6x7x7 voxels"):
        _refuse_single_stage(tiny.configuration("3d_fullres"), Choice("nnunet"))
    _refuse_single_stage(VOLUMES.configuration("3d_fullres"), Choice("nnunet"))
