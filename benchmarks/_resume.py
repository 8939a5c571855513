"""A command in a forked process that something happens to, and what a workspace holds once it is done."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TICK_S = 0.001
PER_SECOND = os.sysconf("SC_CLK_TCK")
# A checkpoint is due once a minute: in so short trainings every few steps, so that a restart has one.
STEPS_A_CHECKPOINT = 3
Event = Callable[["Command"], bool]


@dataclass
class Command:
    """A command of autoseg that runs in a process of its own.

    Attributes:
        arguments: the command line, without the program's name.
        folder: where its output is caught.
    """

    arguments: list[str]
    folder: Path
    pid: int = 0
    status: int | None = None
    cpu_s: float = 0.0

    def start(self) -> Command:
        """Fork, and run it there."""
        sys.stdout.flush()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pid = os.fork()
        if self.pid == 0:
            _in_child(self.arguments, self.folder)
        return self

    def until(self, event: Event | None = None) -> bool:
        """Wait until something is the case, or the command has ended; whether it was."""
        while self.status is None:
            if event is not None and event(self):
                return True
            done, status, used = os.wait4(self.pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                self.cpu_s = used.ru_utime + used.ru_stime
            else:
                time.sleep(TICK_S)
        return False

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    @property
    def words(self) -> str:
        """The last line that it printed as an error."""
        lines = (self.folder / "stderr").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def refused(self) -> bool:
        """Whether it ended with a message and not with a traceback."""
        text = (self.folder / "stderr").read_text("utf-8", "replace")
        return self.status not in (0, 70, None) and self.status > 0 and "Traceback" not in text


def _in_child(arguments: list[str], folder: Path) -> None:
    status = 70
    try:
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        _save_often()
        from autoseg.cli import app

        sys.argv = ["autoseg", *arguments]
        try:
            app.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        else:
            status = 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _save_often() -> None:
    from autoseg.training.budgeted_loop import BudgetedLoop

    def save(self: Any) -> None:
        if self.steps_done and self.steps_done % STEPS_A_CHECKPOINT == 0:
            self.save_for_resuming()

    BudgetedLoop.save_now_and_then = save  # type: ignore[method-assign]


def used(seconds: float) -> Event:
    """The process has used so many seconds of processor time."""

    def event(command: Command) -> bool:
        fields = Path(f"/proc/{command.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / PER_SECOND >= seconds

    return event


def there(root: Path, pattern: str) -> Event:
    """A file of that name has appeared; folders may vanish meanwhile."""
    return lambda _: any(pattern in files for _, _, files in os.walk(root))


def children(command: Command) -> list[int]:
    """The processes that a command has started."""
    try:
        return [
            int(pid) for pid in Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        ]
    except OSError:
        return []


def kill(command: Command, number: int = signal.SIGKILL) -> None:
    """Send a signal and wait for the end."""
    command.send(number)
    command.until()


def content(root: Path) -> dict[str, str]:
    """Digest of what everything in a workspace says, times and paths left out, by its path."""
    return {str(path.relative_to(root)): found for path, found in _content(root)}


def _content(root: Path) -> Iterator[tuple[Path, str]]:
    from autoseg.data.readers import read_segmentation
    from autoseg.nnunet import read_checkpoint
    from autoseg.system.files import digest, read_json

    for path in sorted(root.rglob("*")):
        if "raw" in path.relative_to(root).parts or not path.is_file():
            continue
        if path.name == "checkpoint_final.pth":
            found = read_checkpoint(path)
            logged = {key: value for key, value in found["logging"].items() if "timestamps" not in key}
            yield path, digest([_tensors(found["network_weights"]), repr(logged)])
            yield path.with_name("optimiser"), digest(_tensors(found["optimizer_state"]["state"]))
            yield path.with_name("steps"), str(found["init_args"]["autoseg"]["steps"])
        elif path.name.startswith("checkpoint_") or path.name.startswith("."):
            # Those with the lowest losses have other numbers where they were written at other times.
            yield path.with_name("torn" if path.name.startswith(".") else "checkpoints"), "there"
        elif path.name.endswith((".nii.gz", ".png")) and path.parent.name in ("validation", "out"):
            array = read_segmentation(
                path, "SimpleITKIO" if path.suffix == ".gz" else "NaturalImage2DIO"
            ).array
            yield path, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        elif path.name == "evaluation.json":
            yield path, digest(_scores(read_json(path)))
        elif path.suffix in (".b2nd", ".pkl") or (path.suffix == ".html" and path.parent.name == "out"):
            yield path, hashlib.sha256(path.read_bytes()).hexdigest()


def _tensors(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {str(key): _tensors(each) for key, each in value.items()}
    return repr(value)


def _scores(document: Any) -> Any:
    """An evaluation without the times and paths in it."""
    left_out = ("seconds", "time", "date", "created", "path", "folder")
    if isinstance(document, dict):
        return {key: _scores(each) for key, each in document.items() if not any(w in key for w in left_out)}
    if isinstance(document, list):
        return [_scores(each) for each in document]
    return Path(document).name if isinstance(document, str) and "/" in document else document
