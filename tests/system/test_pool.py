"""Work over cases: order, errors with names, and who is blamed for a death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoseg.data.dataset import DatasetJsonError
from autoseg.errors import DataError, PlanError, RunError
from autoseg.system.pool import each

NAMES = [f"case_{number}" for number in range(6)]


def _square(number: int) -> int:
    return number * number


def _fail(number: int) -> int:
    if number == 3:
        raise DatasetJsonError(Path("dataset.json"), [])
    if number == 4:
        raise PlanError("no plan")
    return number


def _divide(number: int) -> float:
    return 1 / (number - 2)


def _exhaust(number: int) -> int:
    raise MemoryError


def _die(number: int) -> int:
    if number == 4:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1 if number < 4 else 5)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_with_the_case(workers: int) -> None:
    assert each(_square, range(6), NAMES, workers, "Test") == [0, 1, 4, 9, 16, 25]
    with pytest.raises(DataError, match=r"case_3: dataset\.json"):
        each(_fail, range(6), NAMES, workers, "Test")
    with pytest.raises(RunError, match="case_2 failed: ZeroDivisionError"):
        each(_divide, range(6), NAMES, workers, "Test")
    with pytest.raises(RunError, match="case_0 does not fit into memory"):
        each(_exhaust, range(6), NAMES, workers, "Test")


def test_the_case_of_a_killed_worker_is_named_and_no_other() -> None:
    with pytest.raises(RunError, match=r"died over case_4: .* fewer workers") as caught:
        each(_die, range(6), NAMES, 2, "Test")
    assert not [name for name in NAMES if name != "case_4" and name in str(caught.value)]


@pytest.mark.skipif(sys.platform != "linux", reason="processes outlive their parent elsewhere")
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "sleepers.py").write_text(
        "import os, sys, time\n"
        "def sleep(path):\n"
        "    open(path, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    import sleepers\n"
        "    from autoseg.system.pool import each\n"
        "    each(sleepers.sleep, sys.argv[1:], sys.argv[1:], 2, 'Sleep')\n"
    )
    paths = [tmp_path / "one", tmp_path / "two"]
    parent = subprocess.Popen([sys.executable, str(tmp_path / "sleepers.py"), *map(str, paths)])
    deadline = time.monotonic() + 60
    while not all(path.is_file() and path.read_text() for path in paths) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = [int(path.read_text()) for path in paths]
    parent.kill()
    parent.wait()
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(child) for child in children)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
