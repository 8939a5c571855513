"""What every results file has to say about where its numbers come from, and the writing of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autoseg import __version__

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def machine(device: str = "cpu", packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """Command, commit, cores, processor, device, date and versions of this run.

    Args:
        device: what the work ran on; ``cuda`` is replaced by the GPU's name.
        packages: whose versions matter beside Python, numpy and autoseg.
    """
    return {
        "command": command(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": cores(),
        "processor": processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "device": gpu() if device == "cuda" else device,
        "system": platform.platform(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", *packages)},
            "autoseg": __version__,
        },
    }


def command() -> str:
    """The command line; of absolute paths only the last part, so that no results file names a home."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(HERE.parent) if script.is_relative_to(HERE.parent) else script.name
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return " ".join(["python", str(name), *words])


def commit() -> str:
    """The commit, with ``-dirty`` where the tree differs from it."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def gpu() -> str:
    """The name of the first GPU."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


def write_results(name: str, where: dict[str, Any], results: Any, text: str) -> None:
    """Write results/NAME.json, and results/NAME.md with the same head.

    Args:
        name: the name of the two files.
        where: `machine()`, taken at the start of the run.
        results: JSON-able.
        text: Markdown: what was measured and the tables.
    """
    RESULTS.mkdir(exist_ok=True)
    document = json.dumps({"machine": where, "results": results}, indent=2, allow_nan=False)
    (RESULTS / f"{name}.json").write_text(document + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(f"{text.strip()}\n\n{head(where)}\n", encoding="utf-8")


def head(where: dict[str, Any]) -> str:
    """`machine()` as a Markdown table."""
    rows = {key: value for key, value in where.items() if key != "versions"}
    rows |= {"versions": ", ".join(f"{name} {number}" for name, number in where["versions"].items())}
    lines = [f"| {key.replace('_', ' ')} | {_cell(key, value)} |" for key, value in rows.items()]
    return "\n".join(["| run | |", "|---|---|", *lines])


def _cell(key: str, value: Any) -> str:
    return f"`{value}`" if key in ("command", "commit") else str(value)
