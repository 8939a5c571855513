"""Odd models: plans, checkpoints, bundles and preprocessed cases."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
import numpy as np
import torch
from _edge_documents import changed
from _edges import Attempt, Edge
from _machine import HERE

sys.path.insert(0, str(HERE.parent / "tests"))
from bundle_files import DESCRIPTION

Checkpoint = dict[str, Any]


def predicted(change: Callable[[Path], None]) -> Callable[[Path], Attempt]:
    """A model's folder changed, and predicted with."""

    def make(folder: Path) -> Attempt:
        model, new = bases.model(folder)
        change(model)
        return ["predict", str(model), str(new), "out", "--device", "cpu", "--no-mirroring", "--quiet"]

    return make


def plans(rng: random.Random) -> Iterator[Edge]:
    """plans.json and dataset.json of a model with one entry changed."""
    folder = bases.stock_walked() / "results" / "Dataset905_Discs" / bases.RUN
    for name, count in (("plans.json", 160), ("dataset.json", 40)):
        whole = json.loads((folder / name).read_text())
        for _ in range(count):
            which, text = changed(whole, rng)
            made = predicted(lambda model, name=name, text=text: (model / name).write_text(text) and None)
            yield Edge("plans", f"{name} {which}", made)


def _rewritten(change: Callable[[Checkpoint], Any]) -> Callable[[Path], Attempt]:
    def on_disk(model: Path) -> None:
        path = model / "fold_0" / "checkpoint_final.pth"
        content = torch.load(path, map_location="cpu", weights_only=False)
        found = change(content)
        torch.save(content if found is None else found, path)

    return predicted(on_disk)


def _first_weight(content: Checkpoint) -> str:
    return next(iter(content["network_weights"]))


def _set(key: str, value: Any) -> Callable[[Checkpoint], Any]:
    return lambda content: content.__setitem__(key, value)


def _weight(make: Callable[[torch.Tensor], Any]) -> Callable[[Checkpoint], Any]:
    def change(content: Checkpoint) -> None:
        name = _first_weight(content)
        content["network_weights"][name] = make(content["network_weights"][name])

    return change


def _without_first(content: Checkpoint) -> None:
    del content["network_weights"][_first_weight(content)]


class Runs:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (open, ("ran.txt",))


VALUES: tuple[Any, ...] = (None, 1, "x", [], {}, torch.zeros(2), b"x", {"a": None}, {1: 2}, ["a"] * 3)


def checkpoints(rng: random.Random) -> Iterator[Edge]:
    """Checkpoints with entries missing or odd, weights of another shape, and files that are none."""
    keys = ("network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes")
    for key in (*keys, "optimizer_state", "logging", "current_epoch"):
        wanted: Any = "refusal" if key in keys[:3] else "either"
        yield Edge(
            "checkpoints",
            f"no {key}",
            _rewritten(lambda c, key=key: {k: v for k, v in c.items() if k != key}),
            wanted,
        )
        for number, value in enumerate(VALUES):
            yield Edge("checkpoints", f"{key} {number}", _rewritten(_set(key, value)), "either")
    for name, change in _odd_weights().items():
        yield Edge("checkpoints", f"weights {name}", _rewritten(change), "either", check=nothing_ran)
    yield from _other_files(rng)


def _odd_weights() -> dict[str, Callable[[Checkpoint], Any]]:
    """What is changed in a sound checkpoint, by name."""
    return {
        "NaN": _weight(lambda t: torch.full_like(t, float("nan"))),
        "infinite": _weight(lambda t: torch.full_like(t, float("inf"))),
        "other shape": _weight(lambda t: torch.zeros(7, 3)),
        "whole numbers": _weight(lambda t: t.long()),
        "complex": _weight(lambda t: t.to(torch.complex64)),
        "half": _weight(lambda t: t.half()),
        "sparse": _weight(lambda t: torch.zeros(3, 3).to_sparse()),
        "expanded": _weight(lambda t: torch.zeros(1).expand(10**9)),
        "a list": _weight(lambda t: t.tolist()),
        "missing": _without_first,
        "one more": lambda c: c["network_weights"].__setitem__("extra.weight", torch.zeros(3)),
        "renamed": lambda c: c.__setitem__(
            "network_weights", {f"x.{k}": v for k, v in c["network_weights"].items()}
        ),
        "of a compiled network": lambda c: c.__setitem__(
            "network_weights", {f"_orig_mod.{k}": v for k, v in c["network_weights"].items()}
        ),
        "configuration": lambda c: c["init_args"].__setitem__("configuration", "3d_fullres"),
        "configuration None": lambda c: c["init_args"].__setitem__("configuration", None),
        "trainer a path": _set("trainer_name", "../../x"),
        "trainer nobody has": _set("trainer_name", "nnUNetTrainerUnheardOf"),
        "trainer long": _set("trainer_name", "x" * 10_000),
        "mirror axis 7": _set("inference_allowed_mirroring_axes", (7,)),
        "mirror axis text": _set("inference_allowed_mirroring_axes", "ab"),
        "mirror many": _set("inference_allowed_mirroring_axes", tuple(range(40))),
        "code": _set("init_args", Runs()),
        "a tensor": lambda c: torch.zeros(3),
        "a list of all": lambda c: [c],
        "numbers as keys": lambda c: {n: v for n, v in enumerate(c.values())},
    }


