"""Cases as one picture: image, reference and prediction side by side, as a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.drawing.slices import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray[Any, np.dtype[Any]]
_OPACITY = 0.55
_INCHES = 2.6


@dataclass(frozen=True)
class PicturedCase:
    """A case to draw.

    Attributes:
        name: what stands beside it.
        image: shape (slices, rows, columns).
        reference, prediction: labels of the same shape.
        spacing: in mm, of slices, rows and columns.
        structures: names and values.
        note: stands above the prediction, such as its score.
    """

    name: str
    image: Array
    reference: Array
    prediction: Array
    spacing: Sequence[float]
    structures: Mapping[str, int]
    note: str = ""


def draw_cases(cases: Sequence[PicturedCase]) -> bytes:
    """A PNG with a row for each case; of a volume, the slice with the most of the reference."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * _INCHES, _INCHES * len(cases) + 0.4), layout="constrained")
    grid = figure.subplots(len(cases), 3, squeeze=False)
    for axes, case in zip(grid, cases, strict=True):
        _draw_row(axes, case)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _draw_row(axes: Sequence[Axes], case: PicturedCase) -> None:
    index = int((case.reference > 0).sum((1, 2)).argmax())
    titles = (case.name, "reference", f"prediction{case.note and ', ' + case.note}")
    for each, title, labels in zip(axes, titles, (None, case.reference, case.prediction), strict=True):
        each.imshow(case.image[index], cmap="gray", aspect=case.spacing[1] / case.spacing[2])
        if labels is not None:
            each.imshow(_coloured(labels[index], case.structures), aspect=case.spacing[1] / case.spacing[2])
        each.set_title(title, fontsize=9)
        each.set_axis_off()
    for number, name in enumerate(case.structures):
        axes[1].plot([], [], "s", color=COLOURS[number % len(COLOURS)], label=name)
    axes[1].legend(fontsize=7, loc="lower right", framealpha=0.6)


def _coloured(plane: Array, structures: Mapping[str, int]) -> Array:
    """The labels of a slice as red, green, blue and opacity, (rows, columns, 4)."""
    from matplotlib.colors import to_rgb

    canvas = np.zeros((*plane.shape, 4))
    for number, value in enumerate(structures.values()):
        canvas[plane == value] = (*to_rgb(COLOURS[number % len(COLOURS)]), _OPACITY)
    return canvas
