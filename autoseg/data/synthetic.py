"""Two small labelled data sets, generated: volumes like MR and pictures like fetal ultrasound.

They need no download, are the same for the same seed, and are neither trivial nor impossible: what is
labelled has neighbours of the same brightness, and noise of a real size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.readers import write_segmentation
from autoseg.errors import DataError
from autoseg.system.files import atomic_path, read_json, write_json, write_text

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

MR_SHAPE, MR_SPACING = (16, 40, 40), (2.0, 1.0, 1.0)
US_SHAPE = (96, 120)
# Length of a pixel's side, in the units that the probe and the head are drawn in.
US_PITCH = 5 / 3
# Raised when the same seed gives other pictures than before.
VERSION = 3
# The index of a case that is in no data set.
NEW_CASE = 100_000


def make_demo(folder: Path, seed: int = 0, cases: tuple[int, int] = (40, 40)) -> tuple[Path, Path]:
    """Generate both data sets as raw data sets in nnU-Net's layout.

    What an earlier call with the same arguments has finished is left as it is.

    Args:
        folder: where the two raw folders are made.
        seed: the same seed gives the same voxels.
        cases: number of volumes and of pictures; two pictures make an exam.

    Raises:
        DataError: if a folder of that name holds something else.

    Returns:
        The folders of Dataset901_DemoMR and Dataset902_DemoUltrasound.
    """
    volumes, pictures = folder / "Dataset901_DemoMR", folder / "Dataset902_DemoUltrasound"
    origin = {"generator": "autoseg.data.synthetic", "version": VERSION, "seed": seed}
    mr = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "head": 1, "body": 2}}
    us = {"channel_names": {"0": "ultrasound"}, "labels": {"background": 0, "fetal head": 1}}
    _make(volumes, {**mr, "numTraining": cases[0], "file_ending": ".nii.gz", **origin}, _write_volumes)
    _make(pictures, {**us, "numTraining": cases[1], "file_ending": ".png", **origin}, _write_pictures)
    return volumes, pictures


def _make(root: Path, content: Mapping[str, Any], write: Callable[[Path, int, int], None]) -> None:
    # dataset.json is written last, so where it is right everything is there.
    path = root / "dataset.json"
    found = read_json(path) if path.is_file() else {}
    if found == content:
        return
    if found and found.get("generator") != content["generator"]:
        raise DataError(
            f"{root} holds a data set that was not generated. Choose another folder for the demo."
        )
    path.unlink(missing_ok=True)
    for earlier in (*root.glob("imagesTr/*"), *root.glob("labelsTr/*")):
        earlier.unlink()
    write(root, content["seed"], content["numTraining"])
    write_json(path, content)


def make_new_cases(folder: Path, seed: int = 0) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """Generate one more volume and one more picture, which are in no data set.

    Args:
        folder: where they are made; what is there is written again.
        seed: the seed of the data sets that they go with.

    Returns:
        For the volume and for the picture a folder of images and a folder of labels.
    """
    places = [(folder / kind / "images", folder / kind / "labels") for kind in ("volume", "picture")]
    _write_volume(*places[0], "mr_new", np.random.default_rng([seed, 901, NEW_CASE]))
    rngs = np.random.default_rng([seed, 902, NEW_CASE]), np.random.default_rng([seed, 902, NEW_CASE, 1])
    _write_picture(*places[1], "us_new", *rngs)
    return places[0], places[1]


def _write_volumes(root: Path, seed: int, number: int) -> None:
    for index in range(number):
        rng = np.random.default_rng([seed, 901, index])
        _write_volume(root / "imagesTr", root / "labelsTr", f"mr_{index:03d}", rng)


def _write_volume(images: Path, labels: Path, name: str, rng: np.random.Generator) -> None:
    import SimpleITK as sitk

    stuff = {"spacing": MR_SPACING[::-1], "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
    image, label = mr_phantom(rng)
    itk = sitk.GetImageFromArray(image)
    itk.SetSpacing(stuff["spacing"])
    with atomic_path(images / f"{name}_0000.nii.gz") as path:
        sitk.WriteImage(itk, str(path), True)
    write_segmentation(label, labels / f"{name}.nii.gz", {"sitk_stuff": stuff}, "SimpleITKIO")


def _write_pictures(root: Path, seed: int, number: int) -> None:
    rows = ["case,group"]
    for index in range(number):
        exam, view = divmod(index, 2)
        name = f"us_{exam:03d}_{'ab'[view]}"
        rngs = np.random.default_rng([seed, 902, exam]), np.random.default_rng([seed, 902, exam, 1 + view])
        _write_picture(root / "imagesTr", root / "labelsTr", name, *rngs)
        rows.append(f"{name},exam_{exam:03d}")
    write_text(root / "groups.csv", "\n".join(rows) + "\n")


def _write_picture(
    images: Path, labels: Path, name: str, exam: np.random.Generator, view: np.random.Generator
) -> None:
    image, label = ultrasound_phantom(exam, view)
    write_segmentation(image[None], images / f"{name}_0000.png", {}, "NaturalImage2DIO")
    write_segmentation(label[None], labels / f"{name}.png", {}, "NaturalImage2DIO")


# Volumes: a bent tube of two parts in a piece of brain.


def mr_phantom(rng: np.random.Generator) -> tuple[NDArray[np.int16], Bytes]:
    """One volume and its label: a thick head (1) that goes over into a thin body (2).

    Returns:
        image (16, 40, 40) with a spacing of 2 x 1 x 1 mm, and label of the same shape.
    """
    grid = np.indices(MR_SHAPE, float) * np.reshape(MR_SPACING, (3, 1, 1, 1))
    grid -= grid.mean((1, 2, 3), keepdims=True)
    # A smooth displacement of the grid bends everything that is drawn on it.
    warped = grid + np.stack([_smooth_noise(rng, MR_SHAPE, 9.0 / s, 2.5) for s in (2.0, 1.0, 1.0)])
    depth, along = _tube(warped, rng)
    split = rng.uniform(0.38, 0.5)
    label = np.where(depth > 0, np.where(along < split, 1, 2), 0).astype(np.uint8)

    image = _tissue(warped, depth, rng)
    inside, is_head = _soft(depth / 0.7), _soft((split - along) * 25)
    image += inside * (is_head * rng.normal(98, 3) + (1 - is_head) * rng.normal(66, 3) - image)
    image *= np.exp(_smooth_noise(rng, MR_SHAPE, (8.0, 16.0, 16.0), 0.06))
    # Magnitude of a complex signal with Gaussian noise: a Rician distribution.
    noise = rng.normal(0, 6.0, (2, *MR_SHAPE))
    image = np.hypot(image + noise[0], noise[1]) * rng.lognormal(1.0, 0.5)
    return np.rint(image).astype(np.int16), label


def _tube(grid: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """How deep each voxel lies in the tube (mm, negative outside), and where along it (0 to 1)."""
    t = np.linspace(0, 1, 48)
    bend, length = rng.uniform(4, 9), rng.uniform(26, 32)
    line = np.stack([4 * bend * (t - 0.5) ** 2 - bend / 2, length * (t - 0.5), bend * np.sin(2.5 * t)])
    line = _rotation(rng, 0.35) @ line + rng.normal(0, 1.5, (3, 1))
    radius = np.interp(t, [0, 0.12, 0.4, 1], [5.2, 7.8, 6.2, 4.4]) * rng.uniform(0.88, 1.12)
    points = grid.reshape(3, -1).T
    # |a - b|^2 = a^2 + b^2 - 2ab: one matrix product instead of all differences.
    squared = (points**2).sum(1)[:, None] + (line**2).sum(0) - 2 * points @ line
    depth = radius - np.sqrt(np.maximum(squared, 0))
    return depth.max(1).reshape(MR_SHAPE), t[depth.argmax(1)].reshape(MR_SHAPE)


def _tissue(grid: Floats, depth: Floats, rng: np.random.Generator) -> Floats:
    """White matter with folds of grey matter, and ventricles, darker than all that is labelled."""
    white = _soft(2.2 * _smooth_noise(rng, MR_SHAPE, (2.0, 4.0, 4.0), 1.0) + 1.0)
    # A sheath of white matter lies around the tube, with gaps where only its shape tells the border.
    gaps = _soft(3 * _smooth_noise(rng, MR_SHAPE, (3.0, 6.0, 6.0), 1.0) + 2.0)
    white = np.maximum(white, gaps * np.exp(-((depth / 3.0) ** 2)))
    image = 128 + 30 * white
    for _ in range(10):
        radii = rng.uniform(4.0, 7.0, 3)
        centre = rng.uniform(-0.5, 0.5, 3) * (28, 36, 36)
        turned = np.tensordot(_rotation(rng, 1.5), grid - centre[:, None, None, None], 1)
        inner = 1 - np.sqrt(((turned / radii[:, None, None, None]) ** 2).sum(0))
        image += _soft(inner * radii.mean() / 0.3) * (30 - image)
    return image


def _rotation(rng: np.random.Generator, spread: float) -> Floats:
    """A rotation about a random axis by a normally distributed angle (Rodrigues' formula)."""
    axis = rng.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = rng.normal(0, spread)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


# Pictures: a fan of beams, followed in depth as an ultrasound probe does.


def ultrasound_phantom(exam: np.random.Generator, view: np.random.Generator) -> tuple[Bytes, Bytes]:
    """One picture of a fetal head and its label, the filled ellipse.

    Args:
        exam: draws what two pictures of an exam share, the size of the head and the gain.
        view: draws what differs, the position of the head and the speckle.

    Returns:
        image and label (96, 120).
    """
    from scipy.ndimage import map_coordinates

    axes, gain, noise = exam.uniform((46, 36), (62, 47)), exam.uniform(0.85, 1.2), exam.uniform(0.8, 1.1)
    centre = np.array([92.0, 100.0]) + view.normal(0, (7, 10))
    ellipse = (centre, axes * view.normal(1, 0.02), view.uniform(0, np.pi))

    # The probe stands above the picture; beams leave it at these angles and are sampled at these depths.
    apex, angles, depths = np.array([-46.0, 100.0]), np.linspace(-0.62, 0.62, 180), np.arange(40.0, 204.0)
    beams = apex[:, None, None] + depths[:, None] * np.stack([np.cos(angles), np.sin(angles)])[:, None]
    echo = _echoes(beams, ellipse, angles, view)
    speckle = _speckle(echo.shape, view, noise)
    fan = np.clip(gain * (0.5 + 0.29 * np.log10(np.maximum(echo * speckle, 1e-4))), 0, 1)

    rows, columns = np.indices(US_SHAPE, float) * US_PITCH
    away = np.stack([rows - apex[0], columns - apex[1]])
    depth, angle = np.hypot(*away), np.arctan2(away[1], away[0])
    position = [depth - depths[0], (angle - angles[0]) / (angles[1] - angles[0])]
    image = 255 * map_coordinates(fan, position, order=1, cval=0.0)
    label = _in_ellipse(np.stack([rows, columns]), ellipse)[0] < 1
    return np.rint(image).astype(np.uint8), label.astype(np.uint8)


def _in_ellipse(points: Floats, ellipse: tuple[Floats, Floats, float]) -> tuple[Floats, Floats]:
    """Relative radius of each point (1 on the outline), and the outline's normal there, (2, ...)."""
    centre, axes, turn = ellipse
    frame = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    local = np.tensordot(frame, points - centre.reshape(2, *[1] * (points.ndim - 1)), 1)
    scaled = local / axes.reshape(2, *[1] * (points.ndim - 1))
    normal = np.tensordot(frame.T, scaled / axes.reshape(2, *[1] * (points.ndim - 1)), 1)
    return np.sqrt((scaled**2).sum(0)), normal / np.maximum(np.linalg.norm(normal, axis=0), 1e-9)


def _echoes(
    beams: Floats, ellipse: tuple[Floats, Floats, float], angles: Floats, rng: np.random.Generator
) -> Floats:
    """What comes back from each depth (rows) of each beam (columns), less what lies before it has taken."""
    radius, normal = _in_ellipse(beams, ellipse)
    distance = (radius - 1) * ellipse[1].mean()
    facing = np.abs(normal[0] * np.cos(angles) + normal[1] * np.sin(angles))
    # Bone reflects where the beam meets it upright, and swallows the beam where it grazes.
    bone = np.exp(-((distance / 2.0) ** 2))
    tissue = np.exp(_smooth_noise(rng, radius.shape, (6, 14), 0.9))
    outside = tissue * (0.8 + 2.5 * np.exp(-((_smooth_noise(rng, radius.shape, (5, 40), 1.0) / 0.15) ** 2)))
    echo = np.where(distance > 0, outside, 0.07 * tissue)
    along = np.tensordot([np.cos(ellipse[2]), np.sin(ellipse[2])], beams - ellipse[0][:, None, None], 1)
    across = np.tensordot([-np.sin(ellipse[2]), np.cos(ellipse[2])], beams - ellipse[0][:, None, None], 1)
    falx = np.exp(-((across / 1.5) ** 2)) * (np.abs(along) < 0.75 * ellipse[1][0])
    echo = echo + 0.8 * falx * (distance < -4) + bone * (0.25 + 30 * facing**6)
    taken = 0.0035 + 0.05 * bone * (1 - 0.8 * facing**2)
    for place in rng.uniform(angles[0], angles[-1], rng.integers(0, 3)):
        taken = taken + 0.02 * np.exp(-(((angles - place) / rng.uniform(0.02, 0.06)) ** 2))
    return np.asarray(echo * np.exp(-2 * np.cumsum(taken, 0)))


def _speckle(shape: tuple[int, ...], rng: np.random.Generator, strength: float) -> Floats:
    """Intensity of many small echoes that interfere: exponentially distributed with mean 1."""
    parts = [_smooth_noise(rng, shape, (0.8, 1.5), 1.0) for _ in range(2)]
    return np.asarray(((parts[0] ** 2 + parts[1] ** 2) / 2 + 1e-3) ** strength)


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], width: float | tuple[float, ...], deviation: float
) -> Floats:
    """Gaussian noise, smoothed with a Gaussian of `width` samples, of mean 0 and the given deviation."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.normal(size=shape), width, mode="wrap")
    return np.asarray(deviation * (noise - noise.mean()) / noise.std())


def _soft(value: Floats) -> Floats:
    """From 0 to 1 without an edge: what a voxel on a border holds of each side."""
    return np.asarray(0.5 * (1 + np.tanh(value)))
