"""A pilot: minutes of training in both dimensions, where the rules leave 2D or 3D in doubt.

nnU-Net trains both on all folds and lets cross-validation choose. A tenth of the time there is, on one fold,
answers the same question where it is open at all. What learns faster leads at first, and that says little: on
thick slices 2D led by 0.009 after two minutes (p 0.008) and was behind by 0.008 after 36
(benchmarks/results/pilot_walk.md). So both are trained twice, the second time for twice as long. What is to
replace the rules' choice has to be ahead by a paired test over cases, and still ahead at the end of the time
there is if the gap goes on changing by as much with each doubling.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence

import numpy as np

from autoseg import plugins
from autoseg.data.folds import Fold
from autoseg.errors import PlanError
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.statistics import wilcoxon
from autoseg.pipeline.prepare import Prepared
from autoseg.pipeline.trial import Trial, plan_for, run_trial
from autoseg.planner.budget import FEWEST_STEPS
from autoseg.planner.dimension import DimensionChoice
from autoseg.planner.plan import Decision
from autoseg.tailoring.choose_configuration import trained_configuration
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import dimension_of
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)

TRAINER = "nnunet"
# Of the time there is, and seconds for each dimension: below the least nothing is learnt that could tell.
FRACTION, LEAST_S, MOST_S = 0.1, 120.0, 900.0
# Of a dimension's seconds, those of its first training and of its second.
PARTS = (1 / 3, 2 / 3)
ALPHA = 0.05
SOURCE = (
    "autoseg: a pilot race, judged by Wilcoxon's signed-rank test over its held-out cases and by its trend"
)

RunTrial = Callable[[Trial, Workspace, int | None], Record]


def with_pilot(
    prepared: Prepared,
    trained: Sequence[Fold],
    choices: Sequence[Choice],
    request: Request,
    total_s: float | None,
    workspace: Workspace,
    workers: int | None = None,
) -> Request:
    """The request, with what a pilot found and with its time taken off, where there is need of one.

    Args:
        prepared: the data set.
        trained: the folds that will be reported.
        choices: the trainers; none is piloted for those with a dimension of their own.
        request: settings of a run, with its part of the budget.
        total_s: seconds for all runs together.
        workspace: where the walk's files lie.
        workers: processes for preprocessing.
    """
    lengths = pilot_seconds(total_s)
    if lengths is None or total_s is None or request.run_s is None:
        return request
    if request.configuration != "auto" or not any(map(follows_the_data, choices)):
        return request
    rules = dimension_of(prepared.plan, prepared.fingerprint, request)
    contenders = tuple(dict.fromkeys(map(trained_configuration, rules.contenders)))
    if len(contenders) < 2:
        return request
    reason = objection(prepared, contenders, dataclasses.replace(request, run_s=lengths[-1]), workspace)
    if reason is not None:
        log.info("2D or 3D is in doubt, but no pilot is run: %s", reason)
        return request
    left = request.run_s * (1 - len(contenders) * sum(lengths) / total_s)
    rest = dataclasses.replace(request, run_s=left)
    fold = pilot_fold(prepared.folds, trained)
    found = race_dimensions(prepared, rules, contenders, fold, rest, lengths, workspace, workers)
    return dataclasses.replace(rest, dimension=found)


def say_doubt(prepared: Prepared, choices: Sequence[Choice], request: Request) -> None:
    """Say that 2D or 3D is in doubt, where a trainer's dimension follows the data."""
    if request.configuration != "auto" or not any(map(follows_the_data, choices)):
        return
    found = dimension_of(prepared.plan, prepared.fingerprint, request)
    if found.confidence == "in doubt":
        others = ", ".join(each.value for each in found.alternatives)
        log.info(
            "%s is trained, but in doubt: %s. To try another (%s), give --configuration.",
            found.value,
            found.decision.rule,
            others,
        )


def follows_the_data(choice: Choice) -> bool:
    """Whether a trainer's dimension is decided from the data."""
    trainer = plugins.trainer_class(choice.name)
    return trainer.preferred_dimension is None and "plan_from" not in choice.options


def pilot_seconds(total_s: float | None) -> tuple[float, ...] | None:
    """Wall clock of each training of a dimension; None where a pilot is not worth its time."""
    if total_s is None:
        return None
    each = min(MOST_S, FRACTION * total_s / 2)
    return tuple(part * each for part in PARTS) if each >= LEAST_S else None


