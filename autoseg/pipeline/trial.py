"""One trial of a benchmark: one trainer on one fold, from the plan to its record.

A trial never takes others down with it: what fails or cannot run becomes a record that says so. Where a
trainer is an ensemble of orientations, a trial trains one run for each of them and is still one row; so it is
where a cascade's first stage is trained before.
"""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from autoseg.errors import PlanError
from autoseg.evaluation.requested import Measures, measures_of
from autoseg.evaluation.scoring import Evaluation, evaluate
from autoseg.inference.ensemble import predict_validation, save_ensemble
from autoseg.leaderboard.records.files import Record, read_records, write_record
from autoseg.pipeline.cascade import check_folds, first_stage_runs, write_held_out
from autoseg.pipeline.learned_pace import learn_from
from autoseg.pipeline.trial_record import Member, Trial, record_of, with_data_warnings, without_scores
from autoseg.planner.cascade import stage_of
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import preprocess_dataset
from autoseg.run import Checkpoint, Run
from autoseg.tailoring.decided_name import decided_name, find_plan, row_name
from autoseg.tailoring.fit_to_resources import too_few_steps
from autoseg.tailoring.request import raced
from autoseg.tailoring.tailored_plan import member_variants, tailor_members
from autoseg.tailoring.variant import Variant
from autoseg.training.training_run import train
from autoseg.workspace import Workspace

__all__ = [
    "Trial",
    "Member",
    "members_of",
    "plan_for",
    "plans_for",
    "preprocess_member",
    "row_of",
    "run_trial",
    "train_first_stage",
    "train_trial",
]

log = logging.getLogger(__name__)


def run_trial(trial: Trial, workspace: Workspace, workers: int | None = None) -> Record:
    """Take a trial from wherever it is to its record.

    Raises:
        KeyboardInterrupt: after an interrupt; everything finished so far stays.
    """
    try:
        members = members_of(trial, workspace)
    except PlanError as problem:
        log.warning("%s cannot run on %s: %s", trial.choice, trial.dataset.name, problem)
        return without_scores(trial, "impossible", str(problem))
    row = row_of(trial, members, workspace)
    if row.record.is_file():
        log.info("%s is done.", row.name)
        return read_records(row.record)[0]
    try:
        record = _walk(trial, row, members, workspace, workers)
    except Exception as problem:
        # Whatever a trainer raises is its row's, not the other rows' end.
        # Not recorded on disk: whoever runs the trial again wants it tried again.
        log.error("%s failed: %s", row.name, problem)
        log.debug("%s", traceback.format_exc())
        return without_scores(trial, "failed", f"{type(problem).__name__}: {problem}", row.configuration)
    write_record(row.record, record)
    return read_records(row.record)[0]


def train_trial(trial: Trial, workspace: Workspace, workers: int | None = None) -> Checkpoint:
    """Plan, preprocess and train a trial, without predicting or evaluating.

    Returns:
        The checkpoint; of an ensemble, the file that names its members.

    Raises:
        AutosegError: whatever stands in the way.
    """
    members = members_of(trial, workspace)
    row = row_of(trial, members, workspace)
    *_, last = _train(trial, row, members, workspace, workers)
    return last if len(members) == 1 else Checkpoint(row, row.ensemble, last.epoch)


def plan_for(variant: Variant, workspace: Workspace) -> Plan:
    """A variant's plan, or of an ensemble the first member's."""
    return plans_for(variant, workspace)[0]


def plans_for(variant: Variant, workspace: Workspace) -> tuple[Plan, ...]:
    """A variant's plans, one for each member: made once for all folds, then from disk.

    So a measured choice stays.

    Raises:
        PlanError: if the trainer cannot train on the data.
    """
    name = variant.dataset.name
    for members in ((variant,), member_variants(variant)):
        paths = [find_plan(workspace.preprocessed_of(name), each.plan_name) for each in members]
        found = [Plan.load(path) for path in paths if path is not None]
        if len(found) == len(paths):
            return tuple(found)
    if variant.request.race is not None:
        plain = variant.with_request(dataclasses.replace(variant.request, race=None))
        plans = tuple(_raced(plan, raced(variant.request)) for plan in plans_for(plain, workspace))
    else:
        made = tailor_members(variant)
        plans = tuple(dataclasses.replace(plan, name=decided_name(plan)) for plan in made)
    for plan in plans:
        plan.save(workspace.plan_of(name, plan.name))
    return plans


def _raced(plan: Plan, suffix: str) -> Plan:
    """The same plan for a run in a race: another name, and the schedule in its record."""
    training = plan.require_training()
    change = "raced: the learning rate falls before each look, and is full again after it"
    training = dataclasses.replace(training, changes=(*training.changes, change))
    return dataclasses.replace(plan, name=plan.name + suffix, training=training)


