"""Training one run: from a plan to a checkpoint, on time, and resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from autoseg import nnunet, plugins
from autoseg.errors import RunError
from autoseg.planner.cascade import stage_of
from autoseg.planner.plan import Plan
from autoseg.run import Checkpoint, Run
from autoseg.system.files import read_json
from autoseg.system.lease import NAME as LEASE
from autoseg.system.lease import hold
from autoseg.system.process_memory import forget_peak
from autoseg.training import team
from autoseg.training.checkpoint_files import load_newest, remove_resumable, remove_torn
from autoseg.training.cost import write_cost
from autoseg.training.legs import Leg, save_rung
from autoseg.training.out_of_memory import MemoryLimits, changes, is_out_of_memory
from autoseg.training.prediction_time import prediction_seconds
from autoseg.training.second_look import is_off, keep, kept, planned_anew, planned_step_s
from autoseg.training.second_look import words as second_words
from autoseg.training.team_launch import train_on
from autoseg.training.tracking import Tracking, about
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

log = logging.getLogger(__name__)

# What remains after the last step besides prediction: writing the checkpoint and closing the log.
CLOSING_SECONDS = 3.0
# Mirrored prediction is left out where it would take more than this part of a run's time.
LARGEST_MIRRORING_FRACTION = 0.12
# What is left for training at least, of a run whose prediction takes nearly all of its time.
LEAST_TRAINING_FRACTION = 0.02
# Part of a run's time that its prediction takes at most where its training is to be worth something.
PREDICTION_FRACTION = 0.5
# As many of the best checkpoints predict as fit into this part of a run's time, at least one.
LARGEST_CHECKPOINTS_FRACTION = 0.2


def train(run: Run, workspace: Workspace, device: torch.device, leg: Leg | None = None) -> Checkpoint:
    """Train a run, or go on with it, or return at once if it is done.

    The plan must lie in the workspace and the cases must be preprocessed. Under a budget (in the plan) the
    time of the final prediction is measured first and set aside.

    Args:
        run: what is trained.
        workspace: where everything lies.
        device: where to compute.
        leg: where to pause, for a training that is judged on the way; None: train to the end.

    Returns:
        The final checkpoint; of a training that has paused, the one that it goes on from.

    Raises:
        RunError: if training cannot go on, or another process trains this run; the message says what it was.
        KeyboardInterrupt: after an interrupt, with a checkpoint written.
    """
    nnunet.activate(workspace)
    if not _is_done(run):
        with hold(run.folder / LEASE):
            remove_torn(run.folder)
            if run.final_checkpoint.is_file():
                _account(run, workspace, device)
            elif (places := team.chosen()).count > 1:
                return train_on(places, run, workspace, device, leg)
            else:
                return train_here(run, workspace, device, leg)
    return Checkpoint(run, run.final_checkpoint, _epoch_of(run))


def _is_done(run: Run) -> bool:
    return run.final_checkpoint.is_file() and run.cost.is_file()


def _account(run: Run, workspace: Workspace, device: torch.device) -> None:
    """Write the cost of a training that was stopped between its last checkpoint and that."""
    if _is_done(run):  # by whoever held the lease before
        return
    with _standard_output_to_log():
        trainer = _build(run, workspace, device)
        trainer.load_checkpoint(str(run.final_checkpoint))
    write_cost(run, trainer, trainer.elapsed_s, 0.0)
    remove_resumable(run.folder)


def train_here(run: Run, workspace: Workspace, device: torch.device, leg: Leg | None = None) -> Checkpoint:
    """Train, with smaller steps where memory runs out, and others where they take longer than planned."""
    planned, looked = kept(run.folder, _plan_of(run, workspace), run.configuration)
    limits = MemoryLimits(workspace.memory_limits_of(run.dataset), run.trainer, device)
    plan, spent = limits.applied(planned, run.configuration), 0.0
    # A second look: once, and not where several processes would have to agree on it.
    looks = team.active().size == 1
    while True:
        found = changes(planned.configuration(run.configuration), plan.configuration(run.configuration))
        outcome = _attempt(run, workspace, device, leg, plan, spent, [*looked, *found], looks)
        if isinstance(outcome, Checkpoint):
            return outcome
        # Only here, where no traceback holds the tensors any more, is their memory free.
        spent = outcome.spent_s
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if outcome.planned_anew is None:
            plan = limits.lowered(plan, run.configuration)
        else:
            # What memory changes from here on is compared with this.
            planned = plan = outcome.planned_anew
            looked, looks = [*looked, *outcome.words], False
            keep(run.folder, plan, run.configuration, looked)


@dataclasses.dataclass(frozen=True)
class Unfinished:
    """A training that goes on with other steps.

    Attributes:
        spent_s: seconds so far.
        planned_anew: the plan after a second look; None: memory ran out.
        words: what a second look changed.
    """

    spent_s: float
    planned_anew: Plan | None = None
    words: list[str] = dataclasses.field(default_factory=list)


class _PlannedAnew(Exception):
    """Ends a training that goes on with another plan; never leaves `_attempt`."""

    def __init__(self, plan: Plan, words: list[str]) -> None:
        super().__init__()
        self.plan, self.words = plan, words


def _attempt(
    run: Run,
    workspace: Workspace,
    device: torch.device,
    leg: Leg | None,
    plan: Plan,
    spent: float,
    memory_changes: list[str],
    looks: bool,
) -> Checkpoint | Unfinished:
    """Train with the steps of a plan to the end, or until memory runs out or a second look finds others.

    Args:
        run: what is trained.
        workspace: where everything lies.
        device: where to compute.
        leg: where to pause.
        plan: with the steps.
        spent: seconds of attempts before.
        memory_changes: what memory and a second look changed, in words.
        looks: whether there is a second look.
    """
    began = time.monotonic()
    forget_peak(device)
    with _standard_output_to_log():
        trainer = _build(run, workspace, device, plan)
        spent_before = trainer.elapsed_s = max(trainer.elapsed_s, spent)
        trainer.leg, trainer.memory_changes = leg, memory_changes
        _begin_watching(run, trainer)
        finished = False
        with _stop_on_signal(trainer):
            try:
                _set_budget(trainer, run, workspace, began, leg)
                if looks and leg is None and planned_step_s(plan, run.configuration) is not None:
                    setup_s = time.monotonic() - began
                    trainer.second_look = partial(_second_look, trainer, run, workspace, plan, setup_s)
                trainer.run_training()
                finished = not trainer.paused
            except _PlannedAnew as found:
                spent_s = _put_away(trainer, spent_before + time.monotonic() - began)
                return Unfinished(spent_s, found.plan, found.words)
            except KeyboardInterrupt:
                _save_for_resume(trainer)
                raise
            except Exception as problem:
                if not is_out_of_memory(problem) or team.active().size > 1:
                    raise
                return Unfinished(_put_away(trainer, spent_before + time.monotonic() - began))
            finally:
                _close_loaders(trainer)
                trainer.tracking.end(finished)
                trainer.meter.end()
    if trainer.paused:
        return _at_rung(trainer, run, leg, spent_before, time.monotonic() - began)
    if trainer.team.leads:
        write_cost(run, trainer, spent_before, time.monotonic() - began)
        remove_resumable(run.folder)
    return Checkpoint(run, run.final_checkpoint, trainer.current_epoch)


def _put_away(trainer: Trainer, spent_s: float) -> float:
    """Leave a checkpoint to go on from after so many seconds, which are given back."""
    trainer.elapsed_s = spent_s
    _save_for_resume(trainer)
    return spent_s


def _begin_watching(run: Run, trainer: Trainer) -> None:
    """Loggers and the meter of energy belong to the process that leads."""
    if trainer.team.leads:
        trainer.tracking = Tracking.begin(about(run, trainer))
        trainer.meter.begin()


def _second_look(trainer: Trainer, run: Run, workspace: Workspace, plan: Plan, setup_s: float) -> None:
    """Plan batch, patch and the time for the prediction anew, where steps are not what was planned.

    Raises:
        _PlannedAnew: where batch or patch change.
    """
    planned_s = planned_step_s(plan, run.configuration)
    made_s, total = trainer.timing.step_s, trainer.spec.run_s
    if planned_s is None or made_s is None or total is None:
        return
    ratio = made_s / planned_s
    if not is_off(ratio):
        return
    log.info("%s: a step takes %.2g s, and %.2g s were planned.", run.name, made_s, planned_s)
    left_s = total - trainer.elapsed_s - CLOSING_SECONDS
    found = planned_anew(plan, run.configuration, ratio, left_s, trainer.reserved_s)
    if found is not None:
        raise _PlannedAnew(found, second_words(plan, found, run.configuration, ratio))
    _set_budget(trainer, run, workspace, time.monotonic() - setup_s)


def _at_rung(trainer: Trainer, run: Run, leg: Leg | None, spent_before: float, seconds: float) -> Checkpoint:
    """Leave what a paused training has come to: a model of its own, and what it cost."""
    if leg is not None and leg.place is not None:
        rung = dataclasses.replace(run, results=leg.place)
        save_rung(trainer, rung.final_checkpoint)
        for name in ("plans.json", "dataset.json"):
            shutil.copyfile(run.model_folder / name, rung.model_folder / name)
        trainer.mirrored_prediction = False
        write_cost(rung, trainer, spent_before, seconds)
    return Checkpoint(run, run.latest_checkpoint, trainer.current_epoch)


def _plan_of(run: Run, workspace: Workspace) -> Plan:
    return stage_of(Plan.load(workspace.plan_of(run.dataset, run.plan)), run.configuration)


def _build(run: Run, workspace: Workspace, device: torch.device, plan: Plan | None = None) -> Trainer:
    """The trainer, its network built, and loaded where there is something to go on from."""
    plan = plan or _plan_of(run, workspace)
    dataset_json = read_json(workspace.dataset_json_of(run.dataset), RunError)
    file = None if plan.training is None else plan.training.trainer_file
    trainer_class = plugins.trainer_of_plan(run.trainer, file, f"The run {run.name}")
    trainer: Trainer = trainer_class(plan.to_json(), run.configuration, run.fold, dict(dataset_json), device)
    trainer.initialize()
    if load_newest(run.folder, trainer.load_checkpoint):
        # The steps may have become smaller since.
        trainer.my_init_kwargs["plans"] = plan.to_json()
        log.info("%s goes on after step %d (%.0f s).", run.name, trainer.steps_done, trainer.elapsed_s)
    return trainer


def _set_budget(
    trainer: Trainer, run: Run, workspace: Workspace, began: float, leg: Leg | None = None
) -> None:
    """Set aside the time that the prediction will take.

    Where that takes too much, fewer of the best checkpoints predict, and without mirroring.
    """
    total = trainer.spec.run_s
    if total is None or trainer.train_s is None:
        return
    if leg is not None and leg.run_s is not None:
        trainer.train_s *= leg.run_s / total
        total = leg.run_s
    if leg is not None and leg.place is not None:
        return  # before a pause it does not matter yet what the prediction at the end will take
    # nnU-Net knows the axes to mirror along only when its loaders are made, which comes later.
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    # Trained on every case, there is none left to predict.
    plain, once = (0.0, 0.0) if run.fold == "all" else prediction_seconds(trainer, run, workspace)
    if trainer.best_checkpoints:
        trainer.best_checkpoints = checkpoints_that_fit(trainer.best_checkpoints, plain, total)
        plain *= trainer.best_checkpoints
    mirrored = plain * 2 ** len(trainer.inference_allowed_mirroring_axes or ())
    trainer.mirrored_prediction = trainer.mirroring and mirrored <= LARGEST_MIRRORING_FRACTION * total
    reserved = once + (mirrored if trainer.mirrored_prediction else plain)
    trainer.reserved_s = reserved
    _refuse_prediction(run, reserved, total)
    left = total - reserved - CLOSING_SECONDS - (time.monotonic() - began)
    trainer.train_s = max(left, LEAST_TRAINING_FRACTION * total)
    log.info(
        "%s: %.0f s for training, %.0f s for predicting the fold%s.",
        run.name,
        trainer.train_s,
        reserved,
        "" if trainer.mirrored_prediction else " (without mirrored copies)",
    )


def _refuse_prediction(run: Run, seconds: float, total: float) -> None:
    """Refuse a run whose time its prediction alone would pass: it could neither train nor end in time.

    Raises:
        RunError: in that case; the message says how much would be enough.
    """
    if seconds > (1 - LEAST_TRAINING_FRACTION) * total:
        raise RunError(
            f"Predicting the held-out cases alone would take {seconds:.0f} s of the {total:.0f} s of "
            f"{run.name}. Give a budget of at least {seconds / PREDICTION_FRACTION / 60:.1f} min a run, "
            f"fewer trainers or folds, or a smaller network."
        )


def checkpoints_that_fit(wanted: int, seconds: float, total: float) -> int:
    """How many checkpoints predict within their share of a run's time.

    Args:
        wanted: at most this many.
        seconds: time that one takes.
        total: seconds of the run.
    """
    share = LARGEST_CHECKPOINTS_FRACTION * total
    return next((count for count in range(wanted, 1, -1) if count * seconds <= share), 1)


def _save_for_resume(trainer: Trainer) -> None:
    if trainer.steps_done and trainer.dataloader_train is not None:  # else it has not begun again
        trainer.save_for_resuming()


def _close_loaders(trainer: Trainer) -> None:
    """End the processes of nnU-Net's own loaders: they inherit our signal handlers, so nothing else does."""
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()


@contextlib.contextmanager
def _stop_on_signal(trainer: Trainer) -> Iterator[None]:
    """Let a first Ctrl-C (or a scheduler's SIGTERM, SIGUSR2) end the training between two steps."""
    try:
        previous = {
            number: signal.signal(number, lambda *_: setattr(trainer, "stop_requested", True))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
        }
    except ValueError:  # not the main thread: its owner handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _standard_output_to_log() -> Iterator[None]:
    """Keep nnU-Net's prints off standard output, which belongs to results."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
    sys.stdout.flush()


def _epoch_of(run: Run) -> int:
    cost: Mapping[str, Any] = json.loads(run.cost.read_text()) if run.cost.is_file() else {}
    return int(cost.get("epochs", 0))
