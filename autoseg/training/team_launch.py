"""Starts the processes of a training on several devices, and ends them all when one has ended badly."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import RunError, UsageError
from autoseg.run import Checkpoint, Run
from autoseg.system import progress
from autoseg.system.files import read_json
from autoseg.system.oom_kills import killed_since, oom_kills
from autoseg.training.checkpoint_files import remove_resumable
from autoseg.training.legs import Leg
from autoseg.training.team import Places
from autoseg.workspace import Workspace

RANK = "autoseg.training.team_rank"
INTERRUPTED = 130
# How long the others have to end by themselves when one has died.
GRACE_S = 5.0
_LOOK_EVERY_S = 0.2
AGAIN = "Type the command again: the training goes on from its last checkpoint."


def train_on(
    places: Places, run: Run, workspace: Workspace, device: torch.device, leg: Leg | None = None
) -> Checkpoint:
    """Train a run on several devices: GPUs of one machine or of several, or on a CPU as many processes.

    Args:
        places: how many.
        run: what is trained; held by this process.
        workspace: where everything lies; for several machines on a file system that they share.
        device: the kind of device.
        leg: where a race would pause it, which goes on one device only.

    Raises:
        RunError: if a process dies or cannot go on; the message says which and why.
        UsageError: if there are not so many devices.
        KeyboardInterrupt: after an interrupt, with a checkpoint written.
    """
    if leg is not None:
        raise UsageError(f"A race trains each run on one device, not on {places.count}. Leave out --devices.")
    _check(places, device)
    kills = oom_kills()
    # Beside the checkpoints: what other machines write has to be seen here.
    run.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".devices_", dir=run.folder) as folder:
        outcomes = [Path(folder) / f"{rank}.json" for rank in range(places.count)]
        told = _told(places, run, workspace, device, Path(folder))
        start = _started_by_srun if places.nodes > 1 else _started
        processes = start(places, told, device)
        try:
            with _signals_to(processes[0]):
                first = _first_to_end_badly(processes)
            _end(processes)
            if first is not None:
                _raise(processes, outcomes, first, killed_since(kills))
            remove_resumable(run.folder)
            return Checkpoint(run, run.final_checkpoint, int(read_json(outcomes[0])["epoch"]))
        finally:
            _end(processes, at_once=True)


def _check(places: Places, device: torch.device) -> None:
    if device.type == "mps":
        raise UsageError(f"--devices {places.devices}: this machine has one MPS device. Train on one.")
    there = torch.cuda.device_count() if device.type == "cuda" else places.devices
    if places.devices > there:
        raise UsageError(f"--devices {places.devices}: there are {there} GPUs. Give at most {there}.")
    if places.nodes > 1 and ("SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None):
        raise UsageError(
            f"{places.nodes} machines train together only within a job of SLURM that has them, where srun "
            f"starts processes on them. Run the benchmark with --engine slurm or sbatch."
        )


def _told(
    places: Places, run: Run, workspace: Workspace, device: torch.device, folder: Path
) -> dict[str, Any]:
    """What each process is told, apart from its number."""
    address = "127.0.0.1" if places.nodes == 1 else socket.gethostname()
    return {
        "run": {**asdict(run), "results": str(run.results)},
        "workspace": {name: str(path) for name, path in asdict(workspace).items()},
        "device": device.type,
        "size": places.count,
        "address": address,
        "port": _free_port(),
        "style": progress.style(),
        "level": logging.getLogger("autoseg").level,
        "threads": _threads(places.devices, device),
        "folder": str(folder),
    }


def _started(places: Places, told: dict[str, Any], device: torch.device) -> list[subprocess.Popen[str]]:
    """Each in a session of its own, so that Ctrl-C in a terminal reaches this process alone."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    gpus = visible.split(",") if visible else [str(index) for index in range(places.count)]
    processes = []
    for rank in range(places.count):
        own = {"CUDA_VISIBLE_DEVICES": gpus[rank]} if device.type == "cuda" else {}
        process = _process([sys.executable, "-m", RANK], {**os.environ, **own})
        _tell(process, {**told, "rank": rank})
        processes.append(process)
    return processes


def _started_by_srun(
    places: Places, told: dict[str, Any], device: torch.device
) -> list[subprocess.Popen[str]]:
    """One call of srun, which starts all: it gives each what stands on its own input, and a number."""
    options = [
        *("srun", "--overlap", "--kill-on-bad-exit=1", "--unbuffered"),
        *(f"--nodes={places.nodes}", f"--ntasks={places.count}", f"--ntasks-per-node={places.devices}"),
        *(["--gpus-per-task=1"] if device.type == "cuda" else []),
    ]
    process = _process([*options, sys.executable, "-m", RANK], dict(os.environ))
    _tell(process, told)
    return [process]


def _process(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,  # which belongs to results
        text=True,
        env=environment,
        start_new_session=True,
    )


def _tell(process: subprocess.Popen[str], told: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()


def _threads(devices: int, device: torch.device) -> int:
    """Of each process on a CPU: its share of this one's; 0: as it is."""
    return max(1, torch.get_num_threads() // devices) if device.type == "cpu" else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _signals_to(process: subprocess.Popen[str]) -> Iterator[None]:
    """Let the first process, which decides for all, know of Ctrl-C and of a scheduler's signals."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)

    def forward(*_: Any) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)

    try:
        given = {number: signal.signal(number, forward) for number in numbers}
    except ValueError:  # not the main thread: its owner handles signals
        given = {}
    try:
        yield
    finally:
        for number, handler in given.items():
            signal.signal(number, handler)


def _first_to_end_badly(processes: Sequence[subprocess.Popen[str]]) -> int | None:
    """Wait until all have ended well, or one has not; a killed one is told before those that lost it."""
    while True:
        codes = [process.poll() for process in processes]
        bad = [rank for rank, code in enumerate(codes) if code]
        if bad:
            time.sleep(_LOOK_EVERY_S)
            codes = [process.poll() for process in processes]
            order = {INTERRUPTED: 1, 1: 2}
            return min(
                (rank for rank, code in enumerate(codes) if code),
                key=lambda rank: (0 if (codes[rank] or 0) < 0 else order.get(codes[rank] or 0, 3), rank),
            )
        if None not in codes:
            return None
        time.sleep(_LOOK_EVERY_S)


def _end(processes: Sequence[subprocess.Popen[str]], at_once: bool = False) -> None:
    """Let all end, and kill those that do not: one that waits for a dead one may wait for long."""
    until = time.monotonic() + (0.0 if at_once else GRACE_S)
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def _raise(
    processes: Sequence[subprocess.Popen[str]], outcomes: Sequence[Path], first: int, oom: bool
) -> None:
    """Say why the first one ended.

    Raises:
        KeyboardInterrupt: where it was told to.
        RunError: else.
    """
    code = processes[first].returncode
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    told = [read_json(path) for path in outcomes if path.is_file()]
    said = read_json(outcomes[first]) if outcomes[first].is_file() else {}
    # Of several machines, srun alone has ended: which process it was, their files say.
    said = next((each for each in told if "error" in each), said)
    if "error" in said:
        raise RunError(said["error"])
    who = f"Process {first + 1} of {len(outcomes)} of the training"
    if code == -signal.SIGKILL:
        why = "was killed" + (" by the kernel, for want of memory" if oom else " from outside")
    elif code < 0:
        why = f"died of {signal.Signals(-code).name}"
    else:
        why = f"ended: {said.get('problem', f'status {code}')}"
    raise RunError(f"{who} {why}. The others were ended. {AGAIN}")
