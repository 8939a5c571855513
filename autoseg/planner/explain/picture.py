"""The patch over the median case, in the three planes through the labelled part: a picture of the plan."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.readers import Image, read_images, read_segmentation
from autoseg.errors import DataError
from autoseg.planner.data_facts import NATURAL_READER, extent
from autoseg.system.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from autoseg.data.dataset import Dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.planner.configuration import Configuration
    from autoseg.planner.plan import Plan

Array = NDArray[Any]

# Okabe and Ito 2008: the ones that stand out on grey, and not by hue alone.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7")
STYLES = {"3d_fullres": COLOURS[0], "3d_lowres": COLOURS[1], "2d": COLOURS[2]}
FILL = (240, 228, 66)
FILL_STRENGTH = 0.25
LONGEST_MM = 420
GAP = 14
TEXT = 16
BACKGROUND = (17, 17, 17)


@dataclass(frozen=True)
class _View:
    """One plane: its pixels and where the image's voxels lie in it."""

    name: str
    axes: tuple[int, int]
    pixels: Array
    scale: tuple[float, float]


def draw_plan(dataset: Dataset, fingerprint: Fingerprint, plan: Plan, path: Path) -> Path:
    """Draw the patches of a plan's configurations over the case of median size, as PNG.

    Three planes through the largest cross-sections of the foreground, at their true proportions; of a 2D
    image its only one. Patches are centred on the foreground and as large as they are on the case.

    Args:
        dataset: the data set with its images.
        fingerprint: the fingerprint of the same data set.
        plan: its configurations are drawn, but for a cascade's second stage.
        path: the picture to write.

    Raises:
        DataError: if the median case has no label file or cannot be read.
    """
    case = dataset.cases[median_case(fingerprint)]
    if case.label is None:
        raise DataError(f"The case {case.identifier} has no label file. Add it.")
    image = read_images(case.images, dataset.reader)
    labels = read_segmentation(case.label, dataset.reader).array[0]
    patches = {name: _in_image(each, plan, image.spacing) for name, each in _drawn(plan).items()}
    pictures = [_panel(view, _centre(labels), patches) for view in _views(image, labels)]
    size = _times(image.array.shape[1:])
    legend = [f"{dataset.name}, case {case.identifier}: {size} voxels; yellow: labelled"]
    unit = "pixels" if plan.image_reader_writer == NATURAL_READER else "mm"
    legend += [_legend(name, each, unit) for name, each in _drawn(plan).items()]
    with atomic_path(path) as temporary:
        temporary.write_bytes(_png(_page(pictures, legend, list(_drawn(plan)))))
    return path


