"""One look per trainer: a colour that colour-blind readers can tell, a dash pattern and a marker."""

from __future__ import annotations

from dataclasses import dataclass

# Okabe and Ito 2008, "Color Universal Design"; in an order that keeps the first ones far apart. The last is
# the text colour: black on white, white on black. Values are CSS variables, so that dark pages can lighten.
_COLOURS = ("blue", "vermilion", "green", "orange", "sky", "purple", "yellow", "ink")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "14 4")
# Around the origin, in a box of about 12 units.
_MARKERS = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4.5-4.5h9v9h-9z",
    "M0-6L5.5 4.5h-11z",
    "M0-6.4L5.6 0L0 6.4L-5.6 0z",
    "M0 6L5.5-4.5h-11z",
    "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
)


@dataclass(frozen=True)
class Look:
    """How one trainer is drawn everywhere on the page."""

    colour: str
    dash: str
    marker: str


def look(index: int) -> Look:
    """The look of the trainer at a position; after eight colours the dash pattern changes."""
    return Look(
        f"var(--{_COLOURS[index % len(_COLOURS)]})",
        _DASHES[(index + index // len(_COLOURS)) % len(_DASHES)],
        _MARKERS[(index + index // len(_COLOURS)) % len(_MARKERS)],
    )
