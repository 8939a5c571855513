"""One raw case into the arrays that networks are trained on.

A case is transposed, cropped to its nonzero region, normalised and resampled: nnU-Net's steps in nnU-Net's
order (DefaultPreprocessor, 2.8), with its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.dataset import Labels, labels_from_json
from autoseg.data.readers import Image
from autoseg.errors import PlanError
from autoseg.planner.plan import Configuration, Plan
from autoseg.preprocessing.class_locations import class_locations, classes_to_locate
from autoseg.preprocessing.fit_case import crop_case, fit_case, fit_image
from autoseg.preprocessing.normalization import depends_on_intensities
from autoseg.system.files import digest

Array = NDArray[Any]

_VERSION = 1  # of the arrays: a higher number makes every case old
_RESAMPLER = "resample_data_or_seg_to_shape"


def preprocess_case(
    images: Image,
    segmentation: Image | None,
    plan: Plan,
    configuration: Configuration,
    dataset_json: Mapping[str, Any],
) -> tuple[NDArray[np.float32], Array | None, dict[str, Any]]:
    """Preprocess one case in memory. The input is left as it is.

    Args:
        images: the channels.
        segmentation: the label, if there is one.
        plan: the plan.
        configuration: one of the plan's.
        dataset_json: content of dataset.json; labels, regions and the ignore label are read.

    Returns:
        The image (c, z, y, x), float32; the segmentation (1, z, y, x) with -1 outside the nonzero region
        (int8, or int16 where a label exceeds 127; None if there was none); and nnU-Net's properties: the
        reader's, shapes and box of the crop, and with a segmentation where the classes lie.

    Raises:
        DataError: if image and segmentation differ in shape, or values do not fit.
        PlanError: if the plan asks for what only nnU-Net's own preprocessor can do.
    """
    check_plan(plan, configuration)
    cropped = crop_case(images, segmentation, plan)
    properties = {**images.properties, **cropped.properties}
    if segmentation is None:
        return fit_image(cropped, plan, configuration), None, properties
    data, labels = fit_case(cropped, plan, configuration)
    wanted = classes_to_locate(labels_from_json(dataset_json))
    return data, labels, {**properties, "class_locations": class_locations(labels, wanted)}


def check_plan(plan: Plan, configuration: Configuration) -> None:
    """Refuse what nnU-Net's other preprocessors and resamplers would do, rather than do something else."""
    if configuration.preprocessor != "DefaultPreprocessor":
        raise PlanError(
            f"{configuration.name} names the preprocessor {configuration.preprocessor}; only "
            f"DefaultPreprocessor is built in. Preprocess with nnUNetv2_preprocess instead."
        )
    for kind, orders in (("data", (0, 1, 3)), ("seg", (1,))):
        function = configuration.resampling[f"resampling_fn_{kind}"]
        rules = configuration.resampling[f"resampling_fn_{kind}_kwargs"]
        if (
            function != _RESAMPLER
            or rules.get("order", 3) not in orders
            or rules.get("order_z", 0) != 0
            or bool(rules.get("is_seg", False)) != (kind == "seg")
        ):
            raise PlanError(
                f"{configuration.name} resamples ({kind}) with {function} {dict(rules)}; built in is "
                f"{_RESAMPLER} with order {' or '.join(map(str, orders))} and order_z 0. Preprocess with "
                f"nnUNetv2_preprocess instead."
            )


def recipe_of(labels: Labels, plan: Plan, configuration: Configuration) -> str:
    """A hash of all that changes the preprocessed arrays, and of nothing else."""
    intensities = [
        depends_on_intensities(scheme, plan.intensities.get(str(channel), {}))
        for channel, scheme in enumerate(configuration.normalization)
    ]
    resampling = {key: value for key, value in configuration.resampling.items() if "probabilities" not in key}
    return digest(
        [
            _VERSION,
            plan.transpose,
            configuration.spacing,
            configuration.normalization,
            configuration.use_mask_for_norm,
            intensities,
            resampling,
            [repr(each) for each in classes_to_locate(labels)],
            plan.image_reader_writer,
        ]
    )