def median_case(fingerprint: Fingerprint) -> int:
    """The index of the case whose size in mm is the median's; the smaller of two."""
    sizes = np.prod(np.array(fingerprint.shapes_after_crop, float) * np.array(fingerprint.spacings), 1)
    return int(np.argsort(sizes, kind="stable")[(len(sizes) - 1) // 2])


def _drawn(plan: Plan) -> Mapping[str, Configuration]:
    return {name: each for name, each in plan.configurations.items() if each.previous_stage is None}


def _in_image(configuration: Configuration, plan: Plan, spacing: Sequence[float]) -> tuple[float, ...]:
    """A patch in voxels of the raw image, array order; a 2D one is a single slice."""
    patch = [n * step for n, step in zip(configuration.patch_size, configuration.spacing, strict=True)]
    if len(patch) == 2:
        patch = [spacing[plan.transpose[0]], *patch]
    in_order = [patch[plan.transpose_backward[axis]] for axis in range(3)]
    return tuple(mm / step for mm, step in zip(in_order, spacing, strict=True))


def _centre(labels: Array) -> tuple[float, ...]:
    """The middle of the foreground's box, or of the image where there is none."""
    inside = [np.flatnonzero(labels.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not all(len(found) for found in inside):
        return tuple(n / 2 for n in labels.shape)
    return tuple((found[0] + found[-1] + 1) / 2 for found in inside)


def _views(image: Image, labels: Array) -> list[_View]:
    flat = image.array.shape[1] == 1
    names = {0: "plane of the array's axes 1, 2", 1: "plane of 0, 2", 2: "plane of 0, 1"}
    longest = max(n * s for n, s in zip(image.array.shape[1 + flat :], image.spacing[flat:], strict=True))
    views = []
    for axis in (0,) if flat else (0, 1, 2):
        counts = np.count_nonzero(labels, axis=tuple(a for a in range(3) if a != axis))
        index = int(counts.argmax()) if counts.any() else labels.shape[axis] // 2
        axes = tuple(a for a in range(3) if a != axis)
        scale = tuple(image.spacing[a] * LONGEST_MM / longest for a in axes)
        grey = _grey(np.take(image.array, index, axis=axis + 1))
        name = "" if flat else f"{names[axis]}, at {index + 1} of {labels.shape[axis]}"
        pixels = _coloured(grey, np.take(labels, index, axis=axis) > 0)
        views.append(_View(name, (axes[0], axes[1]), pixels, (scale[0], scale[1])))
    return views


def _grey(channels: Array) -> Array:
    """(c, y, x) to RGB (y, x, 3), 0 to 255; three channels of a picture are its colours."""
    shown = channels if len(channels) == 3 else channels[:1].repeat(3, 0)
    low, high = np.percentile(shown, (0.5, 99.5))
    scaled = np.clip((shown - low) / max(float(high - low), 1e-9), 0, 1) * 255
    return np.moveaxis(scaled, 0, -1)


def _coloured(rgb: Array, foreground: Array) -> Array:
    mixed = rgb.copy()
    mixed[foreground] = (1 - FILL_STRENGTH) * mixed[foreground] + FILL_STRENGTH * np.array(FILL)
    return mixed.astype(np.uint8)


def _panel(view: _View, centre: Sequence[float], patches: Mapping[str, Sequence[float]]) -> Pillow.Image:
    """A plane at true proportions with the outlines of the patches, which may reach beyond the image."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    size = [max(1, round(n * s)) for n, s in zip(view.pixels.shape[:2], view.scale, strict=True)]
    boxes = {name: _box(view, centre, patch) for name, patch in patches.items()}
    margins = [
        max([0, *(round(sign * box[2 * end + axis] - end * size[axis]) for box in boxes.values())])
        for end, sign in ((0, -1), (1, 1))
        for axis in (0, 1)
    ]
    top, left, bottom, right = (n + 2 for n in margins)
    canvas = Pillow.new("RGB", (size[1] + left + right, size[0] + top + bottom + TEXT), BACKGROUND)
    canvas.paste(Pillow.fromarray(view.pixels).resize((size[1], size[0])), (left, top + TEXT))
    draw = ImageDraw.Draw(canvas)
    draw.text((2, 0), view.name, fill="white")
    for number, (name, (y0, x0, y1, x1)) in enumerate(boxes.items()):
        corners = (x0 + left, y0 + top + TEXT, max(x1 + left, x0 + left + 1), max(y1, y0 + 1) + top + TEXT)
        # Of boxes that lie on each other the lower one is wider, so that both are seen.
        width = 2 + 3 * (len(boxes) - 1 - number)
        draw.rectangle(corners, outline=_colour(name, number), width=width)
    return canvas


def _box(view: _View, centre: Sequence[float], patch: Sequence[float]) -> tuple[float, ...]:
    """Corners of a patch in pixels of the plane: both starts, then both ends."""
    pairs = list(zip(view.axes, view.scale, strict=True))
    starts = [(centre[axis] - patch[axis] / 2) * scale for axis, scale in pairs]
    return (
        *starts,
        *(start + patch[axis] * scale for start, (axis, scale) in zip(starts, pairs, strict=True)),
    )


def _page(pictures: Sequence[Pillow.Image], legend: Sequence[str], names: Sequence[str]) -> Pillow.Image:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    height = max(each.height for each in pictures) + GAP * 2 + TEXT * len(legend)
    widest = max(len(line) for line in legend) * 7
    width = max(sum(each.width + GAP for each in pictures), widest) + GAP
    page = Pillow.new("RGB", (width, height), BACKGROUND)
    left = GAP
    for each in pictures:
        page.paste(each, (left, GAP + TEXT * len(legend)))
        left += each.width + GAP
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(legend):
        fill = "white" if number == 0 else _colour(names[number - 1], number - 1)
        draw.text((GAP, GAP // 2 + number * TEXT), line, fill=fill)
    return page


def _legend(name: str, configuration: Configuration, unit: str) -> str:
    extents = extent(configuration.patch_size, configuration.spacing)
    size = f", {' x '.join(f'{n:.3g}' for n in extents)} mm" if unit == "mm" else ""
    return f"{name}: patch {_times(configuration.patch_size)} voxels{size}"


def _colour(name: str, number: int) -> str:
    return STYLES.get(name, COLOURS[number % len(COLOURS)])


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _png(page: Pillow.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
