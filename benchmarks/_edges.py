"""One odd or hostile input: how it is made, tried in a process of its own, and judged."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST_MEMORY_MB = 1000
MOST_CPU_S = 10
# A process that waits for something uses no CPU: this ends it, however busy the machine is.
_PATIENCE_S = 90
_UNEXPECTED = 70
# A command in a process of its own, which says what it and its children took: the peak that the system counts
# for a process is that of whoever started it, if that was more.
_WHOLE = """
import os, resource
from pathlib import Path
from autoseg.cli.app import main
try:
    main()
finally:
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    kb = {line[0]: int(line[1]) for line in lines if line[0] in ("VmHWM:", "RssFile:")}
    # The pages of libraries' files are no memory that an input could take, and differ by machine.
    own = kb["VmHWM:"] - kb["RssFile:"]
    peak = max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    Path(os.environ["EDGES_PEAK"]).write_text(str(peak * 1024))
"""

Attempt = list[str] | Callable[[], object]
Expected = Literal["refusal", "result", "either", "quiet"]


@dataclass(frozen=True)
class Edge:
    """An input of the corpus.

    Attributes:
        kind: what it is about; the table has a row for each.
        name: which of its kind.
        make: writes the input into an empty folder; gives a command line, or a function to call in a process
            of its own. What lies in ``workspace`` and ``out`` may be written, everything else may not.
        expected: a refusal, a result, or either: odd, but with a meaning perhaps. Quiet: whoever would
            read the words has gone.
        said: words of which a refusal has one: the file or the value.
        check: raises AssertionError if what is there afterwards is not right.
    """

    kind: str
    name: str
    make: Callable[[Path], Attempt]
    expected: Expected = "either"
    said: tuple[str, ...] = ()
    check: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Tried:
    """What became of an input.

    Attributes:
        held: whether it was right, or refused as it has to be.
        how: ``result`` or ``refused``, or why it did not hold.
        words: what was printed last.
        memory_mb: peak resident memory of the process or of a child, beyond what this program has itself with
            all that the commands import; of a whole process, all of it.
        cpu_s: user and system time.
    """

    kind: str
    name: str
    held: bool
    how: str
    words: str
    memory_mb: float
    cpu_s: float


def tried(edge: Edge, folder: Path, whole: bool = False) -> Tried:
    """Try an input in a forked process, or a command in a new one; `folder` is empty and its own."""
    attempt = edge.make(folder)
    before = dict(_outside(folder))
    status, used, grown = _forked(attempt, folder, whole)
    if whole and (folder / "scratch" / "peak").is_file():
        grown = int((folder / "scratch" / "peak").read_text())
    output, errors = ((folder / name).read_text("utf-8", "replace") for name in ("stdout", "stderr"))
    memory, cpu = grown / 1e6, used.ru_utime + used.ru_stime
    beyond = memory - own_mb() if whole else memory
    how = _verdict(edge, status, output, errors)
    if how in ("result", "refused"):
        how = _limits(beyond, cpu) or _touched(before, folder) or _torn(folder) or _wrong(edge, folder, how)
    words = " ".join((errors.strip() or output.strip()).split())[-400:]
    return Tried(edge.kind, edge.name, how in ("result", "refused"), how, words, round(memory), round(cpu, 2))


def own_mb() -> float:
    """Memory of this process, which has imported what the commands import, without pages of files."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6


def _own_bytes(which: int) -> int:
    """Memory of this process: 0 all that is mapped, 1 what is resident."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[which])
    return pages * resource.getpagesize()


def _forked(attempt: Attempt, folder: Path, whole: bool) -> tuple[int | None, resource.struct_rusage, int]:
    """Exit status, None where it was killed, what was used, and by how many bytes its memory grew at most."""
    sys.stdout.flush()
    begin = mmap.mmap(-1, 8)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        with contextlib.suppress(OSError):  # the peak begins anew: 5 means that
            Path("/proc/self/clear_refs").write_text("5")
        begin[:] = struct.pack("q", _own_bytes(1))
        _child(attempt, folder, whole)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            grown = used.ru_maxrss * 1024 - struct.unpack("q", begin[:])[0]
            return (os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None), used, grown
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)


def _child(attempt: Attempt, folder: Path, whole: bool) -> None:
    status = _UNEXPECTED
    try:
        os.chdir(folder)
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        os.environ |= {"AUTOSEG_WORKSPACE": str(folder / "workspace"), "TMPDIR": str(scratch)}
        import tempfile

        tempfile.tempdir = str(scratch)
        for name, number in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        # Beyond 4 GB an input has failed; the machine has other work.
        most = _own_bytes(0) + 4 * 10**9
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S * 3, MOST_CPU_S * 3))
        if whole and not callable(attempt):
            os.environ["EDGES_PEAK"] = str(scratch / "peak")
            os.execv(sys.executable, [sys.executable, "-c", _WHOLE, *attempt])
        status = _run(attempt)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _run(attempt: Attempt) -> int:
    from autoseg.cli import app
    from autoseg.cli.unexpected import report_unexpected
    from autoseg.errors import AutosegError

    try:
        if callable(attempt):
            attempt()
            return 0
        sys.argv = ["autoseg", *attempt]
        app.main()
    except SystemExit as end:
        sys.stdout.flush()  # as Python does at its end, with an exit status of its own if that fails
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AutosegError as error:
        print(f"autoseg: {error}", file=sys.stderr)
        return error.exit_status
    except Exception as error:
        return report_unexpected(error)
    return 0


def _verdict(edge: Edge, status: int | None, output: str, errors: str) -> str:
    if status is None:
        return "died"
    if status == _UNEXPECTED or "Traceback (most recent" in errors + output:
        return "unforeseen"
    if status == 0:
        return "taken" if edge.expected == "refusal" else "result"
    if edge.expected == "result":
        return "sound input refused"
    if edge.expected == "quiet":
        return "refused"
    words = errors + output
    # The parser's own refusals stand in a box.
    if "Usage:" in errors and "Error" in errors:
        return "refused"
    if not re.search(r"[.:;?!] +(\S+ )?[A-Z][a-z]+", words):
        return "no remedy"
    if edge.said and not any(each in words for each in edge.said):
        return "value not said"
    return "refused"


def _limits(memory_mb: float, cpu_s: float) -> str:
    if memory_mb > MOST_MEMORY_MB:
        return "memory"
    return "time" if cpu_s > MOST_CPU_S else ""


_OURS = ("workspace", "out", "scratch", "stdout", "stderr")


def _outside(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Everything that may not change, with its size and time."""
    for root, folders, files in os.walk(folder):
        if Path(root) == folder:
            folders[:] = [name for name in folders if name not in _OURS]
            files = [name for name in files if name not in _OURS]
        for name in (*folders, *files):
            about = os.lstat(os.path.join(root, name))
            known = (0, 0) if name in folders else (about.st_size, about.st_mtime_ns)
            yield os.path.relpath(os.path.join(root, name), folder), known


def _touched(before: dict[str, tuple[int, int]], folder: Path) -> str:
    after = dict(_outside(folder))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"touched {changed[0]}" if changed else ""


def _torn(folder: Path) -> str:
    """A file half written that was left behind."""
    for path in (*(folder / "workspace").rglob(".*"), *(folder / "out").rglob(".*")):
        if re.fullmatch(r"\.\d+\..*|.*\.incoming", path.name):
            return f"left {path.name}"
    return ""


def _wrong(edge: Edge, folder: Path, how: str) -> str:
    if edge.check:
        try:
            edge.check(folder)
        except AssertionError as problem:
            return f"wrong: {problem}"
    return how
