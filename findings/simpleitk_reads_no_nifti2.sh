#!/usr/bin/env bash
# Guess:  SimpleITK reads NIfTI-2, which has been a standard since 2011 and ends in .nii or .nii.gz like NIfTI-1; it
#         differs from NIfTI-1 in the header alone.
# Seen:   SimpleITK 2.5.7 (ITK 5.4) refuses every NIfTI-2 file of nibabel 5.4.2, packed or not, of any of the usual
#         data types: "Unable to determine ImageIO reader", as of a file that is no image. The same arrays as NIfTI-1
#         are read.
# So:     a file that nibabel or a viewer opens may be none for a pipeline on SimpleITK; the name does not tell.
# Source: SimpleITK 2.5.7, nibabel 5.4.2, run on 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "nibabel==5.4.2" "numpy==2.4.6"
cd "$folder"
"$folder/venv/bin/python" - 2> /dev/null <<'PYTHON'
import nibabel
import numpy as np
import SimpleITK as sitk

array = np.arange(60).reshape(3, 4, 5)
read = {}
for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
    for dtype in (np.uint8, np.int16, np.int32, np.float32):
        for ending in ("nii", "nii.gz"):
            name = f"{kind.__name__}_{dtype.__name__}.{ending}"
            nibabel.save(kind(array.astype(dtype), np.eye(4)), name)
            assert np.array_equal(np.asarray(nibabel.load(name).dataobj), array)
            try:
                read[name] = bool(np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(name)).T, array))
            except RuntimeError as problem:
                read[name] = "Unable to determine ImageIO reader" in str(problem) and "refused"
print("NIfTI-1:", {v for k, v in read.items() if "1Image" in k}, "NIfTI-2:", {v for k, v in read.items() if "2Image" in k})
assert {v for k, v in read.items() if "1Image" in k} == {True}
assert {v for k, v in read.items() if "2Image" in k} == {"refused"}, "NIfTI-2 is no longer refused as seen"
PYTHON