def members_of(trial: Trial, workspace: Workspace) -> tuple[Member, ...]:
    """The trainings that a trial consists of."""
    plans = plans_for(trial.variant, workspace)
    return tuple(
        Member(_run(trial, plan.name, plan.trained_configuration().name, workspace), plan) for plan in plans
    )


def row_of(trial: Trial, members: Sequence[Member], workspace: Workspace) -> Run:
    """Where the trial's predictions and record go: its only run's folder, or one for the ensemble."""
    if len(members) == 1:
        return members[0].run
    name = row_name(trial.variant.plan_name, [member.plan for member in members])
    return _run(trial, name, members[0].run.configuration, workspace)


def _run(trial: Trial, plan: str, configuration: str, workspace: Workspace) -> Run:
    return Run(
        dataset=trial.dataset.name,
        plan=plan,
        configuration=configuration,
        trainer=trial.choice.trainer,
        fold=trial.fold.index if trial.fold.index >= 0 else "all",
        seed=trial.request.seed,
        results=workspace.results,
    )


def _walk(
    trial: Trial, row: Run, members: Sequence[Member], workspace: Workspace, workers: int | None
) -> Record:
    # Before the training: a wish that cannot be met is not found out after it.
    measures = measures_of(trial.dataset, workspace.measures_of(trial.dataset.name))
    _train(trial, row, members, workspace, workers)
    runs = [member.run for member in members]
    predictions = predict_validation(row, runs, workspace, trial.request.device, trial.fold.validation)
    evaluation = _evaluated(trial, row, predictions, measures, workers)
    first = [first_stage_runs(member, trial.folds) for member in members]
    return with_data_warnings(record_of(trial, row, members, evaluation, first[0]), workspace)


@cache
def _warn_once(model: Path, few: str, has_folds: bool) -> None:
    """What holds for each fold of a model is said at the first."""
    fewer = ", or fewer folds (--folds 0)" if has_folds else ""
    log.warning("%s. Give more time (--budget)%s.", few, fewer)


def _train(
    trial: Trial, row: Run, members: Sequence[Member], workspace: Workspace, workers: int | None
) -> list[Checkpoint]:
    checkpoints = []
    for member in members:
        few = too_few_steps(member.plan, trial.choice)
        if few is not None:
            _warn_once(member.run.folder.parent, few, len(trial.folds) > 1)
        preprocess_member(trial, member, workspace, workers)
        train_first_stage(trial, member, workspace, workers)
        was_done = member.run.cost.is_file()
        checkpoints.append(train(member.run, workspace, trial.request.device))
        if not was_done and member.run.cost.is_file():
            learn_from(member, trial.request.device)
    if len(members) > 1:
        save_ensemble(row, [member.run for member in members])
    return checkpoints


def train_first_stage(trial: Trial, member: Member, workspace: Workspace, workers: int | None = None) -> None:
    """Of a cascade, train the first stage on every fold, and segment what each held out.

    What another fold's trial has done already is done.

    Raises:
        PlanError: if the folds hold out some cases never.
    """
    folds = [fold for fold in trial.folds if fold.index >= 0]
    runs = first_stage_runs(member, folds)
    if runs:
        check_folds(folds)
        low = Member(runs[0], stage_of(member.plan, runs[0].configuration))
        preprocess_member(trial, low, workspace, workers)
    for run, fold in zip(runs, folds, strict=False):
        was_done = run.cost.is_file()
        train(run, workspace, trial.request.device)
        if not was_done:
            learn_from(Member(run, low.plan), trial.request.device)
        predict_validation(run, [run], workspace, trial.request.device, fold.validation)
        write_held_out(run, fold, member.run, member.plan, workspace, trial.dataset.file_ending)


def preprocess_member(trial: Trial, member: Member, workspace: Workspace, workers: int | None = None) -> None:
    """Preprocess the cases as a training takes them, those that are not yet."""
    configuration = member.plan.configuration(member.run.configuration)
    folder = workspace.cases_of(member.run.dataset, configuration.data_identifier)
    preprocess_dataset(trial.dataset, member.plan, configuration, folder, workers)


def _evaluated(
    trial: Trial, run: Run, predictions: Path, measures: Measures, workers: int | None
) -> Evaluation:
    if run.evaluation.is_file():
        found = Evaluation.load(run.evaluation)
        if measures.met_by(found.settings):
            return found
    evaluation = evaluate(
        predictions,
        trial.dataset,
        cases=trial.fold.validation,
        pixel_sizes=measures.pixel_sizes,
        requested=measures.metrics,
        by_voxels=True,
        workers=workers,
    )
    evaluation.save(run.evaluation)
    return evaluation
