#!/usr/bin/env bash
# Guess:  what nnU-Net's predictor returns for the first stage of a cascade can be given to that of the second.
# Seen:   nnU-Net 2.8.1 with NumPy 2: `predict_single_npy_array` returns labels as uint8, and refuses the very same
#         array as `segmentation_previous_stage`: "OverflowError: Python integer -1 out of bounds for uint8". While it
#         crops the image to what is not zero it marks the rest with -1, which NumPy 1 wrapped to 255. As int16 or
#         float32, as nnU-Net's own readers give labels, it is taken.
# So:     who predicts a cascade from Python, array by array, has to change the type between the stages.
# Source: nnunetv2 2.8.1, numpy 2.4.6, torch 2.14.1, run on 2026-11-29; NEP 50 for what NumPy 1 did.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "nnunetv2==2.8.1" "numpy==2.4.6" "torch==2.14.1" "acvl-utils==0.2.6" \
  "dynamic-network-architectures==0.4.4" "batchgenerators==0.25.5" "batchgeneratorsv2==0.3.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

RESAMPLING = {
    f"resampling_fn_{what}{end}": value
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
    for end, value in (
        ("", "resample_data_or_seg_to_shape"),
        ("_kwargs", {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}),
    )
}
STAGES = {
    "n_stages": 2,
    "features_per_stage": [4, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 2,
    "strides": [[1, 1, 1], [2, 2, 2]],
    "n_conv_per_stage": [1, 1],
    "n_conv_per_stage_decoder": [1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"affine": True},
    "nonlin": "torch.nn.LeakyReLU",
}
FIRST = {
    "data_identifier": "made",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [16, 16, 16],
    "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "batch_dice": False,
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": STAGES,
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
    },
    **RESAMPLING,
}
PLANS = {
    "dataset_name": "Dataset001_Made",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {"0": {"mean": 100.0, "std": 20.0}},
    "label_manager": "LabelManager",
    "configurations": {
        "3d_lowres": {**FIRST, "next_stage": "3d_cascade_fullres"},
        "3d_cascade_fullres": {"inherits_from": "3d_lowres", "previous_stage": "3d_lowres"},
    },
}
DATASET = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}


def predictor(configuration: str, channels: int) -> nnUNetPredictor:
    torch.manual_seed(0)
    plans = PlansManager(PLANS)
    manager = plans.get_configuration(configuration)
    network = get_network_from_plans(
        manager.network_arch_class_name,
        manager.network_arch_init_kwargs,
        manager.network_arch_init_kwargs_req_import,
        channels,
        2,
        deep_supervision=False,
    )
    made = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    made.manual_initialization(network, plans, manager, [network.state_dict()], DATASET, "nnUNetTrainer", None)
    return made


rng = np.random.default_rng(0)
image = np.zeros((1, 24, 24, 24), dtype=np.float32)
image[:, 4:20, 4:20, 4:20] = rng.normal(100, 20, (1, 16, 16, 16))
about = {"spacing": [1.0, 1.0, 1.0]}
first = predictor("3d_lowres", 1).predict_single_npy_array(image, dict(about))
print("the first stage gives", first.dtype, first.shape)
second = predictor("3d_cascade_fullres", 2)
try:
    second.predict_single_npy_array(image, dict(about), first[None])
    raised = "nothing"
except OverflowError as problem:
    raised = f"OverflowError: {problem}"
print("as it is:", raised)
result = second.predict_single_npy_array(image, dict(about), first[None].astype(np.int16))
print("as int16:", result.dtype, result.shape)
assert first.dtype == np.uint8 and first.shape == result.shape == (24, 24, 24)
assert "out of bounds for uint8" in raised, "the first stage's result is taken as it is now"
PYTHON
