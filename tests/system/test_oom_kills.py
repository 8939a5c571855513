"""The kernel's counters of processes that it killed for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.system import oom_kills as module
from autoseg.system.oom_kills import killed_since, oom_kills


def kernel(root: Path, group: str, files: dict[str, str]) -> tuple[Path, Path]:
    """What the kernel would show: folders of processes and of control groups."""
    proc, groups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "vmstat").write_text("nr_free_pages 12\noom_kill 4\n")
    (proc / "self" / "cgroup").write_text(group)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    return proc, groups


def test_a_container_of_version_2(tmp_path: Path) -> None:
    files = {"job/memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"}
    assert oom_kills(*kernel(tmp_path, "0::/job\n", files)) == {"vmstat": 4, "memory.events": 2}


def test_version_1_seen_from_within_a_container(tmp_path: Path) -> None:
    group = "5:cpu:/docker/x\n4:memory:/docker/x\n0::/\n"
    files = {"memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"}
    assert oom_kills(*kernel(tmp_path, group, files)) == {"vmstat": 4, "memory.oom_control": 1}


def test_no_linux(tmp_path: Path) -> None:
    assert oom_kills(tmp_path / "proc", tmp_path / "cgroup") == {}


@pytest.mark.parametrize(
    ("now", "killed"), [({"a": 2}, True), ({"a": 1}, False), ({}, False), ({"b": 9}, False)]
)
def test_a_counter_that_has_risen(monkeypatch: pytest.MonkeyPatch, now: dict[str, int], killed: bool) -> None:
    monkeypatch.setattr(module, "oom_kills", lambda: now)
    assert killed_since({"a": 1}) is killed
