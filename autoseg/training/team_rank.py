"""One process of a training on several devices, started by `team_launch`.

It reads what to do as JSON from its standard input, which its parent holds open: when that ends, so does it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autoseg import nnunet
from autoseg.errors import AutosegError
from autoseg.run import Run
from autoseg.system import progress
from autoseg.system.files import write_json
from autoseg.training import team
from autoseg.training.training_run import train_here
from autoseg.workspace import Workspace

INTERRUPTED, FAILED, LOST = 130, 1, 3


def main() -> int:
    """Train, and say in a file how it ended."""
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # srun gives all of them the same input, and each its number.
    rank, size = int(told.get("rank", os.environ.get("SLURM_PROCID", 0))), int(told["size"])
    progress.show(told["style"] if rank == 0 else "off")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("autoseg").setLevel(told["level"] if rank == 0 else logging.ERROR)
    if told["threads"]:
        torch.set_num_threads(int(told["threads"]))
    outcome = Path(told["folder"]) / f"{rank}.json"
    try:
        epoch = _trained(told, rank, size)
    except KeyboardInterrupt:
        return INTERRUPTED
    except AutosegError as problem:
        write_json(outcome, {"error": str(problem)})
        return FAILED
    except Exception as problem:
        # Whatever it is: the parent says it, or that of the process which failed first.
        logging.getLogger(__name__).debug("%s", problem, exc_info=True)
        write_json(outcome, {"problem": _words(problem)})
        return LOST
    write_json(outcome, {"epoch": epoch})
    return 0


def _words(problem: Exception) -> str:
    """Kind and first line."""
    return f"{type(problem).__name__}: {next(iter(str(problem).splitlines()), '')}"


def _trained(told: dict[str, Any], rank: int, size: int) -> int:
    run = Run(**{**told["run"], "results": Path(told["run"]["results"])})
    workspace = Workspace(*(Path(told["workspace"][name]) for name in ("raw", "preprocessed", "results")))
    device = torch.device(told["device"])
    team.join(rank, size, told["address"], int(told["port"]), device.type == "cuda")
    # What nnU-Net writes in every process goes nowhere in all but the first.
    with tempfile.TemporaryDirectory(prefix="autoseg_rank_") as nowhere:
        nnunet.activate(workspace if rank == 0 else replace(workspace, results=Path(nowhere)))
        epoch = train_here(run, workspace, device).epoch
    team.leave()
    return epoch


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(LOST)


if __name__ == "__main__":
    raise SystemExit(main())
