#!/usr/bin/env bash
# Guess:  SimpleITK's HausdorffDistanceImageFilter.GetAverageHausdorffDistance is a mean distance of surfaces,
#         as "average Hausdorff distance" is in the literature; two spheres apart by two voxels give about the
#         same number whatever their radius, as the average symmetric surface distance (medpy) does.
# Seen:   SimpleITK 2.5.7 takes the mean over all voxels of an object, its inside too, which has the distance 0.
#         The same shift of two voxels gives 0.373 for a radius of 5, 0.185 for 10 and 0.092 for 20, while the
#         surface distance stays near 1 (0.975, 0.998, 1.018). The maximum (GetHausdorffDistance) is as expected.
# So:     a table of "average Hausdorff distance" made with SimpleITK favours large organs, and is no ASSD.
# Source: SimpleITK 2.5.7, medpy 0.5.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "medpy==0.5.2" "numpy==2.4.6" "scipy==1.17.1"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk
from medpy.metric.binary import assd


def sphere(radius: int, shift: int) -> np.ndarray:
    edge = 2 * radius + 9
    z, y, x = np.ogrid[:edge, :edge, :edge]
    middle = edge // 2
    return ((z - middle) ** 2 + (y - middle) ** 2 + (x - middle - shift) ** 2 <= radius**2).astype(np.uint8)


inside, surface, largest = [], [], []
for radius in (5, 10, 20):
    a, b = sphere(radius, 0), sphere(radius, 2)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(sitk.GetImageFromArray(a), sitk.GetImageFromArray(b))
    inside.append(hausdorff.GetAverageHausdorffDistance())
    surface.append(float(assd(a, b)))
    largest.append(hausdorff.GetHausdorffDistance())
print("SimpleITK average", np.round(inside, 3), "ASSD", np.round(surface, 3), "largest", largest)
assert inside[0] > 1.7 * inside[1] > 1.7 * 1.7 * inside[2], "the average no longer falls with the radius"
assert max(surface) / min(surface) < 1.05, "the surface distance is no longer steady"
assert largest == [2.0, 2.0, 2.0]
PYTHON
