"""The benchmark of a GPU walks its whole way where there is none, and writes nothing then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_gpu.py"


@pytest.mark.slow
def test_the_command_walks_to_its_end_without_a_gpu(tmp_path: Path) -> None:
    results = sorted((BENCH.parent / "results").glob("gpu*"))
    command = [sys.executable, str(BENCH), "--dry", "--workspace", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = done.stdout[done.stdout.index("# On a GPU") :].splitlines()
    stock = next(line for line in report if line.startswith("| stock "))
    assert "| not measured | not measured |" in stock and stock.endswith("| 1.00x |")
    assert any(line.startswith("| autoseg ") for line in report)
    assert sum(line.startswith("| 60 s ") for line in report) == 1, "a budget was walked"
    assert report[-1].startswith(("Minutes from the raw folder", "A Dice of 0.885 was not reached"))
    assert sorted((BENCH.parent / "results").glob("gpu*")) == results, "nothing is written"
