"""The walk from a raw data set to a leaderboard, and the only place that knows the order.

verify -> fingerprint -> plan -> folds -> for each trainer and fold: fit the plan, preprocess, train,
predict the held-out cases, evaluate, record -> postprocessing and expected quality of each model ->
leaderboard. Every stage leaves its result on disk, whole or not at all, and is skipped where that result is
there for the same inputs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.folds import Fold, chosen_folds
from autoseg.leaderboard.of_workspace import draw_page
from autoseg.pipeline.allocation import kept_choice
from autoseg.pipeline.postprocessing_of_models import decide_for_models
from autoseg.pipeline.prepare import Prepared, prepare
from autoseg.pipeline.quality import fit_qualities
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainer_choice import is_runnable
from autoseg.preprocessing.dataset import link_references
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.leaderboard.ranking.ranking import Leaderboard
    from autoseg.leaderboard.records.files import Record
    from autoseg.pipeline.trial import Trial
    from autoseg.tailoring.trainer_spec import Choice

log = logging.getLogger(__name__)

# Trials to their records, in a workspace, with so many processes for reading.
TrainAll = Callable[["Sequence[Trial]", Workspace, "int | None"], "Sequence[Record]"]


@dataclass(frozen=True)
class Outcome:
    """What the walk ended with."""

    leaderboard: Leaderboard
    page: Path
    records: tuple[Record, ...] = field(repr=False)


def plan_and_train(
    source: Path | str, workspace: Workspace, settings: Settings, train_all: TrainAll | None = None
) -> Outcome:
    """Walk a data set to a leaderboard, or go on where an earlier walk stopped.

    Args:
        source: a data set's name or id in the workspace, or the path of a raw folder, which is only read.
        workspace: where everything else goes.
        settings: settings of the walk.
        train_all: takes all runs to their records; None: each to its end, one after the other.

    Raises:
        DataError: if verification finds errors, or one case makes cross-validation impossible.
        UsageError: for unknown names.
    """
    from autoseg.pipeline.settings import started

    root = workspace.find_raw(source)
    prepared = prepare(root, workspace, settings)
    folds = chosen_folds(prepared.folds, settings.folds)
    chosen = kept_choice(prepared, settings, folds, workspace)
    names = [started(choice, settings) for choice in chosen.choices]
    train_all = train_all or run_each
    return _train_and_rank(prepared, folds, names, workspace, settings, train_all, chosen.fractions)


def _train_and_rank(
    prepared: Prepared,
    folds: Sequence[Fold],
    choices: Sequence[Choice],
    workspace: Workspace,
    settings: Settings,
    train_all: TrainAll,
    fractions: Mapping[str, float] | None = None,
) -> Outcome:
    from autoseg.pipeline.allocation import requests_of
    from autoseg.pipeline.cascade import with_cascade
    from autoseg.pipeline.pilot import say_doubt, with_pilot
    from autoseg.pipeline.settings import request_of
    from autoseg.pipeline.trial import Trial

    # A trainer that cannot train on these data takes no time from those that can.
    runs = len(folds) * sum(is_runnable(choice, prepared.plan, settings.configuration) for choice in choices)
    run_s = None if settings.total_s is None else settings.total_s / max(runs, 1)
    link_references(prepared.dataset, workspace.references_of(prepared.dataset.name))
    request, total_s = request_of(settings, run_s), settings.total_s
    if train_all is run_each:  # a race stops at looks, and a cascade's stages do not stop at the same ones
        request = with_cascade(prepared, folds, request)
    if "auto" not in settings.trainers:  # which says so itself
        say_doubt(prepared, choices, request)
    request = with_pilot(prepared, folds, choices, request, total_s, workspace, settings.workers)
    trials = [
        Trial(prepared.dataset, prepared.fingerprint, prepared.folds, choice, fold, each)
        for choice, each in requests_of(prepared, choices, fractions or {}, request, workspace)
        for fold in folds
    ]
    records = train_all(trials, workspace, settings.workers)
    folders = {record.source.parent.parent for record in records if record.source is not None}
    decide_for_models(prepared.dataset, sorted(folders))
    fit_qualities(records, prepared.dataset, workspace, settings.workers)
    return _rank(prepared, records, workspace)


def run_each(trials: Sequence[Trial], workspace: Workspace, workers: int | None) -> list[Record]:
    """Take every run to its end."""
    from autoseg.pipeline.trial import run_trial

    return [run_trial(trial, workspace, workers) for trial in trials]


def _rank(prepared: Prepared, records: Sequence[Record], workspace: Workspace) -> Outcome:
    from autoseg.leaderboard.ranking.ranking import rank

    leaderboard = rank(records)
    name = prepared.dataset.name
    page = workspace.page_of(name)
    earlier = earlier_records(records, workspace.results_of(name))
    draw_page(rank([*records, *earlier]) if earlier else leaderboard, page, [prepared.dataset])
    return Outcome(leaderboard, page, tuple(records))


def earlier_records(records: Sequence[Record], results: Path) -> tuple[Record, ...]:
    """Records of runs that earlier calls left in a data set's results: the page goes on showing them."""
    from autoseg.leaderboard.records.files import load_records

    now = {record.run_id for record in records}
    there = load_records(results) if results.is_dir() else ()
    return tuple(record for record in there if record.run_id not in now)
