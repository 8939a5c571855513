"""What a trial becomes on the leaderboard: identity, changes, cost and scores of one row."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import operator
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from autoseg import __version__
from autoseg.data.dataset import Dataset
from autoseg.data.few_cases import subset
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.folds import Fold, folds_to_json
from autoseg.errors import AutosegError
from autoseg.evaluation.scoring import Evaluation
from autoseg.intake.verification.findings import VerifyReport
from autoseg.leaderboard.records.collapse import marked
from autoseg.leaderboard.records.files import Cost, Record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.planner.cascade import stage_of
from autoseg.planner.plan import Plan
from autoseg.planner.training_spec import FIRST_STAGE
from autoseg.run import Run, sha256_of
from autoseg.system.device import device_name
from autoseg.system.files import digest, read_json
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.training.energy import Energy
from autoseg.workspace import Workspace

# Costs of the members of an ensemble that add up.
_SUMS = ("parameters", "trainable_parameters", "checkpoint_mb", "flops_per_patch", "epochs")


@dataclass(frozen=True)
class Trial:
    """One trainer on one fold, with one seed.

    Attributes:
        dataset: what is trained on.
        fingerprint: the fingerprint of the same data set.
        folds: all of them, for the record.
        choice: the trainer spec.
        fold: the one that is trained.
        request: device, memory, time and seed.
    """

    dataset: Dataset
    fingerprint: Fingerprint
    folds: tuple[Fold, ...]
    choice: Choice
    fold: Fold
    request: Request

    @cached_property
    def variant(self) -> Variant:
        """The same without its fold: trainer class, base plan and configuration, each found out once."""
        return Variant(self.dataset, self.fingerprint, self.choice, self.request)


@dataclass(frozen=True)
class Member:
    """One training of a trial: the only one, or one of an ensemble."""

    run: Run
    plan: Plan


def record_of(
    trial: Trial, row: Run, members: Sequence[Member], evaluation: Evaluation, first: Sequence[Run] = ()
) -> Record:
    """The record of a trial that came to its end: one row, of an ensemble too.

    Args:
        trial: what was trained on what.
        row: the run whose folder holds the predictions and what predicting took.
        members: the trained runs; of a row that is not an ensemble, the row alone.
        evaluation: scores of the predictions.
        first: of a cascade, the runs of its first stage, one a fold.
    """
    weights = [path for member in members for path in member.run.predicting_checkpoints]
    low = _of_fold(first, row)
    weights += [path for run in low for path in run.predicting_checkpoints]
    costs = [read_json(run.cost) for run in (*(member.run for member in members), *low)]
    broken = "; ".join(dict.fromkeys(filter(None, (cost.get("broken_off") for cost in costs))))
    record = Record(
        run_id=row.name,
        status="partial" if broken else "ok",
        reason=f"the training ended early: {broken}" if broken else "",
        **_identity(trial, costs[0]["device"]),
        configuration=row.configuration,
        plan=row.plan,
        plan_hash=digest([plan_content(member.plan) for member in members]),
        changes=(*changes_of(trial, members), *_changes_of_first(members[0].plan, low)),
        checkpoint_sha256=sha256_of(weights),
        settings=evaluation.settings,
        cost=row_cost(row, members) if not low else cascade_cost(row, members[0], first, trial.request),
        scores=ScoreTable.from_evaluation(evaluation, trial.dataset.groups),
        training_cases=len(training_cases(trial)),
    )
    return marked(record)


def with_data_warnings(record: Record, workspace: Workspace) -> Record:
    """A record with what verification found in its data that may spoil a model; unknown without a report."""
    try:
        report = VerifyReport.from_json(read_json(workspace.verification_of(record.dataset)))
    except AutosegError:
        return record
    return dataclasses.replace(record, data_warnings=report.spoiling)


def training_cases(trial: Trial) -> tuple[str, ...]:
    """The cases that a trial trains on: the fold's, or where few are requested, those that its seed draws."""
    few = trial.variant.start.cases
    if few is None:
        return trial.fold.training
    return subset(trial.fold.training, trial.dataset.groups, few, trial.request.seed)


def changes_of(trial: Trial, members: Sequence[Member]) -> tuple[str, ...]:
    """What differs from the published system, in words."""
    costs = [read_json(member.run.cost) for member in members]
    kept = sorted({cost.get("best_checkpoints", 0) for cost in costs})
    count = " to ".join(str(number) for number in dict.fromkeys((kept[0], kept[-1])))
    wanted = members[0].plan.require_training().hyperparameters.best_checkpoints
    if wanted is None:
        wanted = trial.variant.trainer.best_checkpoints
    fewer = [f"best checkpoints {wanted} -> {count}"] if kept != [wanted] else []
    return (*fewer, *_changes_of_members(members, costs))


