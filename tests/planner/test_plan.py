"""Plans as data: nnU-Net's format in and out."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import PlanError
from autoseg.planner.plan import Decision, Plan

SharedData = Callable[[str], Path]

REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
NAMES = sorted(path.name for path in REFERENCE.iterdir() if path.is_dir())


def reference(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REFERENCE / name / "plan.json").read_text())
    return document


@pytest.fixture
def cascade() -> dict[str, Any]:
    """A plan with all four configurations, as nnU-Net writes it."""
    document = reference("Dataset030_MSLesion")
    full = document["configurations"]["3d_fullres"]
    low = copy.deepcopy(full) | {"next_stage": "3d_cascade_fullres", "spacing": [2.0, 2.0, 2.0]}
    document["configurations"] |= {
        "3d_lowres": low,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    return document


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_of_nnunet_comes_back_as_it_was(name: str) -> None:
    assert Plan.from_json(reference(name)).to_json() == reference(name)


@pytest.mark.parametrize("task", ["002_Heart", "003_Liver", "009_Spleen"])
@pytest.mark.parametrize("preset", ["nnunet", "nnunet_resenc_m", "nnunet_resenc_l"])
def test_published_plans_come_back_as_they_were(task: str, preset: str, shared_data: SharedData) -> None:
    document = json.loads((shared_data("msd_reference") / task / f"plans_{preset}.json").read_text())
    assert Plan.from_json(document).to_json() == document


def test_inheritance_is_resolved(cascade: dict[str, Any]) -> None:
    plan = Plan.from_json(cascade)
    full, last = plan.configuration("3d_fullres"), plan.configuration("3d_cascade_fullres")
    assert last == dataclasses.replace(full, name=last.name, previous_stage="3d_lowres")
    assert plan.configuration("3d_lowres").next_stage == "3d_cascade_fullres"
    assert plan.to_json() == cascade


def test_a_cascade_that_differs_is_written_in_full(cascade: dict[str, Any]) -> None:
    cascade["configurations"]["3d_cascade_fullres"]["batch_size"] = 7
    plan = Plan.from_json(cascade)
    assert plan.configuration("3d_cascade_fullres").batch_size == 7
    assert plan.configuration("3d_fullres").batch_size != 7
    written = plan.to_json()["configurations"]["3d_cascade_fullres"]
    assert written["batch_size"] == 7 and "inherits_from" not in written
    assert Plan.from_json(plan.to_json()) == plan


def test_foreign_entries_are_kept(cascade: dict[str, Any]) -> None:
    cascade["continue_training"] = False
    cascade["configurations"]["2d"]["oversample"] = 0.5
    assert Plan.from_json(cascade).to_json() == cascade


def test_decisions_and_provenance_survive_the_disk(tmp_path: Path) -> None:
    decision = Decision("3d_fullres.batch_size", 2, "as memory allows", {"by_memory": 2}, "nnU-Net 2.8.1")
    plan = dataclasses.replace(
        Plan.from_json(reference("Dataset040_CTOrgans")),
        decisions=(decision,),
        provenance={"preset": "nnunet", "memory_gb": 8},
    )
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written.pop("autoseg")["decisions"][0]["rule"] == "as memory allows"
    assert written == reference("Dataset040_CTOrgans")


def test_the_way_back_undoes_the_transposition() -> None:
    plan = dataclasses.replace(Plan.from_json(reference("Dataset004_Hippocampus")), transpose=(2, 0, 1))
    assert plan.transpose_backward == (1, 2, 0)
    assert [plan.transpose[axis] for axis in plan.transpose_backward] == [0, 1, 2]


def test_what_is_no_plan_is_refused(cascade: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no configuration '3d_huge'"):
        Plan.from_json(cascade).configuration("3d_huge")
    with pytest.raises(PlanError, match="There is no file"):
        Plan.load(tmp_path / "nothing.json")
    with pytest.raises(PlanError, match="no entry"):
        Plan.from_json({"dataset_name": "x"})
    del cascade["configurations"]["2d"]["patch_size"]
    with pytest.raises(PlanError, match=r"'2d' of the plan .* no entry 'patch_size'"):
        Plan.from_json(cascade)


def test_inheritance_that_leads_nowhere_is_refused(cascade: dict[str, Any]) -> None:
    entries = cascade["configurations"]
    entries["3d_fullres"]["inherits_from"] = "3d_cascade_fullres"
    with pytest.raises(PlanError, match="in a circle"):
        Plan.from_json(cascade)
    entries["3d_fullres"]["inherits_from"] = "4d"
    with pytest.raises(PlanError, match="inherits from '4d'"):
        Plan.from_json(cascade)


def test_the_format_of_old_plans_is_named(cascade: dict[str, Any]) -> None:
    cascade["configurations"]["2d"]["UNet_class_name"] = "PlainConvUNet"
    with pytest.raises(PlanError, match=r"before 2\.5"):
        Plan.from_json(cascade)
