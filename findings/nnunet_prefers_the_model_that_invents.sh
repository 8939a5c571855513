#!/usr/bin/env bash
# Guess:  where no validation case has one of the structures (a rare one; training of fold 0 alone), `nnUNetv2_find_best_
#         configuration` compares models by the others, and a model that invents the absent one is the worse for it.
# Seen:   nnU-Net 2.8.1 chooses the model that invents it. Of a structure that is in neither reference nor prediction
#         the Dice is NaN, and the mean over structures, by which models are compared, is taken without leaving it out:
#         `3d_fullres`, right to a voxel of 512 (Dice 0.999), gets NaN; `2d` with half the organ (0.667) and one voxel of the
#         absent lesion in one case (0.0) gets 0.333, is printed as "*Best*", and is the one whose commands
#         for inference follow. Of the NaN there is no word but the number in the list.
# So:     look at "***All results:***" for nan before you take the best; a comparison of models on one fold of a
#         data set with rare structures chooses by who invents them.
# Source: nnunetv2 2.8.1, SimpleITK 2.5.7, numpy 2.4.6, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "nnunetv2==2.8.1" "numpy==2.4.6" "torch==2.14.1" "acvl-utils==0.2.6" \
  "dynamic-network-architectures==0.4.4" "batchgenerators==0.25.5" "batchgeneratorsv2==0.3.6" "SimpleITK==2.5.7"
cd "$folder"
mkdir raw preprocessed results
export nnUNet_raw="$folder/raw" nnUNet_preprocessed="$folder/preprocessed" nnUNet_results="$folder/results"
cat > choose.py <<'PYTHON'
import json
import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.evaluation.find_best_configuration import find_best_configuration

NAME = "Dataset001_Made"
LABELS = {"background": 0, "organ": 1, "lesion": 2}
DATASET = {"channel_names": {"0": "MR"}, "labels": LABELS, "file_ending": ".nii.gz", "numTraining": 4}
NETWORK = {"architecture": {"network_class_name": "made", "arch_kwargs": {}, "_kw_requires_import": []}}
PLANS = {
    "dataset_name": NAME,
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "label_manager": "LabelManager",
    "configurations": {"2d": NETWORK, "3d_fullres": NETWORK},
}


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def main() -> None:
    (Path("raw") / NAME).mkdir()
    write(Path("preprocessed", NAME, "nnUNetPlans.json"), PLANS)
    for number in range(4):
        organ = np.zeros((16, 16, 16), np.uint8)
        organ[4:12, 4:12, 4:12] = 1
        right, half = organ.copy(), organ.copy()
        right[4, 4, 4] = 0
        half[4:12, 4:12, 4:8] = 0
        half[2, 2, 2] = 2 if number == 0 else 0
        save(organ, Path("preprocessed", NAME, "gt_segmentations", f"case_{number}.nii.gz"))
        for configuration, segmentation in (("2d", half), ("3d_fullres", right)):
            model = Path("results", NAME, f"nnUNetTrainer__nnUNetPlans__{configuration}")
            save(segmentation, model / "fold_0" / "validation" / f"case_{number}.nii.gz")
            write(model / "plans.json", PLANS)
            write(model / "dataset.json", DATASET)
    models = [
        {"plans": "nnUNetPlans", "configuration": configuration, "trainer": "nnUNetTrainer"}
        for configuration in ("2d", "3d_fullres")  # nnU-Net's own order
    ]
    found = find_best_configuration(NAME, models, allow_ensembling=False, num_processes=1, folds=(0,))
    results = {name.split("__")[-1]: value for name, value in found["all_results"].items()}
    chosen = [model["configuration"] for model in found["best_model_or_ensemble"]["selected_model_or_models"]]
    means = {}
    for name in results:
        folder = Path("results", NAME, f"nnUNetTrainer__nnUNetPlans__{name}", "crossval_results_folds_0")
        summary = json.loads((folder / "summary.json").read_text())
        means[name] = {label: round(values["Dice"], 3) for label, values in summary["mean"].items()}
    print("Dice by label:", means)
    print("compared:", results, "chosen:", chosen)
    assert means["3d_fullres"]["1"] == 0.999 and math.isnan(means["3d_fullres"]["2"])
    assert means["2d"] == {"1": 0.667, "2": 0.0}
    assert chosen == ["2d"] and math.isnan(results["3d_fullres"]), "the model that invents is no longer chosen"


if __name__ == "__main__":
    main()
PYTHON
"$folder/venv/bin/python" -W ignore choose.py | tail -n 2