def _other_files(rng: random.Random) -> Iterator[Edge]:
    """Files that are no checkpoint, or one that is cut or changed."""
    whole = (
        bases.stock_walked() / "results/Dataset905_Discs" / bases.RUN / "fold_0/checkpoint_final.pth"
    ).read_bytes()
    files = {
        "empty": b"",
        "text": b"no checkpoint\n" * 50,
        "random": rng.randbytes(2000),
        "a pickle": pickle.dumps(Runs()),
        "an array": _bytes_of(lambda file: np.save(file, np.zeros(3))),
        "a zip": _bytes_of(lambda file: zipfile.ZipFile(file, "w").close()),
        **{f"cut {number}": whole[: rng.randrange(1, len(whole))] for number in range(8)},
    }
    for name, content in files.items():
        yield Edge("checkpoints", name, predicted(_placed(content)), "refusal", ("checkpoint",), nothing_ran)
    for number in range(12):
        flipped = _flipped(whole, rng, 20)
        yield Edge("checkpoints", f"bytes {number}", predicted(_placed(flipped)), "either")


def _placed(content: bytes) -> Callable[[Path], None]:
    return lambda model: (model / "fold_0" / "checkpoint_final.pth").write_bytes(content) and None


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def nothing_ran(folder: Path) -> None:
    """Nothing that a file holds has run."""
    assert not (folder / "ran.txt").exists(), "code of the file ran"


FILES = {"model.json": b"{}", "networks/a.onnx": b"weights" * 50, "card.md": b"# A card"}


def _manifest(contents: dict[str, bytes], **more: Any) -> bytes:
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    return json.dumps({"format": "autoseg-bundle", "version": 1, "files": listed, **more}).encode()


def _bundle(files: dict[str, bytes], manifest: bytes | None = None, **how: Any) -> bytes:
    def write(file: io.BytesIO) -> None:
        with zipfile.ZipFile(file, "w", how.get("packing", zipfile.ZIP_DEFLATED)) as archive:
            for name, content in {**files, "manifest.json": manifest or _manifest(files)}.items():
                about = zipfile.ZipInfo(name)
                about.external_attr = how.get("mode", 0) << 16
                about.compress_type = how.get("packing", zipfile.ZIP_DEFLATED)
                archive.writestr(about, content)

    return _bytes_of(write)


def sound_bundle() -> bytes:
    """A bundle's zip that is whole."""
    return _bundle(FILES)


