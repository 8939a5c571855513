"""Sound inputs that the odd ones are made from: a small data set, a workspace that was walked, a bundle."""

from __future__ import annotations

import json
import shutil
import tarfile
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import SimpleITK as sitk

WALKED = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "walked_workspace.tar.xz"
NAME = "Dataset501_Base"
CASES = tuple(f"case_{number}" for number in range(5))
ABOUT: dict[str, Any] = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": len(CASES),
    "file_ending": ".nii.gz",
}


@cache
def _stock() -> Path:
    return Path(mkdtemp(prefix="edges_stock_"))


def clear() -> None:
    """Remove the bases."""
    shutil.rmtree(_stock(), ignore_errors=True)


def volume(seed: int = 0, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in noise and its label, (z, y, x)."""
    rng = np.random.default_rng(seed)
    grid = np.indices((size,) * 3) - size / 2 - rng.uniform(-1, 1, (3, 1, 1, 1))
    label = (np.square(grid).sum(0) < (size / 4) ** 2).astype(np.uint8)
    return (rng.normal(50, 10, label.shape) + 100 * label).astype(np.int16), label


@cache
def _volumes(ending: str) -> Path:
    root = _stock() / f"volumes{ending}" / NAME
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for seed, case in enumerate(CASES):
        image, label = map(sitk.GetImageFromArray, volume(seed))
        sitk.WriteImage(image, str(root / "imagesTr" / f"{case}_0000{ending}"))
        sitk.WriteImage(label, str(root / "labelsTr" / f"{case}{ending}"))
    (root / "dataset.json").write_text(json.dumps(ABOUT | {"file_ending": ending}))
    return root


def dataset(folder: Path, ending: str = ".nii.gz", name: str = NAME) -> Path:
    """A raw data set of five volumes with a label each, in `folder`."""
    root = folder / name
    shutil.copytree(_volumes(ending), root)
    return root


@cache
def _pictures(ending: str) -> Path:
    import tifffile
    from PIL import Image

    root = _stock() / f"pictures{ending}" / NAME
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for seed, case in enumerate(CASES):
        image, label = (each[8].astype(np.uint8) for each in volume(seed))
        for array, path in ((image, f"imagesTr/{case}_0000{ending}"), (label, f"labelsTr/{case}{ending}")):
            if ending == ".tif":
                tifffile.imwrite(root / path, array)
            else:
                Image.fromarray(array).save(root / path)
    (root / "dataset.json").write_text(json.dumps(ABOUT | {"file_ending": ending}))
    return root


def pictures(folder: Path, ending: str = ".png") -> Path:
    """The same with pictures."""
    root = folder / NAME
    shutil.copytree(_pictures(ending), root)
    return root


@cache
def stock_walked() -> Path:
    """The walked workspace, to read from."""
    with tarfile.open(WALKED) as archive:
        archive.extractall(_stock(), filter="data")
    return _stock() / "walked"


RUN = "nnunet__autosegPlans_2b8bb0bb__2d"


def walked(folder: Path) -> Path:
    """A workspace with runs, as `folder`/workspace."""
    shutil.copytree(stock_walked(), folder / "workspace")
    return folder / "workspace"


def model(folder: Path) -> tuple[Path, Path]:
    """A trained model of pictures, and a folder with two to predict."""
    root = folder / "model"
    shutil.copytree(stock_walked() / "results" / "Dataset905_Discs" / RUN, root)
    shutil.copytree(stock_walked() / "new", folder / "new")
    return root, folder / "new"
