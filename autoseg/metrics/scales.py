"""What the values of metrics mean: the usual kinds, for one's own metrics too."""

from __future__ import annotations

from autoseg.metrics.register import DIAGONAL, Scale

SHARE = Scale(unit="1", best=1.0, worst=0.0, direction="higher")
ERROR = Scale(unit="1", best=0.0, worst=1.0, direction="lower")
DISTANCE = Scale(unit="mm", best=0.0, worst=DIAGONAL, direction="lower")
VOXELS = Scale(unit="voxels", best=None, worst=None, direction="none")
LESIONS = Scale(unit="lesions", best=0.0, worst=None, direction="lower")
LENGTH_ERROR = Scale(unit="mm", best=0.0, worst=None, direction="lower")
SIGNED_LENGTH = Scale(unit="mm", best=0.0, worst=None, direction="zero")
SIGNED_AREA = Scale(unit="mm^2", best=0.0, worst=None, direction="zero")
SIGNED_VOLUME = Scale(unit="mL", best=0.0, worst=None, direction="zero")


def divide(part: float, whole: float) -> float | None:
    """The quotient; None where the whole is 0."""
    return part / whole if whole else None
