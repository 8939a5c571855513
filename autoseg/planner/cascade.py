"""A cascade: two trainings under one plan, the second with the first one's segmentation as further input.

The first sees whole organs at low resolution, the second their borders at full resolution (Isensee et al.,
Nature Methods 2021). nnU-Net finds the first stage by the name of the second one's plan, so both stages have
one plan, with both configurations. What belongs to the first training alone stands in it beside the second
one's: its entry ``training`` in the provenance, its decisions under the name of its configuration.
"""

from __future__ import annotations

import dataclasses

from autoseg.data.labels import Labels
from autoseg.planner.configuration import Configuration
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.training_spec import FIRST_STAGE, TrainingSpec

CASCADE = "3d_cascade_fullres"
LOWRES = "3d_lowres"
# Configurations whose spacing belongs to the data: a budget makes their grids no coarser.
STAGES = (LOWRES, CASCADE)


def joined(first: Plan, second: Plan) -> Plan:
    """The plan of a cascade, made for its second training.

    Args:
        first: a plan with the one configuration of the first stage, made for its training.
        second: the same of the second stage; the result has its name.
    """
    (low,), (full,) = first.configurations, second.configurations
    known = set(map(_words, second.decisions))
    own = [
        dataclasses.replace(each, name=f"{low}.{each.name}")
        for each in first.decisions
        if _words(each) not in known and each.name != "configuration"
    ]
    spec = first.require_training()
    return dataclasses.replace(
        second,
        configurations={low: first.configurations[low], full: second.configurations[full]},
        decisions=(*second.decisions, *own),
        provenance={
            **second.provenance,
            FIRST_STAGE: {
                "training": spec.to_json(),
                "configuration": spec.configuration,
                "decisions": [each.name for each in own],
            },
        },
    )


def stage_of(plan: Plan, configuration: str) -> Plan:
    """A plan as the training of one of its configurations sees it: of a first stage, with what is its own.

    Args:
        plan: any plan.
        configuration: the one that is trained.
    """
    own = plan.provenance.get(FIRST_STAGE)
    if own is None or own["configuration"] != configuration:
        return plan
    prefix, names = f"{configuration}.", own["decisions"]
    moved = {each.name.removeprefix(prefix): each for each in plan.decisions if each.name in names}
    decisions = [each for each in plan.decisions if each.name not in moved and each.name not in names]
    decisions += [dataclasses.replace(each, name=name) for name, each in moved.items()]
    return dataclasses.replace(
        plan,
        decisions=tuple(decisions),
        provenance={key: value for key, value in plan.provenance.items() if key != FIRST_STAGE},
        training=TrainingSpec.from_json(own["training"], configuration),
    )


def first_stage(plan: Plan) -> Configuration | None:
    """The configuration of the first stage of what a plan is made for; None: it is no cascade."""
    if plan.training is None or (name := plan.trained_configuration().previous_stage) is None:
        return None
    return plan.configuration(name)


def stage_channels(configuration: Configuration, labels: Labels) -> int:
    """Input channels beside the image's: of a second stage, one for each foreground label."""
    return 0 if configuration.previous_stage is None else len(labels.foreground_values)


def _words(decision: Decision) -> str:
    """A decision as text: its inputs are no keys of a set."""
    return repr(decision.to_json())