def bundles(rng: random.Random) -> Iterator[Edge]:
    """Zips that claim, hide, lead out, grow or were changed; model.json with odd entries."""
    contents = {
        "leads out": _bundle({**FILES, "../out.txt": b"x"}),
        "absolute": _bundle({**FILES, "/tmp/x": b"x"}),
        "drive": _bundle({**FILES, "C:\\x": b"x"}),
        "NUL": _bundle({**FILES, "a\0b": b"x"}),
        "link": _bundle(FILES, mode=stat.S_IFLNK | 0o777),
        "device": _bundle(FILES, mode=stat.S_IFCHR | 0o777),
        "grows": _bundle({**FILES, "big": bytes(3 * 10**8)}),
        "many": _bundle({**FILES, **{f"f{n}": b"" for n in range(2000)}}),
        "unnamed file": _bundle({**FILES, "more.pkl": b"x"}, _manifest(FILES)),
        "missing file": _bundle({"model.json": b"{}"}, _manifest(FILES)),
        "other content": _bundle({**FILES, "card.md": b"# B card"}, _manifest(FILES)),
        "version": _bundle(FILES, _manifest(FILES, version=99)),
        "format": _bundle(FILES, _manifest(FILES, format="x")),
        "no object": _bundle(FILES, b"[1]"),
        "no files": _bundle(FILES, b'{"format": "autoseg-bundle", "version": 1}'),
        "sizes": _bundle(FILES, _manifest(FILES, files={"model.json": {"bytes": 10**30, "sha256": "x"}})),
        "minus": _bundle(FILES, _manifest(FILES, files={"model.json": {"bytes": -1, "sha256": "x"}})),
        "NaN": _bundle(FILES, b'{"format": NaN}'),
        "nested": _bundle(FILES, b"[" * 100_000),
        "bzip2": _bundle(FILES, packing=zipfile.ZIP_BZIP2),
        "lzma": _bundle(FILES, packing=zipfile.ZIP_LZMA),
        "empty": b"",
        "random": rng.randbytes(999),
        "model.json": _bundle(FILES),
    }
    whole = _bundle(FILES)
    contents |= {f"cut {number}": whole[: rng.randrange(1, len(whole))] for number in range(10)}
    for number in range(25):
        flipped = bytearray(whole)
        for _ in range(3):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        contents[f"bits {number}"] = bytes(flipped)
    for name, content in contents.items():
        yield Edge("bundles", name, _zipped(content), "refusal", ("model.zip", "model.json"))
    stock = _bytes_of(_zip_of_stock)
    for number in range(25):
        made = _zipped(_flipped(stock, rng, 20))
        yield Edge("bundles", f"stock nnU-Net's zip, bytes {number}", made, "either", ("model.zip",))
    for _ in range(40):
        which, text = changed(DESCRIPTION, rng)
        made = _zipped(_bundle({**FILES, "model.json": text.encode()}))
        yield Edge("bundles", f"model.json {which}", made, "refusal", ("model.zip", "model.json"))


def _zip_of_stock(file: io.BytesIO) -> None:
    """A model as `nnUNetv2_export_model_to_zip` packs it."""
    results = bases.stock_walked() / "results"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((results / "Dataset905_Discs" / bases.RUN).rglob("*")):
            if path.name in ("plans.json", "dataset.json", "checkpoint_final.pth"):
                archive.write(path, path.relative_to(results).as_posix())


def _zipped(content: bytes) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        (folder / "model.zip").write_bytes(content)
        _, new = bases.model(folder)
        return ["predict", "model.zip", str(new), "out", "--device", "cpu", "--quiet"]

    return make


def preprocessed(rng: random.Random) -> Iterator[Edge]:
    """Properties (.pkl) and arrays (.b2nd) of preprocessed cases."""
    folder = "preprocessed/Dataset905_Discs/nnUNetPlans_2d"
    whole = (bases.stock_walked() / folder / "disc_3.b2nd").read_bytes()
    known = (bases.stock_walked() / folder / "disc_3.pkl").read_bytes()
    pickles = {
        "code": pickle.dumps(Runs()),
        "a number": pickle.dumps(3),
        "empty": b"",
        "random": rng.randbytes(300),
        "text": b"hello\n" * 20,
        "long": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".",
        "long bytes": b"\x80\x04B" + struct.pack("<I", 2**31 - 1) + b"x",
        "memo": b"\x80\x04r" + struct.pack("<I", 2**31 - 1) + b".",
        "nested": b"\x80\x04" + b"(" * 100_000 + b".",
        "an array's shape": pickle.dumps(np.zeros(3)).replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"),
        **{f"cut {n}": known[: rng.randrange(1, len(known))] for n in range(8)},
        **{f"bytes {n}": _flipped(known, rng, 3) for n in range(20)},
    }
    arrays = {
        "empty": b"",
        "random": rng.randbytes(999),
        **{f"cut {n}": whole[: rng.randrange(1, len(whole))] for n in range(8)},
    }
    for ending, contents in ((".pkl", pickles), (".b2nd", arrays)):
        for name, content in contents.items():
            made = _stored(folder, f"disc_3{ending}", content)
            yield Edge("preprocessed", f"{ending} {name}", made, "either", check=nothing_ran)


def _flipped(content: bytes, rng: random.Random, count: int) -> bytes:
    changed_ = bytearray(content)
    for _ in range(count):
        changed_[rng.randrange(len(changed_))] = rng.randrange(256)
    return bytes(changed_)


def _stored(where: str, name: str, content: bytes) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        from autoseg.preprocessing.blosc_store import read_preprocessed

        place = bases.walked(folder) / where
        (place / name).write_bytes(content)
        return lambda: read_preprocessed(place, "disc_3")

    return make


GENERATORS = (plans, checkpoints, bundles, preprocessed)
