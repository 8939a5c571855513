#!/usr/bin/env bash
# Guess:  SimpleITK's LabelShapeStatisticsImageFilter gives the surface of a structure (GetPerimeter in 3D) to within a
#         few percent where a face is flat and lies along the grid, which is where counting is easiest; and no structure
#         is rounder than a ball (GetRoundness at most 1).
# Seen:   SimpleITK 2.5.7 is within 3 % for balls, of thick slices as well (voxels of 1x1x5 mm, radius 20 mm and more),
#         but of a box of 40x40x40 voxels it finds 91 % at 1x1x1 mm, 76 % at 1x2x3 mm and 62 % at 1x1x5 mm; a box of
#         4x4x4 voxels at 1x2x3 mm has a roundness of 1.09, rounder than a ball. It counts crossings along 13 fixed
#         directions of the grid, which cover a sphere evenly but not a face.
# So:     surface, roundness and what is made of them (surface to volume) are off by up to two fifths for discs, slabs and
#         cylinders that lie along the axes of thick slices; do not compare them between structures of different shape.
# Source: SimpleITK 2.5.7 (ITK 5.4), run on 2026-12-01.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "simpleitk==2.5.7" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk


def surface(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """Surface in mm^2 and roundness; spacing as SimpleITK has it, x first."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing)
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.ComputePerimeterOn()
    shapes.Execute(image)
    return shapes.GetPerimeter(1), shapes.GetRoundness(1)


def ball(radius: float, spacing: tuple[float, float, float]) -> np.ndarray:
    x, y, z = (np.arange(-int(radius / s) - 2, int(radius / s) + 3) * s for s in spacing)
    return z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= radius**2


for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 5.0)):
    found, true = surface(ball(20.0, spacing), spacing)[0], 4 * np.pi * 20.0**2
    print(f"ball, {spacing}: {found / true:.3f} of its surface")
    assert abs(found / true - 1) < 0.03, "no longer as seen"
shares = {}
for spacing in ((1.0, 1.0, 1.0), (1.0, 2.0, 3.0), (1.0, 1.0, 5.0)):
    a, b, c = (40 * step for step in spacing)
    found, true = surface(np.pad(np.ones((40, 40, 40)), 2), spacing)[0], 2 * (a * b + b * c + a * c)
    shares[spacing] = found / true
    print(f"box, {spacing}: {found:.0f} of {true:.0f} mm^2, {found / true:.3f}")
assert np.allclose(list(shares.values()), [0.913, 0.755, 0.619], atol=0.002), f"no longer as seen: {shares}"
roundness = surface(np.pad(np.ones((4, 4, 4)), 2), (1.0, 2.0, 3.0))[1]
print(f"roundness of a box of 4x4x4 voxels: {roundness:.3f}")
assert roundness > 1.08, "no longer as seen"
PYTHON
