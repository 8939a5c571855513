"""Head circumference from a 2D segmentation of the fetal head.

The ellipse has the second moments of the segmentation: its edge is not traced, so a pixel more or less
along the border averages out. Fitting border pixels instead is off by about half a pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def head_circumference(segmentation: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> float:
    """Measure the circumference of the largest component, holes filled, as that of an ellipse.

    Args:
        segmentation: boolean, 2D (y, x).
        spacing_mm: pixel size in mm, (y, x). Without one, give (1, 1): the result is then in pixels.

    Returns:
        Circumference in mm; 0 if nothing is segmented.
    """
    if not segmentation.any():
        return 0.0
    rows, columns = np.nonzero(_head(segmentation))
    points = np.stack([rows, columns]) * np.asarray(spacing_mm, np.float64)[:, None]
    # Each pixel is a small square with second moments of its own: spacing^2 / 12 along each axis.
    moments = np.cov(points, bias=True) + np.diag(np.square(spacing_mm)) / 12
    # A filled ellipse with semi-axis a has the second moment a^2 / 4 along it.
    b, a = 2 * np.sqrt(np.linalg.eigvalsh(moments))
    return ellipse_circumference(float(a), float(b))


def ellipse_circumference(a: float, b: float) -> float:
    """Circumference of an ellipse with semi-axes a and b: Ramanujan's first approximation (1914).

    >>> round(ellipse_circumference(60, 45), 2)
    331.55
    """
    return math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))


def _head(segmentation: NDArray[np.bool_]) -> NDArray[np.bool_]:
    import cc3d
    from scipy.ndimage import binary_fill_holes

    components = cc3d.connected_components(segmentation, connectivity=8)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    filled: NDArray[np.bool_] = binary_fill_holes(components == np.argmax(sizes))
    return filled
