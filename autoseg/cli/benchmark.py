"""The command line of benchmarks: `autoseg benchmark` and the two commands that its engines call."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoseg.cli.arguments import Json, Quiet, Root, Workers
from autoseg.cli.console import console, print_json, print_leaderboard, start, workspace_at
from autoseg.cli.failures import exit_where_all_cells_failed
from autoseg.errors import UsageError

if TYPE_CHECKING:
    from autoseg.benchmark.jobs.board import Board
    from autoseg.benchmark.jobs.graph import Graph

app = typer.Typer()

# The engines that --emit means; the same as --engine.
SCRIPTS = ("sbatch", "bsub")


@app.command("benchmark")
def benchmark_command(
    suite: Annotated[str, typer.Argument(metavar="SUITE.yaml", help="A file, or the name of a shipped one.")],
    dataset: Annotated[
        list[str] | None, typer.Option(help="Instead of the suite's data sets; repeatable.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="A name of `autoseg list engines`, or a Python file.")
    ] = "serial",
    jobs: Annotated[int, typer.Option(min=1, help="At once, for all engines but serial.")] = 1,
    submit: Annotated[
        str | None, typer.Option(help="Command that submits a script, for the engine generic.")
    ] = None,
    engine_options: Annotated[
        str, typer.Option(help="Of Snakemake, as one text: '--slurm-status-command squeue'.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="The jobs, their order and their times.")
    ] = False,
    show_status: Annotated[
        bool, typer.Option("--status", help="What is done, running, failed and why.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    race: Annotated[
        bool, typer.Option("--race", help="Stop on the way what is clearly behind, as race: true does.")
    ] = False,
    emit: Annotated[str | None, typer.Option(help="Print a script that submits all: sbatch or bsub.")] = None,
    workers: Workers = None,
    workspace: Root = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Data sets x trainers x folds x seeds to a finished leaderboard. Run again, it goes on where it stopped.

    Several processes may work on one suite at once, on one machine or on many that share its file system.
    Exit 1 if every run failed.

    Example: `autoseg benchmark smoke --dry-run`
    """
    from autoseg.benchmark.engine import Order, engine_named
    from autoseg.benchmark.jobs.board import Board
    from autoseg.benchmark.status.status import Status

    start(quiet)
    if emit is not None and emit not in SCRIPTS:
        raise UsageError(f"No script can be printed for {emit!r}. Choose {' or '.join(SCRIPTS)}.")
    chosen = engine_named(emit or engine)
    graph = _graph(suite, dataset, workspace, race)
    board = Board(graph)
    if dry_run or show_status:
        _show(board, show_status, as_json)
        return
    options = tuple(shlex.split(engine_options))
    ran = chosen.run(graph, Order(jobs, workers, retry_failed, submit, options))
    if chosen.kind == "prints":
        typer.echo(ran.script, nl=False)
        return
    _report(board, as_json)
    exit_where_all_cells_failed(Status.of(board))
    if ran.exit_status:
        raise typer.Exit(1)


@app.command("benchmark-job", hidden=True)
def benchmark_job_command(
    board: Annotated[Path, typer.Argument(metavar="JOBS.json", help="The job list of a benchmark.")],
    jobs: Annotated[
        list[str], typer.Argument(metavar="JOB...", help="Ids, in order; or a number with --of FILE.")
    ],
    of: Annotated[
        Path | None, typer.Option(help="File of ids, one in a line; JOB counts them from 1.")
    ] = None,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Run a job of a benchmark, or several that follow each other. Engines call this.

    Example: `autoseg benchmark-job jobs.json leaderboard`
    """
    from autoseg.benchmark.jobs.board import FORGIVEN, Board
    from autoseg.benchmark.jobs.graph import Graph
    from autoseg.benchmark.jobs.single import run_single

    start(quiet)
    graph = Graph.load(board)
    listed = of.read_text(encoding="utf-8").split() if of is not None else []
    names = [listed[int(job) - 1] for job in jobs] if of is not None else jobs
    for job in map(graph.job, names):
        outcome = run_single(Board(graph), job, workers)
        if outcome.state == "failed" and job.stage not in FORGIVEN:
            raise typer.Exit(1)


def _graph(suite: str, datasets: list[str] | None, root: Path | None, race: bool = False) -> Graph:
    from autoseg.benchmark.jobs.layout import build_graph
    from autoseg.benchmark.suite.suite import load_suite

    found = load_suite(suite, datasets or ())
    if race and not found.race:
        found = found.model_copy(update={"race": True})
    return build_graph(found, workspace_at(root))


def _show(board: Board, status: bool, as_json: bool) -> None:
    """The status, or what a dry run tells; with the leaderboard so far."""
    from autoseg.benchmark.status.status import Status, dry_run, status_table

    found = Status.of(board)
    if as_json:
        jobs = [] if status else [job.to_json() for job in board.graph.jobs]
        print_json({**found.to_json(), **_standing(board, status), **({} if status else {"graph": jobs})})
    elif not status:
        typer.echo(dry_run(found))
    else:
        console().print(status_table(found))
        _print_standing(board)


def _standing(board: Board, wanted: bool) -> dict[str, Any]:
    from autoseg.benchmark.jobs.standings import leaderboard

    found = leaderboard(board) if wanted else None
    return {"leaderboard": found.to_json(board.page, board.folder) if found else None} if wanted else {}


def _print_standing(board: Board) -> None:
    from autoseg.benchmark.jobs.standings import leaderboard

    found = leaderboard(board)
    if found is not None:
        print_leaderboard(found)


def _report(board: Board, as_json: bool) -> None:
    from autoseg.benchmark.engine import Summary

    if as_json:
        _show(board, True, True)
        return
    summary = Summary.of(board.states())
    _print_standing(board)
    if board.page.is_file():
        typer.echo(f"\nThe page: {board.page}")
    if summary.failed:
        typer.echo(
            f"{summary.failed} jobs failed, {summary.blocked} wait for them. --status shows the reasons, "
            f"--retry-failed runs them again.",
            err=True,
        )
    if summary.elsewhere:
        typer.echo(f"{summary.elsewhere} jobs are run by other processes.", err=True)
