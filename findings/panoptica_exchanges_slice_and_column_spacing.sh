#!/usr/bin/env bash
# Guess:  panoptica measures surface distances by the spacing of the images that it is given, in mm, whichever library
#         read them; and refuses a pair of images that lie in different places, as its check of the headers promises.
# Seen:   panoptica 2.1.7 takes SimpleITK's spacing (x, y, z) for an array whose axes are z, y, x, and reads .nii.gz and
#         .mha by SimpleITK. A prediction two slices of 5 mm off, of pixels of 0.5 and 1 mm: Hausdorff distance 1.0 and
#         not 10.0, ASSD 0.57 and not 4.78, surface Dice 0.62 and not 0.29. The same file loaded by nibabel and handed
#         over gives 10.0. Distances of the whole (`global_bin_hd`) are in voxels always: 2.0. The check adds up the
#         differences with their signs: an origin 100 mm to one side is refused, 100 mm to the other is accepted, and
#         so is a prediction whose axes x and y point the other way.
# So:     distances from panoptica of CTs with thick slices are no mm unless nibabel read them or `voxelspacing` was
#         given in the array's order; that its check of two headers is passed says nothing.
# Source: panoptica 2.1.7, SimpleITK 2.5.7, nibabel 5.4.2, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "panoptica==2.1.7" "SimpleITK==2.5.7" "nibabel==5.4.2" "numpy==2.2.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk
from panoptica import InputType, Metric, Panoptica_Evaluator

SPACING = (0.5, 1.0, 5.0)  # x, y, z
evaluator = Panoptica_Evaluator(
    expected_input=InputType.MATCHED_INSTANCE,
    instance_metrics=[Metric.DSC, Metric.ASSD, Metric.HD, Metric.NSD],
    global_metrics=[Metric.HD],
)


def block(first: int) -> np.ndarray:
    array = np.zeros((12, 24, 24), np.uint8)
    array[first : first + 4, 6:18, 6:18] = 1
    return array


def image(array: np.ndarray, origin: float = 0.0, turned: bool = False) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(SPACING)
    made.SetOrigin((origin, 0.0, 0.0))
    made.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1) if turned else (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return made


def measured(prediction, reference, **options) -> tuple[float, ...]:
    result = evaluator.evaluate(prediction, reference, verbose=False, **options)["ungrouped"]
    values = result.sq_hd, result.sq_assd, result.sq_nsd, result.global_bin_hd
    return tuple(round(float(value), 2) for value in values)


reference, prediction = block(4), block(6)
found = {"SimpleITK": measured(image(prediction), image(reference))}
for ending in ("nii.gz", "mha"):
    sitk.WriteImage(image(reference), f"reference.{ending}")
    sitk.WriteImage(image(prediction), f"prediction.{ending}")
    found[f"file .{ending}"] = measured(f"prediction.{ending}", f"reference.{ending}")
found["nibabel"] = measured(nibabel.load("prediction.nii.gz"), nibabel.load("reference.nii.gz"))
found["array, spacing z y x"] = measured(prediction, reference, voxelspacing=SPACING[::-1])
for way, values in found.items():
    print(f"{way}: Hausdorff {values[0]}, ASSD {values[1]}, surface Dice {values[2]}, of the whole {values[3]}")

elsewhere = {"100 mm": image(reference, 100.0), "-100 mm": image(reference, -100.0), "turned": image(reference, 0.0, True)}
accepted = []
for name, moved in elsewhere.items():
    try:
        measured(moved, image(reference))
        accepted.append(name)
    except ValueError as problem:
        print(name, "refused:", str(problem)[:60])
print("accepted:", accepted)

for way in ("SimpleITK", "file .nii.gz", "file .mha"):
    assert found[way] == (1.0, 0.57, 0.62, 2.0), "SimpleITK's spacing is no longer taken as seen"
for way in ("nibabel", "array, spacing z y x"):
    assert found[way] == (10.0, 4.78, 0.29, 2.0), "the distances by nibabel are no longer as seen"
assert accepted == ["-100 mm", "turned"], "the headers are no longer compared as seen"
PYTHON
