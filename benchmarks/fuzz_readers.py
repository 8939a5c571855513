"""Files changed at random, given to every reader: each is read, or refused by an error of autoseg.

    python benchmarks/fuzz_readers.py [--inputs 100000] [--minutes 5] [--readers "NIfTI; packed,TIFF"]
    python benchmarks/fuzz_readers.py --atheris NIfTI        (needs atheris; runs until it is ended)

Sound files are changed at random places, by seed. They are read in a child process with limits, the one that
`autoseg import` has: an input that ends it (a fault in a library, more than 5 s, too much memory) is counted,
and reading goes on with the next one. No input is kept. Inputs are numbered: a run of the same seed goes on
where the last one ended, and starts anew where the code that reads or a library has changed since.
Results: benchmarks/results/fuzz.md and .json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _edge_bases as bases
import _edge_dicom
import _edge_models
from _machine import RESULTS, machine, write_results

import autoseg
from autoseg.data.case_store import source_of
from autoseg.errors import AutosegError, DataError
from autoseg.system.files import digest
from autoseg.system.guard import guarded, note

SECONDS = 5.0
BATCH = 1000
COUNTED = ("read", "refused", "other error", "ended the child")
# Numbers that stand at the edges of what a field can hold.
EDGES = [struct.pack("<I", n) for n in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)]


@dataclass(frozen=True)
class Target:
    """What is read: how its sound files begin, how they are called, and the reader."""

    sound: bytes
    ending: str
    read: Callable[[Path], object]
    head: int = 10**6


def _image(ending: str, reader: str, packed: bool = False, head: int = 400) -> Target:
    import gzip

    from autoseg.data.readers import read_file

    with tempfile.TemporaryDirectory() as folder:
        pictures = ending in (".png", ".tif", ".bmp")
        root = (bases.pictures if pictures else bases.dataset)(Path(folder), ending)
        content = (root / f"imagesTr/case_0_0000{ending}").read_bytes()
    sound = gzip.decompress(content) if packed else content
    return Target(sound, ".nii" if packed else ending, lambda path: read_file(path, reader), head)


def _dicom() -> Target:
    from autoseg.data.dicom import find_volumes, read_volume

    def read(path: Path) -> None:
        for stack in find_volumes([path]).stacks:
            read_volume(stack)

    return Target(_edge_dicom.slices()[0], ".dcm", read, 800)


def _bundle() -> Target:
    from autoseg.bundle.archive import Bundle

    return Target(_edge_models.sound_bundle(), ".zip", lambda path: Bundle.open(path))


TARGETS: dict[str, Callable[[], Target]] = {
    "NIfTI": lambda: _image(".nii.gz", "SimpleITKIO", packed=True),
    "NIfTI, nibabel": lambda: _image(".nii.gz", "NibabelIO", packed=True),
    "NIfTI, packed": lambda: _image(".nii.gz", "SimpleITKIO", head=10**6),
    "NRRD": lambda: _image(".nrrd", "SimpleITKIO"),
    "MetaImage": lambda: _image(".mha", "SimpleITKIO"),
    "PNG": lambda: _image(".png", "NaturalImage2DIO"),
    "BMP": lambda: _image(".bmp", "NaturalImage2DIO", head=60),
    "TIFF": lambda: _image(".tif", "Tiff3DIO"),
    "DICOM": _dicom,
    "bundle": _bundle,
}


def changed(target: Target, rng: random.Random) -> bytes:
    """A sound file with some bytes replaced, cut, doubled or set to an edge."""
    found = bytearray(target.sound)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(min(len(found), target.head) or 1)
        how = rng.random()
        if how < 0.4:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.7:
            edge = rng.choice(EDGES)[: rng.choice((2, 4))]
            found[at : at + len(edge)] = edge
        elif how < 0.8:
            found[at:at] = found[at : at + rng.randrange(1, 20)]
        elif how < 0.9:
            del found[at : at + rng.randrange(1, 20)]
        else:
            del found[at + rng.randrange(1, len(found)) :]
    return bytes(found)


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
    where = machine(packages=("SimpleITK", "nibabel", "tifffile", "pillow", "pydicom"))
    reading = [Path(autoseg.__file__).parent / name for name in ("data", "bundle", "system")]
    code = digest([*map(source_of, reading), where["versions"]])
    found = _earlier(options.seed)
    for name in (each.replace("NIfTI; ", "NIfTI, ") for each in options.readers.split(",")):
        before = found.get(name, {})
        if before.get("code") != code:
            before = {"seed": options.seed, "code": code, "commit": where["commit"]}
        end = time.monotonic() + 60 * options.minutes
        found[name] = before | _fuzzed(name, before, options.inputs, options.seed, end)
        print(name, found[name], flush=True)
        write_results("fuzz", where, found, _page(found, options.seed))
    bases.clear()


def _earlier(seed: int) -> dict[str, dict[str, Any]]:
    """What earlier runs of this seed found."""
    path = RESULTS / "fuzz.json"
    document = json.loads(path.read_text()) if path.is_file() else {"results": {}}
    rows = {
        name: {"seed": 0, "commit": document["machine"]["commit"], **row}
        for name, row in document["results"].items()
    }
    return {name: row for name, row in rows.items() if row["seed"] == seed}


def _fuzzed(name: str, before: dict[str, Any], inputs: int, seed: int, end: float) -> dict[str, Any]:
    target = TARGETS[name]()
    counts = Counter({key: before.get(key, 0) for key in COUNTED})
    kinds = Counter(before.get("kinds", {}))
    done = before.get("inputs", 0)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder) / "at"
        while done < inputs and time.monotonic() < end:
            numbers = range(done, min(done + BATCH, inputs))
            try:
                part, errors = guarded(_batch, name, target.ending, numbers, seed, folder, seconds=SECONDS)
                done = numbers.stop
            except DataError as problem:
                number = int(at.read_text())
                counts["ended the child"] += 1
                words = str(problem).partition(", at ")[0]
                kinds[words.removeprefix("The process that reads the source ")] += 1
                # What came before in this batch is counted again, without the one that ended it.
                part, errors = guarded(
                    _batch, name, target.ending, range(done, number), seed, folder, seconds=SECONDS
                )
                done = number + 1
            counts.update(part)
            kinds.update(errors)
    return {"inputs": done, **counts, "kinds": dict(kinds)}


def _batch(
    name: str, ending: str, numbers: range, seed: int, folder: str
) -> tuple[Counter[str], Counter[str]]:
    target = TARGETS[name]()
    counts, kinds = Counter[str](), Counter[str]()
    path = Path(folder) / f"case_0000{ending}"
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print
    for number in numbers:
        path.write_bytes(changed(target, random.Random(f"{seed} {name} {number}")))
        (Path(folder) / "at").write_text(str(number))
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
    return counts, kinds


def _atheris(name: str) -> None:
    """Let atheris look for inputs that reach further, by what of the Python code they reach."""
    import atheris

    with atheris.instrument_imports(include=["autoseg", "nibabel", "tifffile", "pydicom", "PIL"]):
        target = TARGETS[name]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case_0000{target.ending}"

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
        "fifths of the free memory). Read: the change left an image (or a DICOM file is left out and listed, "
        "which counts as read). Refused: an error of autoseg. Both hold. Another error would reach a user "
        "as unforeseen; what ended the child is a fault of a library that the child caught. Runs go on where "
        "the last one ended; a row states the commit at which it began, and the code that reads has been the "
        "same since.",
        "",
        "| reader | inputs | read | refused | other error | ended the child | which | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in found.items():
        numbers = [each.get(key, 0) for key in ("inputs", *COUNTED)]
        kinds = "; ".join(f"{count} {kind}" for kind, count in each["kinds"].items()).replace("|", "/")
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} | {kinds[:300]} | `{each['commit']}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
