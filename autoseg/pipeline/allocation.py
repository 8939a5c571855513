"""What each trainer gets of the time: as `auto` divided it, less those whose plans show too few steps.

A choice is made once: it depends on what the machine was doing, and whoever goes on with a walk has to come
to the same runs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.folds import Fold
from autoseg.errors import AutosegError, PlanError
from autoseg.pipeline.prepare import Prepared
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainer_choice import Chosen, chosen_trainers
from autoseg.planner.budget import FEWEST_STEPS
from autoseg.system.files import digest, read_json, write_json
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.tailoring.request import Request
    from autoseg.tailoring.trainer_spec import Choice

log = logging.getLogger(__name__)


def kept_choice(
    prepared: Prepared, settings: Settings, folds: Sequence[Fold], workspace: Workspace
) -> Chosen:
    """The trainers of a walk; what `auto` chose for the same request before is chosen again.

    Args:
        prepared: the data set.
        settings: settings of the walk.
        folds: the folds that are trained.
        workspace: where the walk's files lie.

    Raises:
        UsageError: for an unknown trainer, or a training that it does not have.
    """
    from autoseg.tailoring.trainer_spec import Choice

    if "auto" not in settings.trainers or settings.total_s is None:
        return chosen_trainers(settings.trainers, prepared, settings, len(folds))
    path = _file_of(prepared, settings, folds, workspace)
    try:
        document = read_json(path)
        return Chosen(tuple(map(Choice.parse, document["trainers"])), document["fractions"])
    except (AutosegError, KeyError, TypeError):
        pass  # not chosen yet
    chosen = chosen_trainers(settings.trainers, prepared, settings, len(folds))
    write_json(path, {"trainers": list(map(str, chosen.choices)), "fractions": dict(chosen.fractions)})
    return chosen


def _file_of(prepared: Prepared, settings: Settings, folds: Sequence[Fold], workspace: Workspace) -> Path:
    """Where a choice lies: one file for each request."""
    from autoseg.tailoring.machine.kept import given_key

    about = {
        **{
            key: value
            for key, value in dataclasses.asdict(settings).items()
            if key not in ("workers", "accept")
        },
        "groups": str(settings.groups),
        "folds": [fold.index for fold in folds],
        "fingerprint": prepared.fingerprint.hash,
        "machine": given_key(),
    }
    return workspace.preprocessed_of(prepared.dataset.name) / f"auto_{digest(about)[:8]}.json"


def requests_of(
    prepared: Prepared,
    choices: Sequence[Choice],
    fractions: Mapping[str, float],
    request: Request,
    workspace: Workspace,
) -> list[tuple[Choice, Request]]:
    """What the runs of each trainer have to keep to.

    Trainers that `auto` chose are planned first. What the plan of one allows too few steps is left out, and
    its time goes to the rest; the last one stays in any case.

    Args:
        prepared: the data set.
        choices: the trainers.
        fractions: of the time of a fold, by trainer; empty: all get the same, and nobody is left out.
        request: what a run with an equal part of the time has to keep to.
        workspace: where the plans lie.
    """
    if not fractions or request.run_s is None:
        return [(choice, request) for choice in choices]
    total_s, left = request.run_s * len(choices), list(choices)
    while True:
        whole = sum(fractions[choice.name] for choice in left)
        found = [
            (each, dataclasses.replace(request, run_s=round(total_s * fractions[each.name] / whole, 1)))
            for each in left
        ]
        if len(left) == 1:
            return found
        problems = {choice.name: _problem(prepared, choice, each, workspace) for choice, each in found}
        kept = [choice for choice in left if problems[choice.name] is None] or left[:1]
        if kept == left:
            return found
        for choice in left:
            if choice not in kept:
                log.info("- %s: %s. Its time goes to the rest.", choice, problems[choice.name])
        left = kept


def _problem(prepared: Prepared, choice: Choice, request: Request, workspace: Workspace) -> str | None:
    """Why a trainer is left out after all, if so: by its plan, from measured steps, its time is too short."""
    from autoseg.pipeline.trial import plans_for
    from autoseg.tailoring.fit_to_resources import predicted_steps
    from autoseg.tailoring.variant import Variant

    try:
        plans = plans_for(Variant(prepared.dataset, prepared.fingerprint, choice, request), workspace)
    except PlanError as problem:
        return str(problem).rstrip(".")
    steps = min((found for found in map(predicted_steps, plans) if found is not None), default=FEWEST_STEPS)
    if steps >= FEWEST_STEPS:
        return None
    return f"{request.run_s:.0f} s allow {steps} steps, and below {FEWEST_STEPS} none learns"
