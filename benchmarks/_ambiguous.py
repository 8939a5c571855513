"""Three seeded phantoms on which it is not plain whether slices or volumes are better to train on.

In all of them a rod has to be found among shapes that look like it.

- thick: slices 5 mm apart, 1 mm pixels, and each slice shifted by up to 2 pixels, as patients move:
  neighbours help against the noise, but do not lie where they should.
- thin: ten slices, all with the same information: each neighbour is one more look at a weak signal.
- lookalike: equal spacing; within a slice a rod and a disc are the same, only their lengths differ.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CASES = 40
NARROW = "Dataset914_ThickNarrow"
Made = tuple[Any, Any, tuple[float, float, float]]


def write_ambiguous(root: Path, cases: int = CASES, seed: int = 11) -> list[Path]:
    """Write the three raw data sets below a folder; what is there stays.

    Returns:
        Their folders.
    """
    made = {"Dataset911_Thick": thick, "Dataset912_Thin": thin, "Dataset913_Lookalike": lookalike}
    for number, (name, make) in enumerate(made.items()):
        write_cases(root / name, make, cases, (seed, number))
    return [root / name for name in made]


def write_narrow(root: Path, seed: int, cases: int = CASES) -> Path:
    """Thick slices again, but 64 voxels wide, so that a step is short; what is there stays.

    Returns:
        Its folder.
    """
    write_cases(root / NARROW, functools.partial(thick, width=64), cases, (seed, 0))
    return root / NARROW


def thick(random: np.random.Generator, width: int = 96) -> Made:
    """16 slices of 96 x 96, 5 x 1 x 1 mm; or of another width."""
    image, label = _rods(random, (16, width, width), rods=3, discs=0, radius=7.0, signal=0.9)
    for z in range(len(image)):
        shift = tuple(random.integers(-2, 3, 2))
        image[z], label[z] = (np.roll(each[z], shift, axis=(0, 1)) for each in (image, label))
    return image, label, (1.0, 1.0, 5.0)


def thin(random: np.random.Generator) -> Made:
    """10 slices of 96 x 96, 2 x 1 x 1 mm."""
    image, label = _rods(random, (10, 96, 96), rods=4, discs=0, radius=6.0, signal=0.6)
    return image, label, (1.0, 1.0, 2.0)


def lookalike(random: np.random.Generator) -> Made:
    """40 x 48 x 48 voxels of 1 mm."""
    image, label = _rods(random, (40, 48, 48), rods=2, discs=4, radius=5.0, signal=2.0)
    return image, label, (1.0, 1.0, 1.0)


def _rods(
    random: np.random.Generator,
    shape: tuple[int, int, int],
    rods: int,
    discs: int,
    radius: float,
    signal: float,
) -> tuple[Any, Any]:
    """Rods along most of the slices (labelled) and discs along few (not labelled), under unit noise."""
    depth = shape[0]
    label, other = np.zeros(shape, bool), np.zeros(shape, bool)
    for number in range(rods + discs):
        long = number < rods
        length = int(random.integers(depth * 6 // 10, depth * 9 // 10) if long else random.integers(3, 6))
        begin = int(random.integers(0, depth - length + 1))
        drawn = _rod(random, shape, begin, begin + length, radius * random.uniform(0.7, 1.3))
        target = label if long else other
        target |= drawn
    other &= ~label
    image = signal * (label | other) + random.normal(size=shape)
    return image.astype(np.float32), label.astype(np.uint8)


def _rod(random: np.random.Generator, shape: tuple[int, ...], begin: int, end: int, radius: float) -> Any:
    """A slanting rod of round section over slices begin to end."""
    margin = radius + 3
    start = random.uniform([margin, margin], [shape[1] - margin, shape[2] - margin])
    slant = random.uniform(-0.3, 0.3, 2)
    rows, columns = np.ogrid[: shape[1], : shape[2]]
    drawn = np.zeros(shape, bool)
    for z in range(begin, end):
        y, x = start + slant * (z - begin)
        drawn[z] = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    return drawn


def write_cases(
    root: Path, make: Callable[[np.random.Generator], Made], cases: int, seed: tuple[int, int]
) -> None:
    """Write a raw data set of one structure; one that is whole stays."""
    import SimpleITK as sitk

    if (root / "dataset.json").is_file():
        return
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        image, label, spacing = make(np.random.default_rng((*seed, number)))
        for array, path in (
            (image, root / "imagesTr" / f"case_{number:03d}_0000.nii.gz"),
            (label, root / "labelsTr" / f"case_{number:03d}.nii.gz"),
        ):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing(spacing)
            sitk.WriteImage(volume, str(path), True)
    description = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "rod": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    # Last, so that a folder with it is whole.
    (root / "dataset.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
