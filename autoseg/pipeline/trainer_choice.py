"""``--trainers auto``: the trainers that suit a data set, the device and the budget, each with its reason."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoseg import plugins
from autoseg.errors import PlanError, UsageError
from autoseg.pipeline.prepare import Prepared
from autoseg.pipeline.settings import Settings
from autoseg.planner.explain.report import suitability
from autoseg.planner.networks import Hardware, network_facts
from autoseg.planner.plan import Plan
from autoseg.planner.suitability import Suitability
from autoseg.planner.trainer_facts import TrainerFacts, facts
from autoseg.system.device import find_device

if TYPE_CHECKING:
    from autoseg.tailoring.trainer_spec import Choice


log = logging.getLogger(__name__)


def _known_trainers() -> dict[str, TrainerFacts]:
    """What each trainer says of itself; what is installed and broken is named and left out."""
    found = {}
    for name in plugins.available("trainers"):
        try:
            found[name] = facts(name)
        except UsageError as problem:
            log.warning("%s is left out. %s", name, problem)
    return found


def suitable(prepared: Prepared, settings: Settings, device: str, folds: int) -> Suitability:
    """Choose the trainers, and log why each was taken or left.

    Args:
        prepared: the data set with nnU-Net's plan, all configurations in it.
        settings: budget, memory, configuration and first weights.
        device: ``cpu``, ``cuda`` or ``mps``.
        folds: how many are trained, so that a budget is shared by as many runs of each trainer.
    """
    from autoseg.tailoring.machine.kept import machine_named, share_now
    from autoseg.tailoring.network_facts import measure

    machine = machine_named(device)
    known = _known_trainers()
    imagenet = settings.init == "imagenet"
    # One that came later than the table, or from elsewhere, and says what it is for.
    measured = {name: measure(name) for name in known if known[name].auto and name not in network_facts()}
    situation, found = suitability(
        prepared.plan,
        prepared.fingerprint,
        Hardware.of(machine, settings.memory_gb, share_now(machine)),
        settings.total_s,
        max(folds, 1),
        list(known),
        frozenset(name for name, each in known.items() if each.pretrained_encoder and imagenet),
        settings.configuration,
        measured,
    )
    dimension = situation.dimension
    log.info("%s (%s): %s", dimension.value, dimension.confidence, dimension.decision.rule)
    for line in sentences_of(found):
        log.info("%s", line)
    if settings.total_s is not None:
        log.info("Of %.0f s, %s.", settings.total_s, found.allocation.sentence)
    return found


def sentences_of(found: Suitability) -> list[str]:
    """A line for each trainer that is taken, in order, then those left, with one reason together."""
    reasons = {verdict.trainer: verdict.reason for verdict in found.verdicts}
    taken = [f"+ {name}: {reasons.pop(name)}" for name in found.names]
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return taken + [f"- {', '.join(names)}: {reason}" for reason, names in groups.items()]


@dataclass(frozen=True)
class Chosen:
    """Trainers, and what each gets of the time.

    Attributes:
        choices: the trainers.
        fractions: of the time of all, by trainer, where `auto` alone chose; empty: all get the same.
    """

    choices: tuple[Choice, ...]
    fractions: Mapping[str, float] = field(default_factory=dict)


def choose_trainers(
    requested: Sequence[str], prepared: Prepared, settings: Settings | None = None, folds: int = 1
) -> tuple[Choice, ...]:
    """Trainers by name or by group, see `chosen_trainers`."""
    return chosen_trainers(requested, prepared, settings, folds).choices


def chosen_trainers(
    requested: Sequence[str], prepared: Prepared, settings: Settings | None = None, folds: int = 1
) -> Chosen:
    """Trainers by name or by group; of a group, those that can train this data set.

    Args:
        requested: trainer specs, or groups of trainers; ``auto`` takes what suits data, device and budget.
        prepared: the data set.
        settings: settings of the walk; None: ``auto`` is all that can train.
        folds: how many are trained.

    Raises:
        UsageError: for an unknown trainer, or a training that it does not have.
    """
    from autoseg.tailoring.spec_text import GROUPS
    from autoseg.tailoring.trainer_spec import Choice

    dimensions = {each.dimensions for each in prepared.plan.configurations.values()}
    chosen: list[Choice] = []
    fractions: Mapping[str, float] = {}
    for text in requested:
        if text == "auto" and settings is not None:
            device = find_device(settings.device).type
            suited = suitable(prepared, settings, device, folds)
            chosen += [Choice(name) for name in suited.names]
            if len(requested) == 1 and settings.total_s is not None:
                fractions = suited.allocation.fractions
            continue
        if text not in GROUPS:
            chosen.append(Choice.parse(text))
            continue
        for name in plugins.available("trainers"):
            trainer = plugins.trainer_class(name)
            wanted = {"documented": trainer.documented, "baselines": not trainer.documented}.get(text, True)
            if wanted and dimensions & set(trainer.dimensions):
                chosen.append(Choice(name))
    found = tuple({str(choice): choice for choice in chosen}.values())
    _check_files(found)
    return Chosen(found, fractions)


def _check_files(choices: Sequence[Choice]) -> None:
    """Two files with one name would train into one folder, as one trainer."""
    places: dict[str, str] = {}
    for choice in choices:
        place = plugins.PluginFile.of(choice.name).sha256 if choice.name.endswith(".py") else ""
        if places.setdefault(choice.trainer, place) != place:
            raise UsageError(
                f"Two different trainers are called {choice.trainer}; one is {choice.name}. Rename one."
            )


def is_runnable(choice: Choice, plan: Plan, configuration: str = "auto") -> bool:
    """Whether the plan has a configuration of a dimension that the trainer can train."""
    from autoseg.tailoring.tailored_plan import choose_configuration

    try:
        choose_configuration(plan, plugins.trainer_class(choice.name), configuration, cascade=True)
    except PlanError:
        return False
    return True
