"""Two trainings in one plan: what is whose."""

from __future__ import annotations

import dataclasses

from bare_trainers import ABOUT, fingerprint_of

from autoseg.data.dataset import labels_from_json
from autoseg.planner import plan_experiment
from autoseg.planner.cascade import CASCADE, LOWRES, first_stage, joined, stage_channels, stage_of
from autoseg.planner.explain.explain import explain
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.training_spec import TrainingSpec

BASE = plan_experiment(ABOUT, fingerprint_of((400, 512, 512)))


def of_stage(name: str, steps: int) -> Plan:
    """The plan of one stage's training, as it is tailored: with a decision of its own."""
    budget = Decision("budget", {"steps": steps}, "what fits", {"predicted_steps": steps}, "test")
    return dataclasses.replace(
        BASE,
        configurations={name: BASE.configurations[name]},
        decisions=(*BASE.decisions, budget),
        training=TrainingSpec(
            trainer="nnunet", configuration=name, run_s=steps / 10, changes=(f"{steps} steps",)
        ),
    )


PLAN = joined(of_stage(LOWRES, 100), of_stage(CASCADE, 50))


def steps_of(plan: Plan) -> int:
    (found,) = (each.inputs["predicted_steps"] for each in plan.decisions if each.name == "budget")
    return int(found)


def test_the_second_stage_is_what_a_cascade_is_made_for() -> None:
    assert list(PLAN.configurations) == [LOWRES, CASCADE]
    assert PLAN.trained_configuration().name == CASCADE and steps_of(PLAN) == 50
    low = first_stage(PLAN)
    assert low is not None and low.name == LOWRES and low.next_stage == CASCADE
    assert first_stage(BASE) is None and first_stage(of_stage(LOWRES, 1)) is None


def test_the_first_stage_gets_its_own_training_back() -> None:
    for plan in (PLAN, Plan.from_json(PLAN.to_json())):
        low = stage_of(plan, LOWRES)
        assert low.training == of_stage(LOWRES, 100).training and steps_of(low) == 100
        names = sorted(each.name for each in low.decisions)
        assert names == sorted(each.name for each in of_stage(LOWRES, 100).decisions)
        assert stage_of(plan, CASCADE) is plan and stage_of(low, LOWRES) is low
        assert list(low.configurations) == [LOWRES, CASCADE] and low.name == plan.name


def test_a_trainer_finds_the_training_of_its_configuration() -> None:
    document = PLAN.to_json()
    assert TrainingSpec.of_document(document, LOWRES).changes == ("100 steps",)
    assert TrainingSpec.of_document(document, CASCADE).changes == ("50 steps",)
    assert TrainingSpec.of_document(stage_of(PLAN, LOWRES).to_json(), LOWRES).changes == ("100 steps",)


def test_both_budgets_are_explained() -> None:
    groups = {(each.group, each.decision.name) for each in explain(dataclasses.replace(PLAN, decisions=()))}
    assert not groups
    budgets = [each.name for each in PLAN.decisions if each.name.endswith("budget")]
    assert sorted(budgets) == [f"{LOWRES}.budget", "budget"]


def test_a_second_stage_has_a_channel_for_each_label() -> None:
    labels = labels_from_json({**ABOUT, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}})
    assert stage_channels(BASE.configurations[CASCADE], labels) == 2
    assert stage_channels(BASE.configurations[LOWRES], labels) == 0
    regions = {"labels": {"background": 0, "both": [1, 2], "b": 2}, "regions_class_order": [1, 2]}
    assert stage_channels(BASE.configurations[CASCADE], labels_from_json({**ABOUT, **regions})) == 2