def objection(
    prepared: Prepared, contenders: Sequence[str], request: Request, workspace: Workspace
) -> str | None:
    """Why a pilot would tell nothing, if so: by its plans, from measured steps, it is too short.

    The plans are kept, so that whoever goes on with a walk comes to the same end.

    Args:
        prepared: the data set.
        contenders: configurations.
        request: settings of a run, with its seconds.
        workspace: where the walk's files lie.
    """
    for each in _requests(contenders, request):
        try:
            plan = plan_for(Variant(prepared.dataset, prepared.fingerprint, Choice(TRAINER), each), workspace)
        except PlanError as problem:
            return str(problem)
        (budget,) = (decision for decision in plan.decisions if decision.name == "budget")
        steps = budget.inputs["predicted_steps"]
        fact = f"{each.configuration} would make {steps} steps in {request.run_s:g} s"
        if steps < FEWEST_STEPS:
            return f"{fact}; {FEWEST_STEPS} are needed at least"
        if (budget.value["coarsening"], budget.value["patch_share"]) != (1.0, 1.0):
            return f"{fact}, and those on a coarser grid or a smaller patch than the rest of the time allows"
    return None


def _requests(contenders: Sequence[str], request: Request) -> list[Request]:
    return [dataclasses.replace(request, configuration=name, epochs=None) for name in contenders]


def pilot_fold(folds: Sequence[Fold], trained: Sequence[Fold]) -> Fold:
    """The last fold that is not reported, so that no reported case decides; without one, the last."""
    used = {fold.index for fold in trained}
    return ([fold for fold in folds if fold.index not in used] or list(folds))[-1]


def race_dimensions(
    prepared: Prepared,
    rules: DimensionChoice,
    contenders: Sequence[str],
    fold: Fold,
    request: Request,
    lengths: Sequence[float],
    workspace: Workspace,
    workers: int | None = None,
    run: RunTrial = run_trial,
) -> Decision:
    """Train nnU-Net in both dimensions for a while, and longer, and compare them case by case.

    Its runs lie beside the preprocessed data, since they are no rows of a leaderboard; what is done there is
    not done again.

    Args:
        prepared: the data set.
        rules: what was decided, in doubt.
        contenders: two configurations, the one decided on first.
        fold: the fold to train on and to compare on.
        request: device, memory and seed, with the seconds of the run that is decided on.
        lengths: seconds of a dimension's first training and of its second.
        workspace: where the walk's files lie.
        workers: processes for preprocessing.
        run: takes a trial to its record.
    """
    home = workspace.pilot_of(prepared.dataset.name)
    place = dataclasses.replace(workspace, results=home)
    records = []
    for length in lengths:
        for each in _requests(contenders, dataclasses.replace(request, run_s=length)):
            trial = Trial(prepared.dataset, prepared.fingerprint, prepared.folds, Choice(TRAINER), fold, each)
            records.append(run(trial, place, workers))
    found = _judged(rules, contenders, records, fold, request, lengths)
    fact = " and ".join(f"{length:g}" for length in lengths)
    log.info("Pilot, %s s each on fold %d: %s (%s)", fact, fold.index, found.value, found.rule)
    return found


def _judged(
    rules: DimensionChoice,
    contenders: Sequence[str],
    records: Sequence[Record],
    fold: Fold,
    request: Request,
    lengths: Sequence[float],
) -> Decision:
    chosen, other = contenders
    inputs = {**rules.decision.inputs, "fold": fold.index, "seconds_each": list(lengths)}
    if any(record.status in ("failed", "impossible") for record in records):
        rule = f"{rules.decision.rule}; a pilot was begun and one of its runs did not end"
        return dataclasses.replace(rules.decision, rule=rule, inputs=inputs)
    ours, theirs = (
        np.array([record.scores.case_scores("dice") for record in records[start::2]]) for start in (0, 1)
    )
    leads = (theirs - ours).mean(axis=1)
    p = float(wilcoxon((theirs - ours)[-1:])[0])
    assert request.run_s is not None
    at_the_end = lead_after(leads, lengths, request.run_s)
    inputs |= {
        "pilot_dice": {name: each.mean(axis=1).tolist() for name, each in ((chosen, ours), (other, theirs))},
        "p": p,
        "lead_at_the_end": at_the_end,
    }
    ahead = p < ALPHA and leads[-1] > 0
    if ahead and at_the_end > 0:
        rule = f"{other} in place of {chosen}, which a pilot found behind and not catching up in time"
        return Decision(rules.decision.name, other, rule, inputs, SOURCE)
    why = f"found behind {other}, but catching up" if ahead else f"did not find behind {other}"
    rule = f"{chosen}, which a pilot {why}; {rules.decision.rule}"
    return Decision(rules.decision.name, chosen, rule, inputs, SOURCE)


def lead_after(leads: Sequence[float], lengths: Sequence[float], seconds: float) -> float:
    """A lead after some time if it goes on changing by as much with each doubling of the time.

    Leads were seen to close by less and less with each doubling, so that this favours what catches up.

    Args:
        leads: leads after two trainings, in Dice.
        lengths: seconds of these two trainings.
        seconds: the time for which the lead is estimated.
    """
    (first, second), (short, long) = leads, lengths
    return float(second + (second - first) * math.log(seconds / long) / math.log(long / short))
