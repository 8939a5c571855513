#!/usr/bin/env bash
# Guess:  seg-metrics gives a structure that a model missed a distance that cannot be mistaken for a good one: the size
#         of the image, infinite, or none.
# Seen:   seg-metrics 1.2.8 gives it the distance of a perfect segmentation: with an empty prediction Dice is 0, and
#         Hausdorff distance, its 95th percentile and the mean surface distance are 0.0 mm; likewise a structure that
#         is in the prediction alone. It says in the log what it does for precision and recall, nothing of distances.
#         Five cases, each found with a Hausdorff distance of 6 mm, have a mean of 6.0 mm; miss three of them: 2.4.
# So:     the more structures a model misses, the better its mean distance from seg-metrics; take the cases with Dice 0
#         out by hand, and say how many they are.
# Source: seg-metrics 1.2.8, SimpleITK 2.5.7, numpy 2.4.6, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "seg-metrics==1.2.8" "SimpleITK==2.5.7" "numpy==2.4.6"
cd "$folder"
MPLBACKEND=agg "$folder/venv/bin/python" - 2> /dev/null <<'PYTHON'
import numpy as np
from seg_metrics.seg_metrics import write_metrics

NAMES = ["dice", "hd", "hd95", "msd"]
z, y, x = np.mgrid[:24, :24, :24]
reference = ((z - 12) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 <= 36).astype(np.uint8)
nothing = np.zeros_like(reference)


def measured(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    (values,) = write_metrics(labels=[1], gdth_img=truth, pred_img=prediction, spacing=[3.0, 1.0, 1.0], metrics=NAMES)
    return {name: round(float(values[name][0]), 2) for name in NAMES}


near = measured(np.roll(reference, 2, axis=0), reference)
missed = measured(nothing, reference)
invented = measured(reference, nothing)
means = [np.mean([near["hd"]] * (5 - n) + [missed["hd"]] * n) for n in (0, 3)]
print("two slices off:", near)
print("missed:        ", missed)
print("invented:      ", invented)
print("mean Hausdorff distance of five cases, none missed and three missed:", means)
assert near["hd"] == 6.0 and near["dice"] > 0.7
assert missed == invented == dict.fromkeys(NAMES, 0.0), "a missed structure no longer has the distance seen"
PYTHON
