"""`autoseg benchmark-job` with stages that do nothing.

Those named in PRETEND_FAIL fail, those in PRETEND_WAIT go on until they are told to stop.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from autoseg.benchmark.jobs import run_job as stages
from autoseg.cli.benchmark import app
from autoseg.errors import AutosegError


def play(work: Any) -> dict[str, Any]:
    """Note that the stage ran, and fail if that is asked for."""
    with open(os.environ["PRETEND_LOG"], "a", encoding="utf-8") as log:
        log.write(f"{work.job.id}\n")
    part = os.environ.get("PRETEND_FAIL")
    if part and part in work.job.id:
        raise RuntimeError("asked to fail")
    if work.job.id == os.environ.get("PRETEND_WAIT"):
        time.sleep(600)
    return {"id": work.job.id}


for stage in ("import", "verify", "fingerprint", "plan", "fit", "preprocess", "train", "predict", "evaluate"):
    stages.WORK[stage] = play
stages.WORK["leaderboard"] = play

try:
    sys.exit(app(standalone_mode=False))
except AutosegError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(error.exit_status)
