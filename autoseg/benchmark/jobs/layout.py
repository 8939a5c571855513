"""From a suite to its job graph: which jobs there are, what each needs, asks for and may take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoseg.benchmark.jobs.estimate import estimate
from autoseg.benchmark.jobs.graph import OF_RUNS, ON_DEVICE, Graph, Job, Stage, in_order
from autoseg.benchmark.suite.datasets import Catalogue
from autoseg.benchmark.suite.matrix import MatrixCell, cells, trainer_label
from autoseg.benchmark.suite.suite import Suite
from autoseg.benchmark.suite.trainer_facts import facts
from autoseg.errors import UsageError
from autoseg.planner.presets import PRESETS
from autoseg.system.files import digest
from autoseg.workspace import Workspace

SHORTEST_LIMIT_S = 3600.0
# Jobs name their files from the root of the workspace.
INSIDE = Workspace(Path("raw"), Path("preprocessed"), Path("results"))


def build_graph(suite: Suite, workspace: Workspace) -> Graph:
    """All jobs of a suite.

    Raises:
        UsageError: if a data set is not there, or no cell is left.
    """
    catalogue = Catalogue(workspace)
    builder = _Builder(suite, catalogue)
    runs: dict[str, list[MatrixCell]] = {}
    for cell in cells(suite, catalogue.facts_of):
        runs.setdefault(cell.dataset, []).append(cell)
    jobs = [job for of_dataset in runs.values() for job in builder.of_dataset(of_dataset)]
    jobs += builder.foreign(runs, {job.dataset: job.id for job in jobs if job.stage == "plan"})
    rows = tuple(job.id for job in jobs if job.stage in ("evaluate", "foreign"))
    jobs.append(builder.job("leaderboard", "", "leaderboard", rows, ("leaderboard.html",)))
    return Graph(suite.name, workspace, in_order(jobs))


@dataclass(frozen=True)
class _Builder:
    suite: Suite
    catalogue: Catalogue

    def of_dataset(self, runs: list[MatrixCell]) -> Iterator[Job]:
        """From import to evaluation: each run at once after the other, so that results come early."""
        first = runs[0]
        if len({(cell.source, cell.groups) for cell in runs}) > 1:
            raise UsageError(
                f"The suite {self.suite.name} has {first.dataset} with two tables of groups. Keep one."
            )
        name = first.dataset
        files: dict[Stage, tuple[str, ...]] = {
            "import": (f"raw/{name}/dataset.json",),
            "verify": (str(INSIDE.verification_of(name)),),
            "fingerprint": (str(INSIDE.fingerprint_of(name)),),
            "plan": (str(INSIDE.plan_of(name, PRESETS["nnunet"].plan_name)), str(INSIDE.folds_of(name))),
        }
        jobs: list[Job] = []
        given = self._imported(first)
        for stage in files:
            key = digest([first.source, first.groups, first.memory_gb, *([given] if given else [])])[:8]
            needs = tuple(job.id for job in jobs[-1:])
            jobs.append(self.job(stage, name, f"{stage}-{name}-{key}", needs, files[stage], first))
        bare = replace(first.variant, trainer="")
        yield from (replace(job, cell=bare, given=given if job.stage == "import" else {}) for job in jobs)
        yield from self._runs(runs, jobs[-1].id)

    def _imported(self, first: MatrixCell) -> dict[str, Any]:
        """What a data set is imported from; empty for one that is there."""
        parts = (self.suite, *self.suite.include)
        entries = [entry for part in parts for entry in part.datasets if entry.dataset == first.source]
        given = next((entry.given for entry in entries if entry.given), {})
        return {**given, "groups": first.groups or None} if given else {}

    def foreign(self, runs: Mapping[str, Sequence[MatrixCell]], planned: Mapping[str, str]) -> Iterator[Job]:
        """Results made elsewhere, each once its data set has folds.

        Raises:
            UsageError: if it is not clear to which data set one belongs.
        """
        for entry in self.suite.foreign:
            wanted = [entry.dataset] if entry.dataset else list(runs)
            named = [name for name in wanted if name in runs and (entry.dataset or name in entry.path.parts)]
            found = named or (wanted if len(wanted) == 1 and not entry.dataset else [])
            if len(found) != 1:
                raise UsageError(
                    f"The results in {entry.path} are of {entry.dataset or 'a data set that is not named'}. "
                    f"Write dataset: with one of {', '.join(runs)}."
                )
            (name,) = found
            folds = sorted({cell.fold for cell in runs[name]})
            given = {"path": str(entry.path), "name": entry.name, "folds": folds}
            called = f"foreign-{name}-{entry.name or entry.path.stem}-{digest([name, given])[:8]}"
            job = self.job("foreign", name, called, (planned[name],))
            yield replace(job, cell=replace(runs[name][0].variant, trainer=""), given=given)

    def _runs(self, runs: list[MatrixCell], planned: str) -> Iterator[Job]:
        fits = {cell.variant: self._of_run("fit", cell.variant, (planned,)) for cell in runs}
        yield from fits.values()
        ready: dict[str, str] = {}
        for wanted in dict.fromkeys(preference(cell) for cell in runs):
            needs = tuple(job.id for cell, job in fits.items() if preference(cell) == wanted)
            name = f"preprocess-{runs[0].dataset}-{wanted}-{digest(needs)[:8]}"
            job = self.job("preprocess", runs[0].dataset, name, needs)
            ready[wanted] = job.id  # a blank of the data set's name is none of a job's
            yield replace(job, cell=replace(runs[0].variant, trainer=""))
        before: dict[MatrixCell, tuple[str, ...]] = {
            cell: (fits[cell.variant].id, ready[preference(cell)]) for cell in runs
        }
        if self.suite.race:
            race = self._race(before)
            yield race
            before = {cell: (*needs, race.id) for cell, needs in before.items()}
        for cell, needs in before.items():
            for stage in OF_RUNS:
                job = self._of_run(stage, cell, needs)
                # What was raced is trained, predicted and scored.
                yield replace(job, seconds=1.0) if self.suite.race else job
                needs = (job.id,)

    def _race(self, before: Mapping[MatrixCell, tuple[str, ...]]) -> Job:
        """All runs of a data set against each other, in one job.

        Raises:
            UsageError: if their times are not the same.
        """
        runs = list(before)
        if len(times := {cell.run_s for cell in runs}) > 1 or None in times:
            raise UsageError(
                f"The runs of the suite {self.suite.name} on {runs[0].dataset} have the times {times}. "
                f"A race needs one budget for all: budget: {{per_run: 30m}}."
            )
        needs = tuple(dict.fromkeys(need for several in before.values() for need in several))
        rules = self.suite.racing.model_dump()
        job = self.job("race", runs[0].dataset, f"race-{runs[0].dataset}-{digest([needs, rules])[:8]}", needs)
        seconds = sum(
            estimate(stage, cell, self.catalogue.size_of(cell.dataset), job.resources)
            for cell in runs
            for stage in OF_RUNS
        )
        limit = job.resources.time if job.limit_asked else max(SHORTEST_LIMIT_S, 2 * seconds)
        resources = job.resources.model_copy(update={"time": limit})
        bare = replace(runs[0].variant, trainer="")
        return replace(job, cell=bare, given=rules, seconds=seconds, resources=resources)

    def _of_run(self, stage: Stage, cell: MatrixCell, needs: tuple[str, ...]) -> Job:
        fold = f"-fold{cell.fold}" if cell.fold >= 0 else ""
        name = f"{stage}-{cell.dataset}-{trainer_label(cell.trainer)}-{cell.variant.key}{fold}"
        return replace(self.job(stage, cell.dataset, _plain(name), needs, (), cell), cell=cell)

    def job(
        self,
        stage: Stage,
        dataset: str,
        name: str,
        needs: tuple[str, ...],
        files: tuple[str, ...] = (),
        cell: MatrixCell | None = None,
    ) -> Job:
        """A job with what it asks for and how long it may take."""
        resources = self.suite.run_resources if stage in ON_DEVICE else self.suite.resources.prepare
        seconds = estimate(stage, cell, self.catalogue.size_of(dataset), resources)
        limit = resources.time or max(SHORTEST_LIMIT_S, 2 * seconds)
        name = _plain(name)
        return Job(
            id=name,
            stage=stage,
            dataset=dataset,
            needs=needs,
            outputs=(f"outcomes/{name}.json", *files),
            resources=resources.model_copy(update={"time": limit}),
            seconds=seconds,
            limit_asked=resources.time is not None,
        )


def preference(cell: MatrixCell) -> str:
    """Which configuration a run takes, as far as that is known before the data set is: cells that agree here
    share their preprocessed cases."""
    if cell.configuration != "auto":
        return cell.configuration
    known = facts(cell.trainer.partition(":")[0])
    dimension = known.preferred_dimension or max(known.dimensions)
    return f"{dimension}d_first" if len(known.dimensions) > 1 else f"{dimension}d_only"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)
