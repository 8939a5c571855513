"""Files changed at random, given to every reader: each is read, or refused by an error of autoseg.

    python benchmarks/fuzz_readers.py [--inputs 100000] [--minutes 5] [--readers "NIfTI; packed,TIFF"]
    python benchmarks/fuzz_readers.py --atheris NIfTI        (needs atheris; runs until it is ended)

Sound files are changed at random places, by seed; of documents and tables also whole values. They are read in
a child process with limits, the one that `autoseg import` has: an input that ends it (a fault in a library,
more than 5 s, too much memory) is counted, and reading goes on with the next one. One that takes more than
1 GB is counted too. No input is kept. Inputs are numbered: a run of the same seed goes on where the last one
ended, and starts anew where the code that reads or a library has changed since.
Results: benchmarks/results/fuzz.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import mmap
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
from _fuzz_targets import TARGETS, Target
from _machine import RESULTS, machine, write_results

import autoseg
from autoseg.data.case_store import source_of
from autoseg.errors import AutosegError, DataError
from autoseg.system.files import digest
from autoseg.system.guard import guarded, note

SECONDS = 5.0
MOST_MEMORY_KB = 10**6
BATCH = 2000
COUNTED = ("read", "refused", "other error", "ended the child", "over 1 GB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=100_000, help="Of each reader, earlier runs included.")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="For each reader, at most.")
    parser.add_argument("--readers", default=",".join(TARGETS).replace("NIfTI, ", "NIfTI; "))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", default="", choices=["", *TARGETS])
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.atheris:
        _atheris(options.atheris)
        return
    where = machine(packages=("SimpleITK", "nibabel", "tifffile", "pillow", "pydicom", "pydantic", "PyYAML"))
    found = _earlier(options.seed)
    for name in (each.replace("NIfTI; ", "NIfTI, ") for each in options.readers.split(",")):
        target = TARGETS[name]()
        code = _code(target, where)
        before = found.get(name, {})
        if before.get("code") != code:
            before = {"seed": options.seed, "code": code, "commit": where["commit"]}
        end = time.monotonic() + 60 * options.minutes
        # Written after each part: a run that is ended loses one of them.
        for row in _fuzzed(name, target, before, options.inputs, end):
            found[name] = before | row
            rows = {each: found[each] for each in TARGETS if each in found}
            write_results("fuzz", where, rows, _page(rows, options.seed))
        print(name, found.get(name), flush=True)
    bases.clear()


def _code(target: Target, where: dict[str, Any]) -> str:
    """A hash of the code that reads, and of the libraries."""
    package = Path(autoseg.__file__).parent
    return digest([*(source_of(package / name) for name in target.code), where["versions"]])


def _earlier(seed: int) -> dict[str, dict[str, Any]]:
    """What earlier runs of this seed found."""
    path = RESULTS / "fuzz.json"
    document = json.loads(path.read_text()) if path.is_file() else {"results": {}}
    rows = {
        name: {"seed": 0, "commit": document["machine"]["commit"], **row}
        for name, row in document["results"].items()
    }
    return {name: row for name, row in rows.items() if row["seed"] == seed}


def _fuzzed(
    name: str, target: Target, before: dict[str, Any], inputs: int, end: float
) -> Iterator[dict[str, Any]]:
    """The row of a reader, as it stands after each part of its inputs."""
    counts = Counter({key: before.get(key, 0) for key in COUNTED})
    kinds = Counter(before.get("kinds", {}))
    done, most_kb = before.get("inputs", 0), 1000 * before.get("memory_mb", 0)
    at = mmap.mmap(-1, 8)  # the number of the input, where the child and this process see it
    with tempfile.TemporaryDirectory() as folder:
        target.path_in(Path(folder)).write_bytes(target.sound)
        target.read(target.path_in(Path(folder)))  # sound indeed; and what it imports, no child imports again
        while done < inputs and time.monotonic() < end:
            given = (name, target, before["seed"], Path(folder), at)
            numbers = range(done, min(done + BATCH, inputs))
            try:
                part, errors, kb = guarded(_batch, *given, numbers, seconds=SECONDS)
                done = numbers.stop
            except DataError as problem:
                number = int.from_bytes(at[:], "little")
                counts["ended the child"] += 1
                words = str(problem).partition(", at ")[0]
                kinds[words.removeprefix("The process that reads the source ")] += 1
                # What came before in this batch is counted again, without the one that ended it.
                part, errors, kb = guarded(_batch, *given, range(done, number), seconds=SECONDS)
                done = number + 1
            counts.update(part)
            kinds.update(errors)
            most_kb = max(most_kb, kb)
            yield {"inputs": done, **counts, "kinds": dict(kinds), "memory_mb": round(most_kb / 1000)}


def _batch(
    name: str, target: Target, seed: int, folder: Path, at: mmap.mmap, numbers: range
) -> tuple[Counter[str], Counter[str], int]:
    """Counts, kinds of other errors, and the peak memory of this process in KB."""
    counts, kinds, peak = Counter[str](), Counter[str](), 0
    path = target.path_in(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print
    for number in numbers:
        path.write_bytes(target.change(target.sound, random.Random(f"{seed} {name} {number}")))
        at[:] = number.to_bytes(8, "little")
        note(path)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                target.read(path)
            counts["read"] += 1
        except AutosegError:
            counts["refused"] += 1
        except Exception as problem:
            counts["other error"] += 1
            # Numbers and tags differ from input to input and make no other kind.
            words = re.sub(r"[0-9a-fx]*[0-9][0-9a-fx]*", "#", str(problem)[:60])
            kinds[f"{type(problem).__name__}: {words}"] += 1
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = max(peak, taken)
        if taken > MOST_MEMORY_KB:
            counts["over 1 GB"] += 1
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    return counts, kinds, peak


def _atheris(name: str) -> None:
    """Let atheris look for inputs that reach further, by what of the Python code they reach."""
    import atheris

    with atheris.instrument_imports(include=["autoseg", "nibabel", "tifffile", "pydicom", "PIL"]):
        target = TARGETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        path = target.path_in(Path(folder))

        def one(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(AutosegError):
                target.read(path)

        (Path(folder) / "seeds").mkdir()
        (Path(folder) / "seeds" / "sound").write_bytes(target.sound)
        atheris.Setup([sys.argv[0], "-len_control=0", str(Path(folder) / "seeds")], one)
        atheris.Fuzz()


def _page(found: dict[str, dict[str, Any]], seed: int) -> str:
    lines = [
        "# Files changed at random",
        "",
        f"Sound files changed by seed {seed} and read in a child process with limits ({SECONDS:g} s, four "
        "fifths of the free memory). Read: the change left an image or a document (or a DICOM file is left "
        "out and listed, which counts as read). Refused: an error of autoseg. Both hold. Another error would "
        "reach a user as unforeseen; what ended the child is a fault of a library that the child caught. "
        "Memory: the peak of the child, with all that it imports. Runs go on where the last one ended; a row "
        "states the commit at which it began, and the code that reads has been the same since.",
        "",
        "| reader | inputs | read | refused | other error | ended the child | over 1 GB | peak memory, MB "
        "| which | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        numbers = [each.get(key, 0) for key in ("inputs", *COUNTED)]
        if "memory_mb" not in each:  # a run of before it was counted
            numbers[-1] = ""
        kinds = "; ".join(f"{count} {kind}" for kind, count in each["kinds"].items()).replace("|", "/")
        cells = [*map(str, numbers), str(each.get("memory_mb", "")), kinds[:300], f"`{each['commit']}`"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
