"""The walk as a race: trainers that are clearly behind are not trained to the end."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoseg.data.folds import folds_to_json
from autoseg.errors import PlanError, UsageError
from autoseg.racing.contestant import Contestant, stopped_words
from autoseg.racing.race import Race, Rules, Rung, Seen, Stretch, run_race
from autoseg.racing.state import RaceFile, about_race
from autoseg.system.files import digest

if TYPE_CHECKING:
    from autoseg.leaderboard.records.files import Record
    from autoseg.pipeline.trial import Trial
    from autoseg.pipeline.walk import TrainAll
    from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Raced:
    """A race that came to its end.

    Attributes:
        race: looks and decisions.
        file: the file that holds them.
        records: a row for every run, stopped and impossible ones too, one for each trial and in their order.
    """

    race: Race
    file: RaceFile
    records: tuple[Record, ...] = field(repr=False)


def race_runs(rules: Rules) -> TrainAll:
    """For `autoseg.pipeline.walk.plan_and_train`: take the runs to their records by a race."""

    def raced(trials: Sequence[Trial], workspace: Workspace, workers: int | None) -> Sequence[Record]:
        return race_trials(trials, workspace, rules, workers).records

    return raced


def race_trials(
    trials: Sequence[Trial], workspace: Workspace, rules: Rules, workers: int | None = None
) -> Raced:
    """Race the runs of one data set: its trainers against each other, folds and seeds of a trainer together.

    Run again, it goes on at the rung where it stood.

    Args:
        trials: trainers x folds x seeds, all with the same wall clock.
        workspace: where everything lies.
        rules: rules of the race.
        workers: processes for reading and preprocessing.

    Raises:
        KeyboardInterrupt: after an interrupt; everything finished so far stays.
        UsageError: if runs have no budget.
    """
    if None in (times := {trial.request.run_s for trial in trials}) or len(times) > 1:
        raise UsageError("A race is run against the clock: give all its runs one budget, and no epochs.")
    file = RaceFile.of(workspace.results_of(trials[0].dataset.name), _about(trials, rules))
    trials = [_marked(trial, file.key) for trial in trials]
    impossible, able = _sorted_out(trials, workspace)
    if not able:
        raise UsageError(f"No trainer can train on {trials[0].dataset.name}, so there is nothing to race.")
    contestants = {
        name: Contestant(tuple(own), file.folder, workspace, workers, rules.look_cases)
        for name, own in able.items()
    }

    def look(name: str, stretch: Stretch) -> Seen:
        return contestants[name].look(stretch)

    def report(rungs: Sequence[Rung]) -> None:
        file.save(rungs)
        _log(rungs[-1])
        for name in rungs[-2].kept if len(rungs) > 1 else ():
            contestants[name].tidy(rungs[-2].stretch.rung)

    first, *others = able.values()
    wanted = sorted((trial.fold.index, trial.request.seed) for trial in first)
    for other in others:
        if sorted((trial.fold.index, trial.request.seed) for trial in other) != wanted:
            raise UsageError(
                f"{other[0].choice} and {first[0].choice} do not race on the same folds and seeds. Give all "
                f"trainers of a race the same ones."
            )
    race = run_race(
        list(able),
        look,
        float(first[0].request.run_s or 0.0),
        rules,
        known=file.load(),
        report=report,
        runs=len(first),
    )
    rows = {**impossible, **{name: _rows(contestants[name], race) for name in able}}
    left = {name: iter(records) for name, records in rows.items()}
    return Raced(race, file, tuple(next(left[str(trial.choice)]) for trial in trials))


def _marked(trial: Trial, key: str) -> Trial:
    # A cascade's first stage is trained on all folds before the second begins: nothing to look at till then.
    request = dataclasses.replace(trial.request, race=key, first_stages=0.0)
    return dataclasses.replace(trial, request=request)


def _sorted_out(
    trials: Sequence[Trial], workspace: Workspace
) -> tuple[dict[str, list[Record]], dict[str, list[Trial]]]:
    """Rows of the trainers that cannot train on these data, and the trials of those that can."""
    from autoseg.pipeline.trial import members_of
    from autoseg.pipeline.trial_record import without_scores

    impossible: dict[str, list[Record]] = {}
    able: dict[str, list[Trial]] = {}
    for trial in trials:
        try:
            members_of(trial, workspace)
        except PlanError as problem:
            log.warning("%s cannot run on %s: %s", trial.choice, trial.dataset.name, problem)
            impossible.setdefault(str(trial.choice), []).append(
                without_scores(trial, "impossible", str(problem))
            )
        else:
            able.setdefault(str(trial.choice), []).append(trial)
    return impossible, able


def _about(trials: Sequence[Trial], rules: Rules) -> dict[str, object]:
    trial = trials[0]
    return about_race(
        trial.dataset.name,
        trial.fingerprint.hash,
        digest(folds_to_json(trial.folds)),
        list(dict.fromkeys(str(each.choice) for each in trials)),
        list(dict.fromkeys(each.fold.index for each in trials)),
        rules,
        seeds=list(dict.fromkeys(each.request.seed for each in trials)),
        run_s=trial.request.run_s,
        device=trial.request.device.type,
        memory_gb=trial.request.memory_gb,
        configuration=trial.request.configuration,
    )


def _rows(contestant: Contestant, race: Race) -> list[Record]:
    """The rows of a trainer that started: finished, stopped at a rung, or broken off."""
    name = contestant.name
    for number, rung in enumerate(race.rungs, 1):
        if name in rung.failed:
            return contestant.failed(rung.failed[name])
        if name in rung.verdicts and rung.verdicts[name].drop:
            words = stopped_words(number, rung.stretch.until_s, rung.verdicts[name], rung.leader)
            return contestant.stopped(rung.stretch.rung, words)
    return contestant.finished(selected=len(race.rungs[0].seen) > 1)


def _log(rung: Rung) -> None:
    where = "the end" if rung.stretch.last else f"{rung.stretch.until_s:.0f} s"
    for name, verdict in rung.verdicts.items():
        mean = rung.seen[name].scores.mean()
        log.info("Race, rung %d (%s): %s %.3f, %s", rung.stretch.rung + 1, where, name, mean, verdict.reason)
