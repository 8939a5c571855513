"""How often the kernel has killed a process for want of memory, as its counters say."""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def oom_kills(proc: Path = PROC, cgroups: Path = CGROUPS) -> dict[str, int]:
    """The counters that can be read: of the whole machine, and of this process's control groups.

    Of a container, the control group's counts what its own limit has killed.

    Args:
        proc: where the kernel shows processes.
        cgroups: where it shows control groups, of version 1 or 2.

    Returns:
        Counts by the name of their file; empty where there is no Linux.
    """
    found = {"vmstat": _count(proc / "vmstat")}
    for line in _read(proc / "self" / "cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in ("", "memory"):
            continue
        root = cgroups if controllers == "" else cgroups / "memory"
        name = "memory.events" if controllers == "" else "memory.oom_control"
        # Within a container, its own group is the root of what it sees.
        for folder in (root / path.lstrip("/"), root):
            found.setdefault(name, _count(folder / name))
            if found[name] < 0:
                del found[name]
    return {name: count for name, count in found.items() if count >= 0}


def killed_since(before: dict[str, int]) -> bool:
    """Whether a counter has risen since `oom_kills` gave `before`."""
    return any(count > before.get(name, count) for name, count in oom_kills().items())


def _count(path: Path) -> int:
    """The value after ``oom_kill``; -1: there is none."""
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return -1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
