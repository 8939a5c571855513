"""Small plans in nnU-Net's format, for tests of what follows the plan."""

from __future__ import annotations

from typing import Any

INTENSITIES = {"mean": 80.0, "std": 110.0, "percentile_00_5": -300.0, "percentile_99_5": 400.0}


def plans_document(
    spacing: list[float],
    normalization: list[str],
    mask: bool = False,
    transpose: tuple[int, ...] = (0, 1, 2),
    **more: Any,
) -> dict[str, Any]:
    """A plans document of nnU-Net with one configuration, named as its dimensions ask."""
    resampling = {
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
    }
    name = "2d" if len(spacing) == 2 else "3d_fullres"
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [32] * len(spacing),
        "median_image_size_in_voxels": [64] * len(spacing),
        "spacing": spacing,
        "normalization_schemes": normalization,
        "use_mask_for_norm": [mask] * len(normalization),
        **resampling,
        "architecture": {
            "network_class_name": "autoseg.architectures.x.Y",
            "arch_kwargs": {},
            "_kw_requires_import": [],
        },
        "batch_dice": False,
        **more,
    }
    return {
        "dataset_name": "Dataset999_Test",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1, 1, 1],
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(transpose),
        "transpose_backward": [transpose.index(axis) for axis in range(3)],
        "configurations": {name: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(channel): {**INTENSITIES, "mean": 80.0 + channel} for channel in range(len(normalization))
        },
    }
