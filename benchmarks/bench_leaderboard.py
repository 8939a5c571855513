"""How the leaderboard scales: 100,000 records ranked, and a large page written and opened.

    python benchmarks/bench_leaderboard.py [--rounds 3]

Ranking: 50 trainers, 20 data sets, 5 folds and 20 seeds, 100 cases a data set; every pair tested, 10,000
bootstrap draws. Reading: 5,000 of these records as JSON lines. Page: 30 trainers, 20 data sets, 500 cases
each, all on one page, opened in headless Chromium (median of the rounds; the browser's clock from the start
of navigation to its load event, and the processor time of its page). Chromium is found as the tests find
it; without one the page is only written. Records are invented, with known qualities. The goal of the ranking
is set against processor time, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import HERE, machine, write_results

from autoseg.leaderboard.page.page import write_page
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record, load_records, write_records

sys.path.insert(0, str(HERE.parent / "tests" / "leaderboard"))
from chromium import chromium, find_chromium
from made_records import experiment

READ = 5_000
RANK_GOAL_S, PAGE_GOAL_MB, OPEN_GOAL_S = 10.0, 15.0, 2.0


def main() -> None:
    options = _options()
    where = machine(packages=("scipy", "jinja2", "pydantic"))
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "ranking": _ranking(Path(folder), options.datasets),
            "page": _page(Path(folder), options.datasets, options.rounds),
        }
    text = _report(results)
    print(text)
    if not options.dry:
        write_results("leaderboard", where, results, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="How often the page is opened.")
    parser.add_argument("--datasets", type=int, default=20, help="Fewer for a quick look.")
    parser.add_argument("--dry", action="store_true", help="Do not write the results file.")
    return parser.parse_args()


def _records(trainers: int, cases: int, datasets: int, **options: Any) -> list[Record]:
    qualities = {f"trainer_{i:02d}": 0.9 - 0.002 * i for i in range(trainers)}
    made = (experiment(qualities, cases, dataset=f"Dataset{n:03d}_Made", **options) for n in range(datasets))
    return [record for records in made for record in records]


def _timed(work: Any) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
    }


def _ranking(folder: Path, datasets: int) -> dict[str, Any]:
    records = _records(50, 100, datasets, structures=("organ",), seeds=range(20))
    board, ranking = _timed(lambda: rank(records))
    path = folder / "records.jsonl"
    write_records(path, records[:READ])  # each derives its intervals anew, which takes longer than reading
    read, reading = _timed(lambda: load_records(path))
    return {
        "records": len(records),
        "rows": len(board.rows),
        "pairs": len(board.comparisons()),
        "ranking": ranking,
        "reading": reading,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "read": len(read),
    }


def _page(folder: Path, datasets: int, rounds: int) -> dict[str, Any]:
    board = rank(_records(30, 500, datasets))
    path, writing = _timed(lambda: write_page(board, folder / "page.html"))
    program = find_chromium()
    return {
        "trainers": 30,
        "datasets": datasets,
        "cases": 500,
        "mb": round(path.stat().st_size / 1e6, 2),
        "writing": writing,
        "opening": _opening(program, path, rounds) if program else None,
    }


def _opening(program: str, path: Path, rounds: int) -> dict[str, Any]:
    opened = []
    with chromium(program) as browser:
        for _ in range(rounds):
            page = browser.page()
            page.call("Performance.enable")
            page.open(path)
            entry = page.run(
                "(e => ({ready: e.domContentLoadedEventEnd, load: e.loadEventEnd}))"
                "(performance.getEntriesByType('navigation')[0])"
            )
            metrics = {item["name"]: item["value"] for item in page.call("Performance.getMetrics")["metrics"]}
            opened.append((entry["ready"] / 1e3, entry["load"] / 1e3, metrics["TaskDuration"]))
            complaints = len(page.complaints)
    ready, load, task = (round(statistics.median(values), 3) for values in zip(*opened, strict=True))
    return {"rounds": rounds, "ready_s": ready, "load_s": load, "task_s": task, "complaints": complaints}


def _report(results: dict[str, Any]) -> str:
    ranking, page = results["ranking"], results["page"]
    lines = ["# The leaderboard at scale", "", (__doc__ or "").split("\n\n", 2)[2].strip(), ""]
    lines += ["| what | measured | goal |", "|---|---|---|"]
    lines.append(
        f"| rank {ranking['records']:,} records ({ranking['rows']:,} rows, {ranking['pairs']:,} pairs) | "
        f"{_seconds(ranking['ranking'])} | {_met(ranking['ranking']['cpu_s'], RANK_GOAL_S, 's')} |"
    )
    what = f"read {ranking['read']:,} records from a file of {ranking['file_mb']:.0f} MB"
    lines.append(f"| {what} | {_seconds(ranking['reading'])} | |")
    lines.append(f"| write the page | {_seconds(page['writing'])} | |")
    lines.append(f"| size of the page | {page['mb']:.1f} MB | {_met(page['mb'], PAGE_GOAL_MB, 'MB')} |")
    opening = page["opening"]
    if opening is None:
        return "\n".join([*lines, "| open it | no Chromium here | |"])
    lines.append(
        f"| open it | loaded after {opening['load_s']:.2f} s ({opening['task_s']:.2f} s of processor time) | "
        f"{_met(opening['load_s'], OPEN_GOAL_S, 's')} |"
    )
    return "\n".join(lines)


def _seconds(found: dict[str, float]) -> str:
    return f"{found['wall_s']:.1f} s ({found['cpu_s']:.1f} s of processor time)"


def _met(value: float, goal: float, unit: str) -> str:
    return f"< {goal:g} {unit}, {'met' if value < goal else 'MISSED'}"


if __name__ == "__main__":
    main()
