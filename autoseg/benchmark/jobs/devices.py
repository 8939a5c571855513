"""What a job computes on: a GPU of its own where there is no scheduler, and the cores that it requested."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from autoseg.system.lease import Held, hold

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL_S = 5.0


def use_cores(count: int) -> None:
    """Compute with as many threads as a job requested, whichever engine started it.

    Sums are added up in another order by another number of threads: results of two engines are equal only
    where the numbers are. More threads than there are cores would only wait for each other.
    """
    import torch

    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(count, there)))


def devices() -> tuple[str, ...]:
    """Ids of the GPUs that this process may use, without importing torch."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        return tuple(filter(None, (part.strip() for part in chosen.split(","))))
    if shutil.which("nvidia-smi") is None:
        return ()
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(listed.stdout.split()) if listed.returncode == 0 else ()


@contextlib.contextmanager
def pinned(locks: Path, count: int, there: Sequence[str] | None = None) -> Iterator[tuple[str, ...]]:
    """Keep `count` devices to this process and show CUDA no others; wait until they are free.

    Nothing is done where a job asks for no device, or where there are not more than it asks for: a scheduler
    has chosen then.

    Args:
        locks: folder of the locks, the same for all that share the machine.
        count: how many.
        there: ids to choose from; None: all that this process may use.
    """
    found = devices() if there is None else tuple(there)
    if count == 0 or len(found) <= count:
        yield found
        return
    with contextlib.ExitStack() as stack:
        taken = _take(stack, locks, count, found)
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = ",".join(taken)
        log.info("On device %s.", ", ".join(taken))
        try:
            yield taken
        finally:
            if before is None:
                del os.environ[VISIBLE]
            else:
                os.environ[VISIBLE] = before


def _take(stack: contextlib.ExitStack, locks: Path, count: int, found: Sequence[str]) -> tuple[str, ...]:
    taken: list[str] = []
    while True:
        for device in found:
            if len(taken) == count:
                return tuple(taken)
            if device not in taken:
                with contextlib.suppress(Held):
                    stack.enter_context(hold(locks / f"{platform.node()}-gpu{device}.json"))
                    taken.append(device)
        if len(taken) == count:
            return tuple(taken)
        # Two that each hold half of what they need would wait for each other.
        stack.close()
        taken.clear()
        time.sleep(POLL_S)
