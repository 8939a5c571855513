#!/usr/bin/env bash
# Guess:  with nested regions (a tumour's core within the whole tumour) nnU-Net's postprocessing of the core leaves the
#         whole as it was: what is taken out of the core is still tumour. A step that makes another region worse is not
#         retained, as it is not where all of the foreground is treated at once.
# Seen:   nnU-Net 2.8.1 writes background where it takes smaller components out of the inner region, in the midst of the
#         outer one too, and asks of a step for one region only whether that region's own mean Dice rises. Seven cases
#         with a second lump of core, false in four and true in three: the core goes from 0.953 to 0.964, the whole,
#         which was perfect, to 0.982, the mean of both from 0.976 to 0.973. "Results were improved": the step is
#         retained, and each segmentation has a hole of 257 voxels where the lump was. The pickle's function has an
#         argument `background_label` that could say otherwise; nothing sets it.
# So:     with regions, compare `foreground_mean` in postprocessing.json before and after, and fill what was taken out
#         of a region with the label of the region around it.
# Source: nnunetv2 2.8.1, SimpleITK 2.5.7, numpy 2.4.6, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "nnunetv2==2.8.1" "numpy==2.4.6" "torch==2.14.1" "acvl-utils==0.2.6" \
  "dynamic-network-architectures==0.4.4" "batchgenerators==0.25.5" "batchgeneratorsv2==0.3.6" "SimpleITK==2.5.7"
cd "$folder"
mkdir raw preprocessed results predicted reference
export nnUNet_raw="$folder/raw" nnUNet_preprocessed="$folder/preprocessed" nnUNet_results="$folder/results"
cat > determine.py <<'PYTHON'
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

DATASET = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "whole": [1, 2], "core": [2]},
    "regions_class_order": [1, 2],
    "file_ending": ".nii.gz",
    "numTraining": 7,
}
PLANS = {
    "dataset_name": "Dataset001_Made",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "label_manager": "LabelManager",
    "configurations": {},
}
CASES, FALSE = 7, 4
LUMP = (20, 20, 28)


def ball(centre: tuple[int, int, int], radius: int) -> np.ndarray:
    return sum((axis - at) ** 2 for axis, at in zip(np.ogrid[:40, :40, :40], centre, strict=True)) <= radius**2


def save(array: np.ndarray, path: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array), path)


def main() -> None:
    for number in range(CASES):
        predicted = np.zeros((40, 40, 40), np.uint8)
        predicted[ball((20, 20, 20), 12)] = 1
        predicted[ball((20, 20, 15), 7) | ball(LUMP, 4)] = 2
        reference = predicted.copy()
        if number < FALSE:
            reference[ball(LUMP, 4)] = 1  # no core there, though tumour
        save(predicted, f"predicted/case_{number}.nii.gz")
        save(reference, f"reference/case_{number}.nii.gz")
    functions, options = determine_postprocessing("predicted", "reference", PLANS, DATASET, 1)
    found = json.loads(Path("predicted/postprocessing.json").read_text())
    dice = {}
    for when in ("input_folder", "postprocessed"):
        means = found[when]["mean"] | {"mean of both": found[when]["foreground_mean"]}
        dice[when] = {name: round(values["Dice"], 3) for name, values in means.items()}
    after = [sitk.GetArrayFromImage(sitk.ReadImage(f"predicted/postprocessed/case_{n}.nii.gz")) for n in range(CASES)]
    print("before:", dice["input_folder"])
    print("after: ", dice["postprocessed"])
    print("retained:", [function.__name__ for function in functions], options, "in the lump:", [int(a[LUMP]) for a in after])
    assert len(functions) == 1 and options == [{"labels_or_regions": (2,)}], "the step is no longer retained as seen"
    assert {int(array[LUMP]) for array in after} == {0}, "what leaves the core is no longer background"
    assert dice["postprocessed"]["mean of both"] < dice["input_folder"]["mean of both"] - 0.002
    assert dice["input_folder"]["(1, 2)"] == 1.0 and dice["postprocessed"]["(1, 2)"] < 0.99


if __name__ == "__main__":
    main()
PYTHON
"$folder/venv/bin/python" -W ignore determine.py
