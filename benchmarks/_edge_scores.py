"""Odd predictions, references and probabilities, scored."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _edge_bases as bases
import numpy as np
import SimpleITK as sitk
from _edge_models import Runs, nothing_ran
from _edges import Attempt, Edge

ONE = ["--workers", "1", "--quiet"]


def _scored(change: Callable[[Path], None], *more: str) -> Callable[[Path], Attempt]:
    """Predictions that are the references but for a change, scored."""

    def make(folder: Path) -> Attempt:
        root = bases.dataset(folder)
        predictions = folder / "predictions"
        predictions.mkdir()
        for path in (root / "labelsTr").iterdir():
            (predictions / path.name).write_bytes(path.read_bytes())
        change(predictions)
        about = ["--dataset-json", str(root / "dataset.json")]
        return ["evaluate", str(predictions), str(root / "labelsTr"), *about, *more, *ONE]

    return make


def _image(make: Callable[[np.ndarray], np.ndarray], **geometry: Any) -> Callable[[Path], None]:
    def change(predictions: Path) -> None:
        path = predictions / "case_2.nii.gz"
        image = sitk.GetImageFromArray(make(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))))
        if image.GetDimension() == 3:
            image.SetSpacing(geometry.get("spacing", (1.0, 1.0, 1.0)))
            image.SetOrigin(geometry.get("origin", (0.0, 0.0, 0.0)))
        sitk.WriteImage(image, str(path))

    return change


def _values(value: float, kind: Any) -> Callable[[np.ndarray], np.ndarray]:
    def make(label: np.ndarray) -> np.ndarray:
        found = label.astype(kind)
        found[label == 1] = value
        return found

    return make


IMAGES: dict[str, Callable[[Path], None]] = {
    "fractions": _image(_values(0.5, np.float32)),
    "NaN": _image(_values(float("nan"), np.float32)),
    "infinite": _image(_values(float("inf"), np.float32)),
    "minus": _image(_values(-1, np.int16)),
    "large": _image(_values(2**31 - 1, np.int32)),
    "very large": _image(_values(2**62, np.int64)),
    "1e30": _image(_values(1e30, np.float64)),
    "undeclared": _image(_values(7, np.uint8)),
    "255": _image(_values(255, np.uint8)),
    "all background": _image(np.zeros_like),
    "all organ": _image(np.ones_like),
    "smaller": _image(lambda label: label[1:]),
    "one voxel": _image(lambda label: label[:1, :1, :1]),
    "flat": _image(lambda label: label[0]),
    "four dimensions": _image(lambda label: label[None].repeat(2, 0)),
    "other spacing": _image(lambda label: label, spacing=(2.0, 1.0, 1.0)),
    "other place": _image(lambda label: label, origin=(500.0, 0.0, 0.0)),
    "spacing zero": _image(lambda label: label, spacing=(1e-30, 1.0, 1.0)),
    "many labels": _image(lambda label: np.arange(label.size).reshape(label.shape).astype(np.int32)),
    "empty": lambda predictions: (predictions / "case_2.nii.gz").write_bytes(b"") and None,
    "missing": lambda predictions: (predictions / "case_2.nii.gz").unlink(),
    "one more": lambda predictions: (
        (predictions / "other.nii.gz").write_bytes((predictions / "case_2.nii.gz").read_bytes()) and None
    ),
    "none": lambda predictions: [path.unlink() for path in predictions.iterdir()] and None,
    "a folder": lambda predictions: (predictions / "case_9.nii.gz").mkdir(),
}


def _probabilities(content: bytes) -> Callable[[Path], None]:
    def change(predictions: Path) -> None:
        for path in sorted(predictions.glob("*.nii.gz")):
            path.with_name(path.name.replace(".nii.gz", ".npz")).write_bytes(content)

    return change


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _announced(shape: tuple[int, ...]) -> bytes:
    """An array whose header announces a shape that the file does not hold."""
    file = io.BytesIO()
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("probabilities.npy", b"\x93NUMPY\x01\x00v\x00" + head.encode() + bytes(64))
    return file.getvalue()


def _pickled() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probabilities.npy", pickle.dumps(Runs()))
    return file.getvalue()


def scores(rng: random.Random) -> Iterator[Edge]:
    """Predictions of other values, shapes and places; probabilities of every kind."""
    for name, change in IMAGES.items():
        for more in ((), ("--by-voxels",)):
            yield Edge("scores", f"{name} {' '.join(more)}", _scored(change, *more))
    half = np.full((2, 16, 16, 16), 0.5, np.float32)
    contents = {
        "sound": _npz(probabilities=half),
        "another name": _npz(softmax=half),
        "one class": _npz(probabilities=half[:1]),
        "smaller": _npz(probabilities=half[:, 1:]),
        "NaN": _npz(probabilities=half * np.nan),
        "above 1": _npz(probabilities=half * 10),
        "whole numbers": _npz(probabilities=half.astype(np.int64)),
        "texts": _npz(probabilities=np.array([["a"]])),
        "objects": _pickled(),
        "much": _announced((2, 60_000, 60_000, 60_000)),
        "minus": _announced((2, -16, 16, 16)),
        "empty": b"",
        "text": b"no archive\n" * 20,
        "cut": _npz(probabilities=half)[:300],
    }
    for name, content in contents.items():
        made = _scored(_probabilities(content))
        yield Edge("scores", f"probabilities {name}", made, check=nothing_ran)


GENERATORS = (scores,)