def _changes_of_members(members: Sequence[Member], costs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What changed in every member and, with its axis, what changed in some."""
    lists = [
        [*member.plan.require_training().changes, *cost.get("changes", ())]
        for member, cost in zip(members, costs, strict=True)
    ]
    common = [change for change in lists[0] if all(change in others for others in lists)]
    return common + [
        f"{change} (slices along axis {member.plan.transpose[0]})"
        for member, changes in zip(members, lists, strict=True)
        for change in changes
        if change not in common
    ]


def row_cost(row: Run, members: Sequence[Member]) -> Cost:
    """What a row cost: the sum over its members, and of the memory the most that one took.

    Parameters and FLOPs of a patch are those of one network for each member, however many of its checkpoints
    predict; FLOPs of a case are of all patches that go through all of them, mirrored copies included.
    """
    costs = [read_json(member.run.cost) for member in members]
    inference = read_json(row.inference)

    def total(key: str) -> Any:
        values = [cost[key] for cost in costs]
        return None if None in values else sum(values)

    each = [cost["flops_per_patch"] for cost in costs]
    patches = inference.get("patches_per_case")
    known = patches is not None and None not in each
    times = [member.plan.require_training().run_s for member in members]
    budgets = [seconds for seconds in times if seconds is not None]
    return Cost(
        **{key: total(key) for key in _SUMS},
        flops_per_case=sum(f * n for f, n in zip(each, patches, strict=True)) if known else None,
        peak_memory_mb=max(cost["peak_memory_mb"] for cost in costs),
        train_s=round(total("train_s") + inference["predict_s"], 2),
        training_steps=total("steps"),
        budget_s=sum(budgets) if len(budgets) == len(members) else None,
        **_energy(costs),
        inference_s_per_case=inference["inference_s_per_case"],
        inference_s_per_case_p95=inference["inference_s_per_case_p95"],
    )


def cascade_cost(row: Run, member: Member, first: Sequence[Run], request: Request) -> Cost:
    """What a cascade's row cost: the second stage, and the row's part of all trainings of the first.

    The first stage is trained once a fold and serves all rows; each of these has the same part of it. Size
    and prediction are of the second stage and of the first one of the same fold.
    """
    own, (low,) = row_cost(row, [member]), _of_fold(first, row) or first[:1]
    lows = [row_cost(run, [Member(run, stage_of(member.plan, run.configuration))]) for run in first]
    same = lows[first.index(low)]
    part = request.first_stages / len(first)

    def total(key: str, of: Sequence[Cost] = (same,), factor: float = 1.0) -> Any:
        values = [getattr(own, key), *(getattr(each, key) for each in of)]
        return None if None in values else values[0] + factor * sum(values[1:])

    return dataclasses.replace(
        own,
        **{key: total(key) for key in (*_SUMS, "flops_per_case")},
        peak_memory_mb=max((each.peak_memory_mb or 0.0) for each in (own, *lows)),
        train_s=round(total("train_s", lows, part), 2),
        training_steps=None if (steps := total("training_steps", lows, part)) is None else round(steps),
        budget_s=total("budget_s", lows, part),
        **_energy_of_costs(own, total("energy_kwh", lows, part), total("g_co2", lows, part), lows),
        inference_s_per_case=total("inference_s_per_case"),
        inference_s_per_case_p95=total("inference_s_per_case_p95"),
    )


def _of_fold(first: Sequence[Run], row: Run) -> list[Run]:
    return [run for run in first if run.fold == row.fold]


def _changes_of_first(plan: Plan, low: Sequence[Run]) -> list[str]:
    """What differs in a cascade's first stage, in words."""
    return [
        f"first stage: {change}"
        for run in low
        for change in (
            *stage_of(plan, run.configuration).require_training().changes,
            *read_json(run.cost).get("changes", ()),
        )
    ]


def _energy(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Energy of all members together, where each measured its own."""
    each = [Energy(**cost["energy"]) for cost in costs if cost.get("energy")]
    if len(each) < len(costs):
        return {}
    found = functools.reduce(operator.add, each)
    return {"energy_kwh": found.kwh, "g_co2": found.g_co2, "energy_how": found.how}


def _energy_of_costs(
    own: Cost, kwh: float | None, g_co2: float | None, lows: Sequence[Cost]
) -> dict[str, Any]:
    """The same of a cascade; nothing where a stage measured none."""
    if kwh is None or g_co2 is None:
        return {"energy_kwh": None, "g_co2": None, "energy_how": None}
    measured = all(each.energy_how == "measured" for each in (own, *lows))
    return {"energy_kwh": kwh, "g_co2": g_co2, "energy_how": "measured" if measured else "estimated"}


def without_scores(trial: Trial, status: Any, reason: str, configuration: str = "") -> Record:
    """The record of a trial that failed or cannot run."""
    return Record(
        run_id=f"{trial.dataset.name}/{trial.choice.row_name}/fold_{trial.fold.index}",
        **_identity(trial),
        configuration=configuration or trial.request.configuration,
        status=status,
        reason=reason,
    )


def plan_content(plan: Plan) -> dict[str, Any]:
    """What a plan makes of a run, without its name, its seed and what was measured on the way: runs of
    several seeds with one content are one row."""
    document = plan.to_json()
    first = document["autoseg"]["provenance"].get(FIRST_STAGE)
    del document["plans_name"], document["autoseg"]
    if first is not None:
        given = {key: value for key, value in first["training"].items() if key != "seed"}
        document["first_stage"] = given
    training = plan.require_training().to_json()
    del training["seed"]
    if "trainer_file" in training:  # which may lie elsewhere
        training["trainer_file"] = training["trainer_file"]["sha256"]
    if "cases" in training:  # of which a seed draws others
        training["cases"] = training["cases"]["size"]
    return {**document, "training": training}


def _identity(trial: Trial, device: str | None = None) -> dict[str, Any]:
    version, dirty = code_version()
    return {
        "dataset": trial.dataset.name,
        "trainer": trial.choice.trainer,
        "options": trial.choice.row_options,
        "fold": trial.fold.index,
        "seed": trial.request.seed,
        "fingerprint_hash": trial.fingerprint.hash,
        "split_hash": digest(folds_to_json(trial.folds)),
        "code_version": version,
        "code_dirty": dirty,
        "environment": environment(),
        "device": device or _device_in_words(trial),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _device_in_words(trial: Trial) -> str:
    try:
        return device_name(trial.request.device)
    except (AssertionError, RuntimeError):  # a run that failed elsewhere, recorded where its device is not
        return trial.request.device.type


def code_version() -> tuple[str, bool | None]:
    """autoseg's version with the commit where it runs from a checkout, and whether that has changes."""
    version, root = __version__, Path(__file__).parents[2]
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
