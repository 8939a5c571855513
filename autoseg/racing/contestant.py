"""One trainer in a race: its runs taken from rung to rung, judged there, and stopped or finished.

At a rung the runs are paused and leave models of their own in the race's folder, in nnU-Net's layout, with
their predictions of the held-out cases and what these are worth. The runs themselves lie where they would
without a race and go on from their own checkpoints.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import RunError
from autoseg.evaluation.scoring import Evaluation, evaluate
from autoseg.inference.ensemble import predict_validation, save_ensemble
from autoseg.leaderboard.records.files import Record, read_records, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.pipeline.trial import Member, Trial, members_of, preprocess_member, row_of, run_trial
from autoseg.pipeline.trial_record import record_of, with_data_warnings, without_scores
from autoseg.racing.cases import cases_of_look, groups_of, pooled
from autoseg.racing.race import Seen, Stretch
from autoseg.racing.verdict import Verdict
from autoseg.run import Run
from autoseg.system.files import read_json, write_json
from autoseg.training.legs import Leg
from autoseg.training.training_run import train
from autoseg.workspace import Workspace

# Beside a rung's predictions: what coming there took.
SPENT = "spent.json"


@dataclass(frozen=True)
class Contestant:
    """A trainer with its runs: folds and seeds.

    Attributes:
        trials: runs of one data set and one trainer spec; their requests are marked as raced.
        folder: the folder of the race.
        workspace: where everything lies.
        workers: processes for reading and preprocessing.
        look_cases: held-out cases that a look before the end predicts, see `cases_of_look`; None: all.
    """

    trials: tuple[Trial, ...]
    folder: Path
    workspace: Workspace
    workers: int | None = None
    look_cases: int | None = None

    @property
    def name(self) -> str:
        """The trainer with its options."""
        return str(self.trials[0].choice)

    def look(self, stretch: Stretch) -> Seen:
        """Take all runs to the end of a stretch and predict their held-out cases, or some of them.

        Raises:
            AutosegError: whatever stands in the way.
        """
        cases = cases_of_look(self.trials, None if stretch.last else self.look_cases)
        ends = [
            self._end(trial, stretch, [case for case in trial.fold.validation if case in cases])
            for trial in self.trials
        ]
        return Seen(
            pooled([table for table, _ in ends]),
            sum(seconds for _, seconds in ends),
            groups_of(self.trials, cases),
        )

    def _end(self, trial: Trial, stretch: Stretch, cases: Sequence[str]) -> tuple[ScoreTable, float]:
        members = members_of(trial, self.workspace)
        row = row_of(trial, members, self.workspace)
        there = row if stretch.last else self._at(row, stretch.rung)
        spent = there.folder / SPENT
        if not (spent.is_file() and there.evaluation.is_file()):
            for member in members:
                preprocess_member(trial, member, self.workspace, self.workers)
            seconds = self._train(trial, members, stretch) + self._predict(trial, members, there, cases)
            self._evaluate(trial, there, cases)
            write_json(spent, {"seconds": round(seconds, 2)})
        return self._table(trial, there), float(read_json(spent, RunError)["seconds"])

    def _train(self, trial: Trial, members: Sequence[Member], stretch: Stretch) -> float:
        place = None if stretch.last else self._place(stretch.rung)
        leg = Leg(stretch.from_s, stretch.until_s, stretch.run_s, place)
        began = time.monotonic()
        for member in members:
            own, whole = member.plan.require_training().run_s, trial.request.run_s
            # A race is by the clock; a member of an ensemble has its fraction of the row's time.
            fraction = 1.0 if own is None or whole is None else own / whole
            train(member.run, self.workspace, trial.request.device, leg.scaled(fraction))
        return time.monotonic() - began

    def _predict(self, trial: Trial, members: Sequence[Member], there: Run, cases: Sequence[str]) -> float:
        runs = [member.run for member in self._standing(members, there)]
        if len(runs) > 1:
            save_ensemble(there, runs)
        began = time.monotonic()
        predict_validation(there, runs, self.workspace, trial.request.device, cases)
        return time.monotonic() - began

    def _standing(self, members: Sequence[Member], there: Run) -> list[Member]:
        """The trainings as they are at a rung: paused there, or ended before."""
        if there.results == self.workspace.results:
            return list(members)
        paused = [dataclasses.replace(member.run, results=there.results) for member in members]
        return [
            member if member.run.final_checkpoint.is_file() else Member(run, member.plan)
            for member, run in zip(members, paused, strict=True)
        ]

    def _evaluate(self, trial: Trial, there: Run, cases: Sequence[str]) -> None:
        if not there.evaluation.is_file():
            found = evaluate(
                there.predictions, trial.dataset, cases=cases, by_voxels=True, workers=self.workers
            )
            found.save(there.evaluation)

    def _table(self, trial: Trial, there: Run) -> ScoreTable:
        return ScoreTable.from_evaluation(Evaluation.load(there.evaluation), trial.dataset.groups)

    def finished(self, selected: bool) -> list[Record]:
        """The rows of runs that went to the end; `selected`: they served to choose among trainers."""
        return [self._finished(trial, selected) for trial in self.trials]

    def _finished(self, trial: Trial, selected: bool) -> Record:
        record = run_trial(trial, self.workspace, self.workers)
        if record.source is None or record.selection == selected:
            return record
        return write_record(record.source, dataclasses.replace(record, selection=selected))

    def stopped(self, rung: int, words: str) -> list[Record]:
        """The rows of runs that were stopped at a rung: what they had come to, marked as such.

        Args:
            rung: its number.
            words: the reason.
        """
        return [self._stopped(trial, rung, words) for trial in self.trials]

    def _stopped(self, trial: Trial, rung: int, words: str) -> Record:
        members = members_of(trial, self.workspace)
        row = self._at(row_of(trial, members, self.workspace), rung)
        if not row.record.is_file():
            evaluation = Evaluation.load(row.evaluation)
            record = record_of(trial, row, self._standing(members, row), evaluation)
            record = with_data_warnings(record, self.workspace)
            marked = dataclasses.replace(
                record, status="partial", reason=words, changes=(*record.changes, words)
            )
            write_record(row.record, marked)
        return read_records(row.record)[0]

    def failed(self, reason: str) -> list[Record]:
        """The rows of runs that broke off."""
        return [without_scores(trial, "failed", reason) for trial in self.trials]

    def tidy(self, rung: int) -> None:
        """Remove the models of a rung that this trainer has gone beyond; what they were worth stays."""
        for trial in self.trials:
            for member in members_of(trial, self.workspace):
                run = self._at(member.run, rung)
                run.final_checkpoint.unlink(missing_ok=True)
                shutil.rmtree(run.predictions, ignore_errors=True)

    def _place(self, rung: int) -> Path:
        return self.folder / f"rung_{rung + 1}"

    def _at(self, run: Run, rung: int) -> Run:
        """A run as it was at a rung."""
        return dataclasses.replace(run, results=self._place(rung))


def stopped_words(number: int, seconds: float, verdict: Verdict, leader: str) -> str:
    """Why a trainer was stopped, for its row."""
    p = "p < 0.001" if verdict.p < 0.001 else f"p = {verdict.p:.3f}"
    begin = f"dropped at rung {number}, after {seconds:.0f} s of training: "
    if verdict.capped and verdict.behind <= 0:
        return begin + "it led, but another was expected to overtake it, and time was left for one"
    if verdict.capped:
        return begin + f"no time was left for it beside {leader} ({verdict.behind:.3f} Dice behind, {p})"
    if verdict.tied:
        return begin + f"not expected to come out ahead of {leader} ({verdict.behind:.3f} Dice behind, {p})"
    return begin + (
        f"clearly behind {leader} ({verdict.behind:.3f} Dice, at least {verdict.at_least:.3f}, {p})"
    )
