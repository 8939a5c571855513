"""One cell of a benchmark: one trainer on one fold, from the plan to its record.

A cell never takes others down with it: what fails or cannot run becomes a record that says so.
"""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import subprocess
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoseg.dataset import Dataset
from autoseg.errors import PlanError
from autoseg.evaluate import Evaluation, evaluate
from autoseg.files import digest, read_json
from autoseg.fingerprint import Fingerprint
from autoseg.folds import Fold, folds_to_json
from autoseg.leaderboard.records import Cost, Record, read_records, write_record
from autoseg.leaderboard.scores import ScoreTable
from autoseg.plan import Plan
from autoseg.predict import predict_validation
from autoseg.preprocess import preprocess_dataset
from autoseg.run import Checkpoint, Run
from autoseg.tailor import Choice, Request, plan_name, tailor
from autoseg.train import device_name, train
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """What is trained on what."""

    dataset: Dataset
    fingerprint: Fingerprint
    folds: tuple[Fold, ...]
    choice: Choice
    fold: Fold
    request: Request


def run_cell(cell: Cell, workspace: Workspace, workers: int | None = None) -> Record:
    """Take a cell from wherever it is to its record.

    Raises:
        KeyboardInterrupt: after an interrupt; everything finished so far is kept.
    """
    try:
        plan = plan_for(cell.dataset, cell.fingerprint, cell.choice, cell.request, workspace)
    except PlanError as problem:
        log.warning("%s cannot run on %s: %s", cell.choice, cell.dataset.name, problem)
        return _without_scores(cell, "impossible", str(problem))
    run = _run(cell, plan, workspace)
    if run.record.is_file():
        log.info("%s is done.", run.name)
        return read_records(run.record)[0]
    try:
        record = _walk(cell, run, plan, workspace, workers)
    except Exception as problem:
        # Whatever a trainer raises is its row's, not the other rows' end.
        # Not recorded on disk: whoever runs the cell again wants it tried again.
        log.error("%s failed: %s", run.name, problem)
        log.debug("%s", traceback.format_exc())
        return _without_scores(cell, "failed", f"{type(problem).__name__}: {problem}", plan)
    write_record(run.record, record)
    return read_records(run.record)[0]


def train_cell(cell: Cell, workspace: Workspace, workers: int | None = None) -> Checkpoint:
    """Plan, preprocess and train a cell, without predicting or evaluating.

    Raises:
        AutosegError: whatever stands in the way.
    """
    plan = plan_for(cell.dataset, cell.fingerprint, cell.choice, cell.request, workspace)
    run = _run(cell, plan, workspace)
    _preprocess(cell, run, plan, workspace, workers)
    return train(run, workspace, cell.request.device)


def plan_for(
    dataset: Dataset, fingerprint: Fingerprint, choice: Choice, request: Request, workspace: Workspace
) -> Plan:
    """A trainer's plan: made once for all folds, then from disk, so that a measured choice stays."""
    path = workspace.plan_of(dataset.name, plan_name(choice, request, fingerprint))
    if path.is_file():
        return Plan.load(path)
    plan = tailor(dataset, fingerprint, choice, request)
    plan.save(path)
    return plan


def _run(cell: Cell, plan: Plan, workspace: Workspace) -> Run:
    return Run(
        dataset=cell.dataset.name,
        plan=plan.name,
        configuration=plan.provenance["configuration"],
        trainer=cell.choice.name,
        fold=cell.fold.index if cell.fold.index >= 0 else "all",
        seed=cell.request.seed,
        results=workspace.results,
    )


def _walk(cell: Cell, run: Run, plan: Plan, workspace: Workspace, workers: int | None) -> Record:
    _preprocess(cell, run, plan, workspace, workers)
    checkpoint = train(run, workspace, cell.request.device)
    predictions = predict_validation(run, workspace, cell.request.device, cell.fold.validation)
    evaluation = _evaluated(cell, run, predictions, workers)
    return _record(cell, run, plan, checkpoint, evaluation)


def _preprocess(cell: Cell, run: Run, plan: Plan, workspace: Workspace, workers: int | None) -> None:
    configuration = plan.configuration(run.configuration)
    folder = workspace.preprocessed_of(run.dataset) / configuration.data_identifier
    preprocess_dataset(cell.dataset, plan, configuration, folder, workers)


def _evaluated(cell: Cell, run: Run, predictions: Path, workers: int | None) -> Evaluation:
    if run.evaluation.is_file():
        return Evaluation.load(run.evaluation)
    evaluation = evaluate(predictions, cell.dataset, cases=cell.fold.validation, workers=workers)
    evaluation.save(run.evaluation)
    return evaluation


def _record(cell: Cell, run: Run, plan: Plan, checkpoint: Checkpoint, evaluation: Evaluation) -> Record:
    cost = read_json(run.cost)
    inference = read_json(run.folder / "inference.json")
    training = plan.provenance["training"]
    groups = {case.identifier: case.group for case in cell.dataset.cases if case.group}
    return Record(
        run_id=run.name,
        **_identity(cell, plan),
        configuration=run.configuration,
        plan=plan.name,
        plan_hash=digest(plan.to_json()),
        changes=tuple(training["changes"]),
        checkpoint_sha256=checkpoint.sha256(),
        settings=evaluation.settings,
        cost=Cost(
            **{key: cost[key] for key in _COSTS},
            train_s=round(cost["train_s"] + inference["predict_s"], 2),
            training_steps=cost["steps"],
            budget_s=training["run_seconds"],
            inference_s_per_case=inference["inference_s_per_case"],
            inference_s_per_case_p95=inference["inference_s_per_case_p95"],
        ),
        scores=ScoreTable.from_evaluation(evaluation, groups),
    )


_COSTS = (
    "parameters",
    "trainable_parameters",
    "checkpoint_mb",
    "flops_per_patch",
    "peak_memory_mb",
    "epochs",
)


def _without_scores(cell: Cell, status: Any, reason: str, plan: Plan | None = None) -> Record:
    name = plan.provenance["configuration"] if plan else cell.request.configuration
    return Record(
        run_id=f"{cell.dataset.name}/{cell.choice}/fold_{cell.fold.index}",
        **_identity(cell, plan),
        configuration=name,
        status=status,
        reason=reason,
    )


def _identity(cell: Cell, plan: Plan | None) -> dict[str, Any]:
    version, dirty = code_version()
    return {
        "dataset": cell.dataset.name,
        "trainer": cell.choice.name,
        "options": dict(cell.choice.options),
        "fold": cell.fold.index,
        "seed": cell.request.seed,
        "fingerprint_hash": cell.fingerprint.hash,
        "split_hash": digest(folds_to_json(cell.folds)),
        "code_version": version,
        "code_dirty": dirty,
        "environment": environment(),
        "device": device_name(cell.request.device),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def code_version() -> tuple[str, bool | None]:
    """autoseg's version with the commit where it runs from a checkout, and whether that has changes."""
    version = importlib.metadata.version("autoseg")
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return version, None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"{version}+{commit}", bool(_git(root, "status", "--porcelain", "--", "autoseg"))
    except (OSError, subprocess.CalledProcessError):
        return version, None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def environment() -> Mapping[str, str]:
    """Versions of what a result depends on."""
    names: Sequence[str] = ("torch", "nnunetv2", "numpy", "scipy", "SimpleITK")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
