"""What happens to a workspace in a long life: a full disk, another place, changed data, a clock set back."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
from _edge_system import commands_of, later_commands_of
from _edges import Attempt, Edge

NAMES = ("verify", "fingerprint", "preprocess", "plan", "import", "leaderboard", "predict")
# These write less often: fewer calls reach all that they write.
LATER = (
    *("calibrate", "postprocess", "quality", "review"),
    *("export to nnunet", "export to onnx", "serve", "fix"),
)
# Each is called where something is written: the n-th call of any of them fails.
WRITERS: tuple[tuple[Any, str], ...] = (
    (os, "replace"),
    (os, "rename"),
    (os, "fsync"),
    (Path, "write_text"),
    (Path, "write_bytes"),
    (Path, "mkdir"),
    (shutil, "copyfile"),
)
CALLS = range(1, 9)


def _run(*command: str) -> int:
    from autoseg.cli import app

    sys.argv = ["autoseg", *command]
    try:
        app.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _full_at(number: int) -> None:
    """Let the n-th write of this process find the disk full, and every later one."""
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
            return real(*arguments, **named)

        return call

    for place, name in WRITERS:
        setattr(place, name, failing(getattr(place, name)))


def _whole(folder: Path) -> None:
    """All that can be seen in the workspace and the output can be read."""
    from bench_kills import seen, torn

    for place in ("workspace", "out"):
        for path in seen(folder / place):
            assert not torn(path), torn(path)


def full_disk(rng: random.Random) -> Iterator[Edge]:
    """The disk is full at the first, second, ... write of a command."""
    for name in (*NAMES, *LATER):
        for number in CALLS if name in NAMES else CALLS[:5]:

            def make(folder: Path, name: str = name, number: int = number) -> Attempt:
                command = (commands_of if name in NAMES else later_commands_of)(folder)[name]

                def attempt() -> None:
                    _full_at(number)
                    raise SystemExit(_run(*command))

                return attempt

            yield Edge("full disk", f"{name}, write {number}", make, "either", ("No space left",), _whole)


def _sequence(*steps: Callable[[Path], object]) -> Callable[[Path], Attempt]:
    """Commands and changes one after the other, each in a process of its own."""

    def make(folder: Path) -> Attempt:
        bases.walked(folder)
        bases.dataset(folder / "workspace" / "raw")

        def attempt() -> None:
            for step in steps:
                step(folder)

        return attempt

    return make


def _command(*words: str) -> Callable[[Path], None]:
    return lambda folder: _finish(_start(folder, words))


def _start(folder: Path, words: tuple[str, ...]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        place = next(each for each in (folder / "workspace", folder / "out" / "moved") if each.is_dir())
        os.environ["AUTOSEG_WORKSPACE"] = str(place)
        status = 70
        try:
            status = _run(*words)
            sys.stdout.flush()
        finally:
            os._exit(status)
    return pid


def _finish(*pids: int) -> None:
    for pid in pids:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise SystemExit(status)


def _twice(*words: str) -> Callable[[Path], None]:
    return lambda folder: _finish(_start(folder, words), _start(folder, words))


def _move(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "workspace").rename(folder / "out" / "moved")


def _change(folder: Path) -> None:
    images = folder / "workspace" / "raw" / bases.NAME / "imagesTr"
    shutil.copyfile(images / "case_1_0000.nii.gz", images / "case_2_0000.nii.gz")


def _future(folder: Path) -> None:
    for path in (folder / "workspace").rglob("*"):
        os.utime(path, (2**31, 2**31))


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / "workspace" / name)


PREPARE = ("preprocess", bases.NAME, "--workers=1", "--quiet")
RANK = ("leaderboard", "Dataset905_Discs", "--quiet")
FINGERPRINT = ("fingerprint", bases.NAME, "--workers=1", "--quiet")
LIVES: dict[str, tuple[Callable[[Path], object], ...]] = {
    "moved after preprocessing": (_command(*PREPARE), _move, _command(*PREPARE)),
    "moved before a ranking": (_command(*RANK), _move, _command(*RANK)),
    "data changed": (_command(*PREPARE), _change, _command(*PREPARE), _command(*FINGERPRINT)),
    "clock set back": (_command(*PREPARE), _future, _command(*PREPARE), _command(*RANK)),
    "preprocess twice at once": (_twice(*PREPARE), _command(*PREPARE)),
    "fingerprint twice at once": (_twice(*FINGERPRINT),),
    "leaderboard twice at once": (_twice(*RANK),),
    "preprocessed removed": (_command(*PREPARE), _remove("preprocessed"), _command(*PREPARE)),
    "results removed": (_command(*RANK), _remove("results"), _command(*PREPARE)),
}


def long_life(rng: random.Random) -> Iterator[Edge]:
    """Sequences of commands with something between them."""
    for name, steps in LIVES.items():
        yield Edge("long life", name, _sequence(*steps), "result", check=_whole)


GENERATORS = (full_disk, long_life)
