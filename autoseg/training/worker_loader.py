"""Batches made by processes of their own, in order, and none that the training would wait for in vain."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
import torch

from autoseg.errors import RunError
from autoseg.system.oom_kills import killed_since, oom_kills
from autoseg.system.pool import settle
from autoseg.system.workers import SharedArray
from autoseg.training.step_draws import StepLoader

log = logging.getLogger(__name__)

# Batches that each process makes ahead of the training.
AHEAD = 2
# A process that says nothing for so long hangs: the largest batch takes seconds.
SILENCE_S = 600.0
# Batches after which a process that died may die again without ending the run.
BATCHES_BETWEEN = 1000
_NAME_BYTES = 512


class WorkerLoader(StepLoader):
    """The batches of a `StepLoader`, made by several processes.

    Batch n is a function of the seed and of n, whichever process makes it, and they are given in order. A
    process that dies or hangs is named, with the case that it was at, and started again once; then the run
    ends. Batches go through pipes: shared memory would have a limit of its own in a container.

    Args:
        inner: makes the batches; each process gets it as it is when it is forked.
        processes: how many.
        pinned: whether batches are for a GPU, in memory that it reads by itself.
        silence_s: seconds without an answer after which a process counts as hanging.
    """

    def __init__(
        self, inner: StepLoader, processes: int, pinned: bool = False, silence_s: float = SILENCE_S
    ) -> None:
        super().__init__(inner.loader, inner.seed, inner.stream)
        self.inner, self.pinned, self.silence_s = inner, pinned, silence_s
        self._asked_to = 0
        self._restarted_at: int | None = None
        self._processes = [_Process(inner) for _ in range(processes)]

    def __next__(self) -> Any:
        batch = self._made()
        self.position += 1
        return batch

    def _made(self) -> Any:
        count = len(self._processes)
        if not self.position <= self._asked_to <= self.position + AHEAD * count:
            self._asked_to = self.position  # the training was sent to another place
        while True:
            index = self.position % count
            try:
                while self._asked_to < self.position + AHEAD * count:
                    self._processes[self._asked_to % count].ask(self._asked_to)
                    self._asked_to += 1
                return self._tensors(self._processes[index].answer(self.position, self.silence_s))
            except _Lost as problem:
                self._restart(problem)

    def _restart(self, problem: _Lost) -> None:
        index = self._processes.index(problem.process)
        what = f"Loading process {index + 1} of {len(self._processes)} {problem}"
        problem.process.end()
        again = self._restarted_at is not None and self.position - self._restarted_at < BATCHES_BETWEEN
        if again:
            self._finish()
            raise RunError(
                f"{what}, after one had to be started again before. Check that case's files, or use less "
                f"memory: nnUNet_n_proc_DA=N sets how many processes load (now {len(self._processes)}). Then "
                f"type the command again: the training goes on from its last checkpoint."
            )
        self._restarted_at = self.position
        log.warning("%s. It is started again.", what)
        self._processes[index] = _Process(self.inner)
        # What it had been asked for is asked for again; the others' answers that come twice are left out.
        self._asked_to = self.position

    def _tensors(self, batch: Any) -> Any:
        return {key: _mapped(value, self._tensor) for key, value in batch.items()}

    def _tensor(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
            return array
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.pinned else tensor

    def _finish(self) -> None:
        """End the processes; the name is that of nnU-Net's loaders."""
        for process in self._processes:
            process.end()


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    return [function(each) for each in value] if isinstance(value, list) else function(value)


class _Lost(Exception):
    """A process died or hangs; the text goes after its name."""

    def __init__(self, process: _Process, words: str) -> None:
        super().__init__(words)
        self.process = process


class _Process:
    """One process that makes batches."""

    def __init__(self, inner: StepLoader) -> None:
        context = multiprocessing.get_context("fork")
        self.case = SharedArray((_NAME_BYTES,), "uint8")
        self.kills = oom_kills()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=_make_batches, args=(inner, theirs, self.case.array, self.connection), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def ask(self, position: int) -> None:
        """Ask for a batch."""
        try:
            self.connection.send(position)
        except OSError:
            raise _Lost(self, self._death()) from None

    def answer(self, position: int, silence_s: float) -> Any:
        """The batch; what was asked for before the training went elsewhere is left out.

        Raises:
            RunError: what stood in the way of making it.
        """
        while True:
            if not wait([self.connection], silence_s):
                case = _text(self.case.array)
                raise _Lost(self, f"has not answered for {silence_s:.0f} s, at the case {case}")
            try:
                made, batch = self.connection.recv()
            except (EOFError, OSError):
                raise _Lost(self, self._death()) from None
            if isinstance(batch, str):
                raise RunError(f"{batch}. Check the files of this case.")
            if made == position:
                return batch

    def _death(self) -> str:
        self.process.join(5)
        code = self.process.exitcode
        if code == -signal.SIGKILL:
            why = "was killed" + (
                " by the kernel, for want of memory" if killed_since(self.kills) else " from outside"
            )
        else:
            why = (
                f"died of {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
            )
        return f"{why}, at the case {_text(self.case.array)}"

    def end(self) -> None:
        """Kill it, if it still lives, and forget it."""
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.case.close()


def _make_batches(inner: StepLoader, connection: Connection, case: Any, parents: Connection) -> None:
    """What a process does until its parent has no more questions."""
    parents.close()
    settle()
    torch.set_num_threads(1)
    dataset = inner.loader._data
    load = dataset.load_case

    def load_named(identifier: str) -> Any:
        name = identifier.encode()[:_NAME_BYTES]
        case[: len(name)] = np.frombuffer(name, "uint8")
        case[len(name) :] = 0
        return load(identifier)

    dataset.load_case = load_named
    while True:
        try:
            position = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        inner.position = position
        found: Any
        try:
            batch = next(inner)
            found = {key: _mapped(value, _array) for key, value in batch.items()}
        # Nothing gets through: whatever it is, the parent says it with the name of the case.
        except Exception as problem:
            found = f"{_text(case)} cannot be loaded: {type(problem).__name__}: {problem}"
        connection.send((position, found))


def _text(case: Any) -> str:
    return bytes(case.tolist()).rstrip(b"\0").decode("utf-8", "replace") or "(none yet)"


def _array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else value
