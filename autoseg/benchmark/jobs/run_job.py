"""What each job does: the walk's own stages, each from disk to disk.

Within a run, ``train``, ``predict`` and ``evaluate`` hold the lease of the run's folder, so that no second
process trains the same run, whichever command started it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg.benchmark.jobs.board import Board, Outcome
from autoseg.benchmark.jobs.devices import use_cores
from autoseg.benchmark.jobs.foreign_data import add_foreign, bring_in
from autoseg.benchmark.jobs.graph import Job, Stage
from autoseg.benchmark.suite.matrix import MatrixCell, choice_of, request_of
from autoseg.benchmark.suite.suite import DEMO
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import chosen_folds, folds_from_json, folds_to_json
from autoseg.errors import DataError, PlanError, RunError
from autoseg.pipeline import prepare
from autoseg.preprocessing.dataset import link_references
from autoseg.system.files import digest, read_json
from autoseg.system.lease import NAME as LEASE_NAME
from autoseg.system.lease import hold
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.leaderboard.records.files import Record
    from autoseg.pipeline.trial import Trial
    from autoseg.run import Run

log = logging.getLogger(__name__)

TRACE_LINES = 40


class Impossible(Exception):
    """A trainer cannot run on a data set or device; the message gives the reason."""


def run_job(board: Board, job: Job, wait_s: float = 0.0, workers: int | None = None) -> Outcome:
    """Run one job and leave its outcome; what a job raises becomes its failure, never another's.

    Args:
        board: the benchmark's state.
        job: whose needs are settled.
        wait_s: how long to wait for another process that is at it.
        workers: processes for reading and preprocessing; None: what the job asks a scheduler for.

    Raises:
        Held: if another process is at it to the end of the wait.
        KeyboardInterrupt: after an interrupt, or a scheduler's SIGTERM or SIGUSR2; the job is not failed.
    """
    with stopping_on_signals(), hold(board.lease_of(job), wait_s=wait_s, on_lost=_stop_myself):
        known = board.read(job)
        upstream = board.upstream(job)
        # Another process may have finished it while this one waited.
        if wait_s and known is not None and known.state != "failed" and dict(known.upstream) == upstream:
            return known
        began = time.monotonic()
        outcome = _attempt(_Work(board, job, workers or job.resources.cpus))
        done = dataclasses.replace(outcome, upstream=upstream, seconds=round(time.monotonic() - began, 2))
        if known is not None and known.value == done.value and job.stage != "leaderboard":
            if dict(known.upstream) == upstream and known.state == "done":
                # As it was: an engine that goes by the times of files is not to begin anew.
                return known
            # What is found done takes a moment; what it once took is worth more.
            done = dataclasses.replace(done, seconds=max(known.seconds, done.seconds))
        board.write(done)
        return done


def _attempt(work: _Work) -> Outcome:
    name = work.job.id
    try:
        return Outcome(name, "done", result=WORK[work.job.stage](work))
    except (Impossible, PlanError) as problem:
        return Outcome(name, "impossible", str(problem))
    except Exception as problem:
        log.error("%s failed: %s", name, problem)
        message = str(problem) or "no message"
        reason = (
            message if isinstance(problem, DataError | RunError) else f"{type(problem).__name__}: {message}"
        )
        lines = traceback.format_exc().splitlines()[-TRACE_LINES:]
        return Outcome(name, "failed", reason, trace="\n".join(lines))


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Let a scheduler's SIGTERM and SIGUSR2 end the work as Ctrl-C does, so that leases are released."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    try:
        previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGUSR2)}
    except ValueError:  # not the main thread: its owner handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop_myself() -> None:
    """Another process took the job over: end this one as a scheduler would."""
    os.kill(os.getpid(), signal.SIGTERM)


class _Work:
    """One job at work: a method per stage (see `WORK`), each returning what later jobs go by."""

    def __init__(self, board: Board, job: Job, workers: int) -> None:
        self.board, self.job, self.workers = board, job, workers
        self.workspace: Workspace = board.graph.workspace

    @property
    def cell(self) -> MatrixCell:
        return self.job.run

    def dataset(self) -> Dataset:
        cell = self.cell
        return load_dataset(self.workspace.find_raw(cell.source), Path(cell.groups) if cell.groups else None)

    def fitted(self) -> Mapping[str, Any]:
        """The result of the job that fitted this run's plan."""
        fit = next(job for job in self.board.graph.of("fit") if job.cell == self.cell.variant)
        outcome = self.board.read(fit)
        if outcome is None or outcome.state == "failed":
            raise RunError(f"The plan was not fitted: {outcome.reason if outcome else 'not tried yet'}")
        if outcome.state == "impossible":
            raise Impossible(outcome.reason)
        return outcome.result

    def run_import(self) -> dict[str, Any]:
        source = self.cell.source
        if self.job.given:
            bring_in(self.job, self.workspace, self.workers)
        if source in DEMO and not (self.workspace.raw / source / "dataset.json").is_file():
            from autoseg.data.synthetic import make_demo

            with hold(self.workspace.raw / ".demo.lease.json", wait_s=600):
                make_demo(self.workspace.raw)
        return {"state": prepare.raw_state(self.dataset())}

    def run_verify(self) -> dict[str, Any]:
        dataset = self.dataset()
        accept = tuple(filter(None, self.cell.accept.split(",")))
        report = prepare.fit_for_training(dataset, self.workspace, self.workers, accept)
        return {"cases": report.cases, "warnings": len(report.findings)}

    def run_fingerprint(self) -> dict[str, Any]:
        return {"hash": prepare.fingerprinted(self.dataset(), self.workspace, self.workers).hash}

    def run_plan(self) -> dict[str, Any]:
        """nnU-Net's plan, the folds, and the references where nnU-Net's validation looks for them."""
        dataset = self.dataset()
        fingerprint = prepare.fingerprinted(dataset, self.workspace, self.workers)
        plan = prepare.planned(dataset, fingerprint, self.workspace, "nnunet", self.cell.memory_gb)
        folds = prepare.split(dataset, self.workspace)
        link_references(dataset, self.workspace.references_of(dataset.name))
        return {"configurations": list(plan.configurations), "folds": digest(folds_to_json(folds))}

    def run_fit(self) -> dict[str, Any]:
        """The plan, or of an ensemble the plans; the device is the one that all later stages are of."""
        from autoseg.pipeline.trial import plans_for
        from autoseg.system.device import find_device
        from autoseg.tailoring.variant import Variant

        use_cores(self.job.resources.cpus)
        dataset, device = self.dataset(), find_device(self.cell.device)
        fingerprint = prepare.fingerprinted(dataset, self.workspace, self.workers)
        choice, request = choice_of(self.cell), request_of(self.cell, device)
        plans = plans_for(Variant(dataset, fingerprint, choice, request), self.workspace)
        names = {plan.name: plan.trained_configuration().name for plan in plans}
        return {"plans": names, "device": str(device)}

    def run_preprocess(self) -> dict[str, Any]:
        """Every folder of preprocessed cases that the plans before ask for, once."""
        jobs = [self.board.graph.by_id[need] for need in self.job.needs]
        found = [outcome for job in jobs if (outcome := self.board.read(job))]
        plans = {name: at for each in found for name, at in each.result.get("plans", {}).items()}
        dataset = self.dataset()
        folders: dict[str, int] = {}
        problems: dict[str, Exception] = {}
        for name, configuration in plans.items():
            identifier = self._identifier(name, configuration)
            if identifier in folders or identifier in problems:
                continue
            try:
                folders[identifier] = self._preprocess(dataset, name, configuration)
            except Exception as problem:
                # Whoever trains on it fails with this very reason, and nobody else.
                log.error("%s was not preprocessed: %s", identifier, problem)
                problems[identifier] = problem
        if problems and not folders:
            raise next(iter(problems.values()))
        return {"folders": folders}

    def _identifier(self, plan: str, configuration: str) -> str:
        from autoseg.planner.plan import Plan

        path = self.workspace.plan_of(self.cell.dataset, plan)
        return Plan.load(path).configuration(configuration).data_identifier

    def _preprocess(self, dataset: Dataset, name: str, configuration: str) -> int:
        from autoseg.planner.plan import Plan
        from autoseg.preprocessing.dataset import preprocess_dataset

        plan = Plan.load(self.workspace.plan_of(dataset.name, name))
        wanted = plan.configuration(configuration)
        folder = self.workspace.cases_of(dataset.name, wanted.data_identifier)
        with hold(folder.with_name(f".{folder.name}.{LEASE_NAME}"), wait_s=float("inf")):
            summary = preprocess_dataset(dataset, plan, wanted, folder, self.workers)
        return len(summary.written) + len(summary.kept)

    def run_race(self) -> dict[str, Any]:
        """All runs that wait for this race; those that cannot run say so themselves."""
        from autoseg.benchmark.suite.model import Racing
        from autoseg.racing.walk import race_trials

        use_cores(self.job.resources.cpus)
        trials: dict[str, Trial] = {}
        for job in self.board.graph.of("train"):
            if self.job.id in job.needs:
                with contextlib.suppress(Impossible, RunError):
                    trials[job.run.key] = _Work(self.board, job, self.workers)._trial(there=True)
        if not trials:
            raise Impossible("No trainer of the race can run here.")
        raced = race_trials(
            list(trials.values()), self.workspace, Racing(**self.job.given).rules, self.workers
        )
        rows = {
            key: {"status": record.status, "reason": record.reason, "record": self._place(record)}
            for key, record in zip(trials, raced.records, strict=True)
        }
        return {"race": str(raced.file.path.relative_to(self.workspace.results)), "runs": rows}

    def _place(self, record: Record) -> str | None:
        return str(record.source.relative_to(self.workspace.results)) if record.source else None

    def raced(self) -> Mapping[str, Any] | None:
        """What a race made of this run; None where it does not race.

        Raises:
            RunError: if it broke off.
        """
        jobs = (job for job in self.board.graph.of("train") if job.cell == self.cell)
        needs = [need for job in jobs for need in job.needs if self.board.graph.by_id[need].stage == "race"]
        if not needs:
            return None
        self.fitted()  # says so, if the plan was not
        outcome = self.board.read(self.board.graph.by_id[needs[0]])
        if outcome is None or outcome.state != "done":
            raise RunError(f"The race did not come to its end: {outcome.reason if outcome else 'not run'}")
        found: Mapping[str, Any] = outcome.result["runs"].get(self.cell.key, {})
        if found.get("record") is None:
            raise RunError(found.get("reason", "it took no part in the race"))
        return found

    def run_train(self) -> dict[str, Any]:
        from autoseg.pipeline.trial import train_trial
        from autoseg.training.team import choose

        if raced := self.raced():
            return {"raced": raced["record"]}
        choose(max(1, self.job.resources.gpus), self.job.resources.nodes)
        with self._held(there=True) as (trial, _):
            checkpoint = train_trial(trial, self.workspace, self.workers)
        return {"model": checkpoint.run.name, "epoch": checkpoint.epoch}

    def run_predict(self) -> dict[str, Any]:
        from autoseg.inference.ensemble import predict_validation
        from autoseg.pipeline.trial import train_trial

        if raced := self.raced():
            return {"raced": raced["record"]}
        with self._held(there=True) as (trial, runs):
            # Done already; it says whose folder the predictions go to.
            row = train_trial(trial, self.workspace, self.workers).run
            predict_validation(row, runs, self.workspace, trial.request.device, trial.fold.validation)
        return {"cases": len(trial.fold.validation)}

    def run_evaluate(self) -> dict[str, Any]:
        """Score the predictions and write the record. The device is named, not used."""
        from autoseg.leaderboard.records.collapse import collapsed
        from autoseg.leaderboard.records.files import read_records
        from autoseg.pipeline.trial import run_trial

        if raced := self.raced():
            (record,) = read_records(self.workspace.results / raced["record"])
        else:
            with self._held(there=False) as (trial, _):
                record = run_trial(trial, self.workspace, self.workers)
        if record.status == "impossible":
            raise Impossible(record.reason)
        if record.status == "failed" or record.source is None:
            raise RunError(record.reason)
        quality = record.quality.get("dice")
        return {
            "record": str(record.source.relative_to(self.workspace.results)),
            "dice": quality.value if quality else None,
            "collapsed": bool(collapsed(record)),
        }

    def run_foreign(self) -> dict[str, Any]:
        return add_foreign(self.board, self.job, self.dataset(), self.workers)

    def run_leaderboard(self) -> dict[str, Any]:
        from autoseg.benchmark.jobs.standings import records, write_leaderboard
        from autoseg.pipeline.quality import fit_all

        fit_all(records(self.board), self.workspace, self.workers)
        return {"rows": len(write_leaderboard(self.board).rows)}

    @contextlib.contextmanager
    def _held(self, there: bool) -> Iterator[tuple[Trial, list[Run]]]:
        """The trial and its runs, their leases held; `there`: whether the device has to be at hand."""
        from autoseg.pipeline.trial import members_of

        use_cores(self.job.resources.cpus)
        trial = self._trial(there)
        runs = [member.run for member in members_of(trial, self.workspace)]
        with contextlib.ExitStack() as stack:
            for run in runs:
                lease = run.folder / LEASE_NAME
                stack.enter_context(hold(lease, wait_s=float("inf"), on_lost=_stop_myself))
            yield trial, runs

    def _trial(self, there: bool) -> Trial:
        import torch

        from autoseg.pipeline.trial import Trial
        from autoseg.system.device import find_device

        name, dataset = self.fitted()["device"], self.dataset()
        device = find_device(name) if there else torch.device(name)
        fingerprint = prepare.fingerprinted(dataset, self.workspace, self.workers)
        folds = folds_from_json(read_json(self.workspace.folds_of(dataset.name), RunError))
        (fold,) = chosen_folds(folds, [self.cell.fold])
        choice, request = choice_of(self.cell), request_of(self.cell, device)
        return Trial(dataset, fingerprint, folds, choice, fold, request)


# What is done in each stage.
WORK: dict[Stage, Callable[[_Work], dict[str, Any]]] = {
    "import": _Work.run_import,
    "verify": _Work.run_verify,
    "fingerprint": _Work.run_fingerprint,
    "plan": _Work.run_plan,
    "fit": _Work.run_fit,
    "preprocess": _Work.run_preprocess,
    "race": _Work.run_race,
    "train": _Work.run_train,
    "predict": _Work.run_predict,
    "evaluate": _Work.run_evaluate,
    "foreign": _Work.run_foreign,
    "leaderboard": _Work.run_leaderboard,
}
