#!/usr/bin/env bash
# Guess:  acvl_utils' generate_ball(radius, spacing) makes the ball of that radius in mm on voxels of that spacing, to
#         about a voxel, as its docstring says too.
# Seen:   acvl_utils 0.2.6 rounds the radius to whole mm first and divides by the spacing afterwards. 2.5 mm on voxels of
#         0.5 mm become 4 voxels and not 5, half of the volume (rounding goes to the even number); 1.4 mm on 0.2 mm
#         has 36 % of its voxels; 0.4 mm on 0.1 mm is one voxel where 257 lie within 0.4 mm. On voxels of 5 x 2.5 x 2.5 mm,
#         where nothing is rounded, a radius of 10 mm has 201 voxels where 125 lie within it.
# So:     structuring elements made with it for fine images (micrometre CT, teeth, small animals) are far too small, and
#         those for oblong voxels too large, without a word.
# Source: acvl_utils 0.2.6 with scikit-image 0.26.0, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "scikit-image==0.26.0" "connected-components-3d==3.27.0" "numpy==2.4.6"
# Without its dependencies, for torch is none of this.
"$folder/venv/bin/pip" install --quiet --no-deps "acvl_utils==0.2.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from acvl_utils.morphology.morphology_helper import generate_ball


def within(radius: float, spacing: tuple[float, float, float]) -> int:
    """Voxels whose centre lies within the radius of the middle one."""
    axes = [np.arange(-99, 100) * step for step in spacing]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return int(np.count_nonzero(z**2 + y**2 + x**2 <= radius**2 * (1 + 1e-9)))


found = []
for radius, spacing in (
    (10.0, (5.0, 5.0, 5.0)),
    (2.5, (0.5, 0.5, 0.5)),
    (1.4, (0.2, 0.2, 0.2)),
    (0.4, (0.1, 0.1, 0.1)),
    (10.0, (5.0, 2.5, 2.5)),
):
    made, true = int(generate_ball((radius,) * 3, spacing).sum()), within(radius, spacing)
    print(f"radius {radius} mm, spacing {spacing} mm: {made} voxels, {true} lie within the radius")
    found.append((made, true))
assert found == [(33, 33), (257, 515), (515, 1419), (1, 257), (201, 125)], f"no longer as seen: {found}"
PYTHON
