"""The progress page: what it says of every state, and that it keeps itself up to date."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from autoseg.benchmark.engines.serial import run_local
from autoseg.benchmark.jobs.board import Board, Outcome
from autoseg.benchmark.jobs.graph import Graph
from autoseg.benchmark.jobs.run_job import Impossible
from autoseg.benchmark.status.watch import Watch, write_progress
from autoseg.system.lease import Lease


def page_of(board: Board, refresh: bool = True) -> str:
    """The page, freshly written."""
    return write_progress(board, None, refresh=refresh).read_text(encoding="utf-8")


def test_every_state_is_told_in_words_and_colour(graph: Graph, pretend: dict[str, Any]) -> None:
    board = Board(graph)
    pretend["raise"]["train-Dataset001_A-brainunet"] = RuntimeError("<out of memory>")
    pretend["raise"]["fit-Dataset002_B-brainunet"] = Impossible("it is 3D and the data are 2D")
    pretend["results"]["evaluate"] = {"dice": 0.8125, "collapsed": False, "record": "nowhere"}
    run_local(graph)
    gone = next(job for job in graph.of("evaluate") if "002_B-nnunet" in job.id)
    board.write(
        Outcome(
            gone.id, "done", result={"dice": 0.0, "collapsed": True}, upstream=board.upstream(gone), seconds=5
        )
    )
    text = page_of(board)
    for css, word in (("done", "done"), ("failed", "FAILED"), ("collapsed", "collapsed")):
        assert re.search(rf'<td class="cell {css}"[^>]*><b>{word}</b>', text), css
    assert "<small>0.812</small>" in text or "<small>0.813</small>" in text
    assert "RuntimeError: &lt;out of memory&gt;" in text and "<out of" not in text
    assert "It predicts only background" in text
    assert 'http-equiv="refresh"' in text and 'http-equiv="refresh"' not in page_of(board, refresh=False)
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_what_runs_says_where(graph: Graph) -> None:
    board, job = Board(graph), graph.of("import")[0]
    with Lease(board.lease_of(job)):
        text = page_of(board)
    assert job.id in text and "process" in text
    assert "0 of 12 runs have ended" in text


def test_the_page_is_rewritten_while_the_benchmark_runs_and_stops_with_it(graph: Graph) -> None:
    board = Board(graph)
    with Watch(graph, every_s=0.05):
        times = set()
        until = time.monotonic() + 10
        while len(times) < 3 and time.monotonic() < until:
            if board.progress_page.is_file():
                times.add(board.progress_page.stat().st_mtime_ns)
            time.sleep(0.02)
    assert len(times) >= 3
    assert "when the benchmark last ended" in board.progress_page.read_text(encoding="utf-8")
    assert [file.name for file in Path(board.folder).glob(".*progress*")] == []
