"""The job graph: what it holds, in which order, and how fast thousands of jobs are laid out."""

from __future__ import annotations

import dataclasses
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_data import make_raw

from autoseg.benchmark.jobs.graph import STAGES, Graph, in_order
from autoseg.benchmark.jobs.layout import build_graph
from autoseg.benchmark.status.status import critical_path
from autoseg.benchmark.suite.matrix import cells
from autoseg.benchmark.suite.suite import Suite
from autoseg.errors import RunError, UsageError
from autoseg.workspace import Workspace

Parse = Callable[[str], Suite]


def counts(graph: Graph) -> dict[str, int]:
    """Jobs by stage."""
    return {stage: len(graph.of(stage)) for stage in STAGES}


def test_every_stage_has_its_jobs_and_shared_work_is_there_once(graph: Graph) -> None:
    found = counts(graph)
    assert [found[stage] for stage in ("import", "verify", "fingerprint", "plan")] == [2, 2, 2, 2]
    assert found["fit"] == 2 * 3
    # nnunet and brainunet share the volumes' configuration, the 2D trainer has its own.
    assert found["preprocess"] == 2 * 2
    assert found["train"] == found["predict"] == found["evaluate"] == 2 * 3 * 2
    assert found["leaderboard"] == 1


def test_every_job_comes_after_those_that_it_needs(graph: Graph) -> None:
    seen: set[str] = set()
    for job in graph.jobs:
        assert seen.issuperset(job.needs)
        assert job.id not in seen
        assert job.outputs[0] == job.outcome
        assert job.resources.time and job.resources.time >= 2 * job.seconds
        seen.add(job.id)


def test_order_is_found_where_it_is_not_given_and_circles_are_refused(graph: Graph) -> None:
    shuffled = in_order(reversed(graph.jobs))
    assert {job.id for job in shuffled} == {job.id for job in graph.jobs}
    position = {job.id: i for i, job in enumerate(shuffled)}
    assert all(position[need] < position[job.id] for job in shuffled for need in job.needs)
    first, last = graph.jobs[0], graph.jobs[-1]
    with pytest.raises(RunError, match="circle"):
        in_order([dataclasses.replace(first, needs=(last.id,)), *graph.jobs[1:]])
    with pytest.raises(RunError, match="nobody has"):
        in_order(graph.jobs[1:])


def test_a_job_list_is_read_as_it_was_written(graph: Graph) -> None:
    assert Graph.load(graph.save()) == graph
    (graph.folder / "jobs.json").write_text('{"schema": 99}')
    with pytest.raises(RunError, match="job list"):
        Graph.load(graph.folder / "jobs.json")


def test_ids_are_the_same_in_every_process_and_change_with_what_is_asked(
    graph: Graph, workspace: Workspace, suite_of: Parse
) -> None:
    text = "datasets: [Dataset001_A]\ntrainers: nnunet\nfolds: 0\nbudget: {{per_run: {}}}\ndevice: cpu\n"
    one, other = (build_graph(suite_of(text.format(t)), workspace) for t in ("60s", "61s"))
    assert one.of("train")[0].id in graph.by_id
    assert other.of("train")[0].id not in graph.by_id


def test_cells_are_crossed_excluded_included_and_share_a_budget(suite_of: Parse) -> None:
    suite = suite_of(
        "datasets: [a, b]\ntrainers: [nnunet, 'deepmrseg:down_kernel=2']\nfolds: all\nseeds: [0, 1]\n"
        "budget: {for_all: 100m}\n"
        "exclude: [{datasets: b, trainers: deepmrseg}, {folds: [3, 4]}]\n"
        "include: [{datasets: a, trainers: brainunet, folds: 0, seeds: 0, budget: {per_run: 9m}}]\n"
    )
    found = cells(suite, lambda entry: (entry.dataset, 5))
    main = [cell for cell in found if cell.trainer != "brainunet"]
    assert len(main) == 2 * 3 * 2 + 1 * 3 * 2
    assert {cell.run_s for cell in main} == {6000 / 18}
    assert [cell.run_s for cell in found if cell.trainer == "brainunet"] == [540]
    assert not [c for c in found if c.dataset == "b" and c.trainer.startswith("deepmrseg")]
    assert [cell.dataset for cell in found] == sorted(cell.dataset for cell in found)


def test_a_fold_that_does_not_exist_and_an_empty_suite_are_refused(suite_of: Parse) -> None:
    with pytest.raises(UsageError, match="folds 0 to 1"):
        cells(suite_of("datasets: a\ntrainers: nnunet\nfolds: 2\n"), lambda entry: (entry.dataset, 2))
    with pytest.raises(UsageError, match="no cell left"):
        cells(suite_of("datasets: a\ntrainers: nnunet\nexclude: [{datasets: '*'}]\n"), lambda e: ("a", 5))


def test_folds_are_counted_from_what_is_there(workspace: Workspace, suite_of: Parse) -> None:
    make_raw(workspace.raw, "Dataset003_Two", cases=2)
    graph = build_graph(suite_of("datasets: [3, 1]\ntrainers: nnunet\n"), workspace)
    assert [cell.fold for cell in graph.cells if cell.dataset == "Dataset003_Two"] == [0, 1]
    assert len([cell for cell in graph.cells if cell.dataset == "Dataset001_A"]) == 5


def test_a_data_set_that_is_not_there_stops_before_anything_starts(
    workspace: Workspace, suite_of: Parse
) -> None:
    with pytest.raises(UsageError, match="Dataset009_Nothing"):
        build_graph(suite_of("datasets: [Dataset001_A, Dataset009_Nothing]\ntrainers: nnunet\n"), workspace)


def test_the_generated_data_need_not_be_there(tmp_path: Path, suite_of: Parse) -> None:
    graph = build_graph(suite_of("datasets: demo\ntrainers: nnunet\n"), Workspace.locate(tmp_path))
    assert len(graph.cells) == 10


def test_the_longest_chain_is_shorter_than_the_sum(graph: Graph) -> None:
    total = sum(job.seconds for job in graph.jobs)
    assert 60 < critical_path(graph) < total / 3


def test_five_thousand_jobs_are_laid_out_in_seconds_without_torch(tmp_path: Path) -> None:
    place = Workspace.locate(tmp_path)
    for index in range(1, 51):
        make_raw(place.raw, f"Dataset{index:03d}_X", cases=5)
    names = ", ".join(f"Dataset{index:03d}_X" for index in range(1, 51))
    trainers = "[nnunet, brainunet, resnet34_mlp, deepmrseg, unet, mednext_s]"
    suite = tmp_path / "big.yaml"
    suite.write_text(f"datasets: [{names}]\ntrainers: {trainers}\nbudget: {{per_run: 1h}}\n")
    code = (
        "import sys, pathlib; from autoseg.benchmark.suite.suite import load_suite;"
        "from autoseg.benchmark.jobs.layout import build_graph;"
        "from autoseg.benchmark.jobs.board import Board;"
        "from autoseg.benchmark.status.status import Status, dry_run;"
        "from autoseg.workspace import Workspace;"
        "graph = build_graph(load_suite(sys.argv[1]), Workspace.locate(sys.argv[2]));"
        "text = dry_run(Status.of(Board(graph)));"
        "print(len(graph.jobs), 'torch' in sys.modules, 'nnunetv2' in sys.modules, 'together' in text)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(suite), str(tmp_path)], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    number, *loaded = done.stdout.split()
    assert int(number) >= 5000
    assert loaded == ["False", "False", "True"]
    # Of the processor: other work on the machine is not this one's.
    assert taken < 10
