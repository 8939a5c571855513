"""``--trainers auto``: the trainers that suit a data set, the device and the budget, each with its reason."""

from __future__ import annotations

import logging

from autoseg import plugins
from autoseg.planner.networks import Hardware
from autoseg.planner.report import suitability
from autoseg.planner.suitability import Suitability
from autoseg.prepare import Prepared, Settings

log = logging.getLogger(__name__)

# Trainers whose encoder takes the published ImageNet weights.
IMAGENET = frozenset(
    ("resnet34_mlp", "mobilenetv2_unet", "resnet50_unet", "unetplusplus", "deeplabv3", "deeplabv3plus")
)


def suitable(prepared: Prepared, settings: Settings, device: str, folds: int) -> Suitability:
    """Choose the trainers, and log why each was taken or left.

    Args:
        prepared: the data set with nnU-Net's plan, all configurations in it.
        settings: budget, memory, configuration and first weights.
        device: ``cpu``, ``cuda`` or ``mps``.
        folds: how many are trained, so that a budget is shared by as many runs of each trainer.
    """
    import torch

    situation, found = suitability(
        prepared.plan,
        prepared.fingerprint,
        Hardware.assumed(device, settings.memory_gb, torch.get_num_threads()),
        settings.budget_s,
        max(folds, 1),
        plugins.available("trainers"),
        IMAGENET if settings.init == "imagenet" else frozenset(),
        settings.configuration,
    )
    dimension = situation.dimension
    log.info("%s (%s): %s", dimension.value, dimension.confidence, dimension.decision.rule)
    for line in told(found):
        log.info("%s", line)
    return found


def told(found: Suitability) -> list[str]:
    """A line for each trainer: first those taken, in order, then those left."""
    reasons = {verdict.trainer: verdict.reason for verdict in found.verdicts}
    taken = [f"+ {name}: {reasons.pop(name)}" for name in found.names]
    return taken + [f"- {name}: {reason}" for name, reason in reasons.items()]
