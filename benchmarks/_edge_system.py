"""What the operating system refuses: permissions, links, pipes, a closed or full standard output."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import _edge_bases as bases
from _edges import Attempt, Edge

ONE = ["--workers", "1", "--quiet"]
_CAPABILITIES = 0x20080522  # linux/capability.h, version 3


def _run(*command: str) -> None:
    from autoseg.cli import app

    sys.argv = ["autoseg", *command]
    app.main()


def commands_of(folder: Path) -> dict[str, list[str]]:
    """Commands that read a data set, a workspace with runs, or a model."""
    root = bases.dataset(folder)
    bases.walked(folder)
    model, new = bases.model(folder)
    (folder / "out").mkdir()
    return {
        "verify": ["verify", str(root), *ONE],
        "fingerprint": ["fingerprint", str(root), *ONE],
        "preprocess": ["preprocess", str(root), "--configuration=2d", *ONE],
        "plan": ["plan", str(root), *ONE],
        "import": ["import", str(root), "--name=Again", *ONE],
        "leaderboard": ["leaderboard", "--csv=out/rows.csv", "--quiet"],
        "predict": ["predict", str(model), str(new), "out", "--device=cpu", "--no-mirroring", "--quiet"],
        "list": ["list", "trainers"],
    }


def later_commands_of(folder: Path) -> dict[str, list[str]]:
    """Commands that decide, judge, export and serve what a workspace has."""
    root = bases.dataset(folder)
    run = bases.walked(folder) / "results" / "Dataset905_Discs" / bases.RUN
    _, new = bases.model(folder)
    (folder / "out").mkdir()
    device = ["--device=cpu", "--quiet"]
    drops = folder / "out" / "drops"
    shutil.copytree(new, drops)
    return {
        "calibrate": ["calibrate", str(run), "--workers=1", *device],
        "postprocess": ["postprocess", "Dataset905_Discs", str(run), "--quiet"],
        "quality": ["quality", str(run), "--workers=1", *device],
        "review": ["review", "Dataset905_Discs", f"--model={run}", "--workers=1", *device],
        "export to nnunet": ["export", str(run), "out/model", "--to=nnunet", "--quiet"],
        "export to onnx": ["export", str(run), "out/bundle.zip", "--to=onnx", "--quiet"],
        "serve": ["serve", str(run), "--watch", str(drops), "out/results", "--once", "--settle=0", *device],
        "fix": ["verify", str(root), "--fix=out/Dataset502_Mended", *ONE],
    }


NAMES = ("verify", "fingerprint", "preprocess", "plan", "import", "leaderboard", "predict", "list")


def output(rng: random.Random) -> Iterator[Edge]:
    """Standard output closed, full, or read by nobody."""

    def closed() -> None:
        os.close(1)

    def full() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    def unread() -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)

    for what, change in (("closed", closed), ("full", full), ("unread", unread)):
        for name in NAMES:

            def make(folder: Path, name: str = name, change: Callable[[], None] = change) -> Attempt:
                command = commands_of(folder)[name]

                def attempt() -> None:
                    change()
                    _run(*command)

                return attempt

            wanted = "quiet" if what == "unread" else "either"
            if what == "full" and name in ("fingerprint", "list"):
                wanted = "refusal"
            yield Edge("system", f"output {what}, {name}", make, wanted)  # type: ignore[arg-type]


PLACES = {
    "dataset.json": ("Dataset501_Base/dataset.json", 0o000),
    "an image": ("Dataset501_Base/imagesTr/case_2_0000.nii.gz", 0o000),
    "a label": ("Dataset501_Base/labelsTr/case_2.nii.gz", 0o000),
    "the images": ("Dataset501_Base/imagesTr", 0o000),
    "the labels": ("Dataset501_Base/labelsTr", 0o000),
    "the data set": ("Dataset501_Base", 0o000),
    "the workspace, to read": ("workspace", 0o500),
    "the workspace": ("workspace", 0o000),
    "its results": ("workspace/results", 0o000),
    "its preprocessed cases": ("workspace/preprocessed", 0o500),
    "a record": (f"workspace/results/Dataset905_Discs/{bases.RUN}/fold_0/record.jsonl", 0o000),
    "the model": ("model", 0o000),
    "plans.json": ("model/plans.json", 0o000),
    "a checkpoint": ("model/fold_0/checkpoint_final.pth", 0o000),
    "the images to predict": ("new", 0o000),
    "one of them": ("new/new_8_0000.png", 0o000),
    "the output": ("out", 0o500),
}


def _as_anybody() -> None:
    """Give up root's right to pass over permissions (CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH)."""
    library = ctypes.CDLL(None, use_errno=True)
    head = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    data = (ctypes.c_uint32 * 6)()
    if library.capget(head, data):
        raise OSError(ctypes.get_errno(), "capget")
    for place in (0, 1):  # effective, permitted
        data[place] &= ~0b110
    if library.capset(head, data):
        raise OSError(ctypes.get_errno(), "capset")


