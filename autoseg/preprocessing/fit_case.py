"""The two steps of preprocessing that prediction takes as well: crop a case, then fit it to a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.geometry import crop_to_nonzero
from autoseg.data.readers import Image
from autoseg.errors import DataError
from autoseg.planner.configuration import Configuration
from autoseg.preprocessing.axes import PlannedAxes
from autoseg.preprocessing.normalization import normalize
from autoseg.preprocessing.resample import resample_channel, resampled_shape, separate_axis
from autoseg.preprocessing.resample_labels import resample_labels

Array = NDArray[Any]


@dataclass(frozen=True)
class CroppedCase:
    """A case between the crop, which all configurations share, and what differs between them.

    Attributes:
        array: (c, z, y, x), as read, inside the box.
        labels: (1, z, y, x), -1 outside the nonzero region.
        spacing: mm, in the order of the axes.
        properties: nnU-Net's, about the crop.
    """

    array: Array
    labels: Array
    spacing: tuple[float, ...]
    properties: dict[str, Any]


def crop_case(images: Image, segmentation: Image | None, plan: PlannedAxes) -> CroppedCase:
    """Transpose a case as the plan says and crop it to its nonzero region; arrays are views where possible.

    Raises:
        DataError: if image and segmentation differ in shape.
    """
    array = images.array
    if segmentation is not None and segmentation.array.shape[1:] != array.shape[1:]:
        raise DataError(
            f"The images have the shape {array.shape[1:]}, the segmentation {segmentation.array.shape[1:]}. "
            f"Correct one of them; verify lists all such cases."
        )
    axes = (0, *(axis + 1 for axis in plan.transpose))
    array = array.transpose(axes)
    labels = None if segmentation is None else segmentation.array.transpose(axes)
    cropped, labels, box = crop_to_nonzero(array, labels)
    properties = {
        "shape_before_cropping": array.shape[1:],
        "bbox_used_for_cropping": box,
        "shape_after_cropping_and_before_resampling": cropped.shape[1:],
    }
    spacing = tuple(images.properties["spacing"][axis] for axis in plan.transpose)
    return CroppedCase(cropped, labels, spacing, properties)


def fit_case(
    cropped: CroppedCase, plan: PlannedAxes, configuration: Configuration
) -> tuple[NDArray[np.float32], Array]:
    """The image (c, z, y, x) and its segmentation (1, z, y, x), on the configuration's grid.

    Raises:
        DataError: as `fit_image`.
        PlanError: as `fit_image`.
    """
    data = fit_image(cropped, plan, configuration)
    rule = configuration.resampling["resampling_fn_seg_kwargs"]
    axis = separate_axis(cropped.spacing, _target(cropped, configuration), rule.get("force_separate_z"))
    return data, resample_labels(cropped.labels[0], data.shape[1:], axis)[None]


def fit_image(cropped: CroppedCase, plan: PlannedAxes, configuration: Configuration) -> NDArray[np.float32]:
    """Normalise, then resample: a resampled nonzero region would no longer be that of the image.

    Returns:
        The image (c, z, y, x), on the configuration's grid.

    Raises:
        DataError: if the case has other channels than the plan, or vanishes on the grid.
        PlanError: for an unknown normalisation.
    """
    if len(cropped.array) != len(configuration.normalization):
        raise DataError(
            f"Found {len(cropped.array)} channels; the plan is for {len(configuration.normalization)}. "
            f"Correct the files of this case, or plan again."
        )
    shape = cropped.array.shape[1:]
    target = _target(cropped, configuration)
    new_shape = resampled_shape(shape, cropped.spacing, target)
    if 0 in new_shape:
        raise DataError(
            f"At {target} mm the case would have {new_shape} voxels (now {shape} at {cropped.spacing} mm). "
            f"Check the spacing in its header."
        )
    rule = configuration.resampling["resampling_fn_data_kwargs"]
    axis = separate_axis(cropped.spacing, target, rule.get("force_separate_z"))
    order = rule.get("order", 3)
    inside = cropped.labels[0] >= 0 if any(configuration.use_mask_for_norm) else None
    data = np.empty((len(cropped.array), *new_shape), dtype=np.float32)
    # Where nothing is resampled, channels are normalised in their final place; else in one shared buffer.
    buffer = data if new_shape == shape else np.empty((1, *shape), dtype=np.float32)
    for index, source in enumerate(cropped.array):
        channel = buffer[index % len(buffer)]
        channel[...] = source
        masked = inside if configuration.use_mask_for_norm[index] else None
        normalize(configuration.normalization[index], channel, masked, plan.intensities.get(str(index), {}))
        if buffer is not data:
            resample_channel(channel, new_shape, order, axis, out=data[index])
    return data


def fit_second_stage(
    images: Image, first: Array, values: Sequence[int], plan: PlannedAxes, configuration: Configuration
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """A raw case as the second stage of a cascade takes it.

    Args:
        images: the channels.
        first: the first stage's segmentation (z, y, x), on the grid of the images.
        values: of the labels, without the background.
        plan: the plan.
        configuration: the second stage's.

    Returns:
        The image (c + values, z, y, x) on the configuration's grid, see `with_stage`; nnU-Net's properties.

    Raises:
        DataError: as `fit_image`.
        PlanError: as `fit_image`.
    """
    cropped = crop_case(images, Image(first[None], images.spacing, images.properties), plan)
    data, labels = fit_case(cropped, plan, configuration)
    return with_stage(data, labels[0], values), {**images.properties, **cropped.properties}


def with_stage(data: NDArray[np.float32], labels: Array, values: Sequence[int]) -> NDArray[np.float32]:
    """An image (c, z, y, x) and, for each value of a segmentation (z, y, x), a channel of 1 and 0."""
    whole = np.empty((len(data) + len(values), *data.shape[1:]), dtype=np.float32)
    whole[: len(data)] = data
    for channel, value in zip(whole[len(data) :], values, strict=True):
        channel[...] = labels == value
    return whole


def _target(cropped: CroppedCase, configuration: Configuration) -> tuple[float, ...]:
    """The spacing to resample to; slices of a 2D configuration stay as far apart as they are."""
    before = len(cropped.spacing) - len(configuration.spacing)
    return (*cropped.spacing[:before], *configuration.spacing)