def permissions(rng: random.Random) -> Iterator[Edge]:
    """Files and folders without permission, to a user without rights; only root can make such."""
    if os.geteuid() != 0:
        return
    for what, (place, mode) in PLACES.items():
        for name in NAMES[:-1]:

            def make(folder: Path, name: str = name, place: str = place, mode: int = mode) -> Attempt:
                command = commands_of(folder)[name]
                (folder / place).chmod(mode)

                def attempt() -> None:
                    _as_anybody()
                    _run(*command)

                return attempt

            yield Edge("system", f"no permission for {what}, {name}", make)


def _link(target: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        _remove(path)
        path.symlink_to(target)

    return replace


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _pipe(path: Path) -> None:
    _remove(path)
    os.mkfifo(path)


def _socket(path: Path) -> None:
    _remove(path)
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


def _folder(path: Path) -> None:
    _remove(path)
    path.mkdir()


def _file(path: Path) -> None:
    _remove(path)
    path.write_bytes(b"x")


KINDS: dict[str, Callable[[Path], None]] = {
    "dangling": _link("nowhere"),
    "circular": _link("../../itself/../Dataset501_Base/../itself"),
    "itself": lambda path: _link(path.name)(path),
    "endless": _link("/dev/zero"),
    "nothing": _link("/dev/null"),
    "pipe": _pipe,
    "socket": _socket,
    "folder": _folder,
    "file": _file,
    "up": _link(".."),
}


def links(rng: random.Random) -> Iterator[Edge]:
    """Links, pipes, sockets and folders in the place of files, and files in the place of folders."""
    places = {
        "dataset.json": ("Dataset501_Base/dataset.json", ("verify", "fingerprint", "import")),
        "an image": ("Dataset501_Base/imagesTr/case_2_0000.nii.gz", ("verify", "fingerprint", "import")),
        "a label": ("Dataset501_Base/labelsTr/case_2.nii.gz", ("verify", "fingerprint", "import")),
        "groups.csv": ("Dataset501_Base/groups.csv", ("verify", "fingerprint")),
        "the images": ("Dataset501_Base/imagesTr", ("verify", "import")),
        "the workspace": ("workspace", ("fingerprint", "leaderboard")),
        "plans.json": ("model/plans.json", ("predict",)),
        "a checkpoint": ("model/fold_0/checkpoint_final.pth", ("predict",)),
        "an image to predict": ("new/new_8_0000.png", ("predict",)),
        "a record": (f"workspace/results/Dataset905_Discs/{bases.RUN}/fold_0/record.jsonl", ("leaderboard",)),
    }
    for what, (place, names) in places.items():
        for kind, change in KINDS.items():
            for name in names if (what, kind) != ("the workspace", "up") else ():

                def make(
                    folder: Path,
                    name: str = name,
                    place: str = place,
                    change: Callable[[Path], None] = change,
                ) -> Attempt:
                    command = commands_of(folder)[name]
                    change(folder / place)
                    return command

                yield Edge("system", f"{what}: {kind}, {name}", make)


GENERATORS = (output, permissions, links)
