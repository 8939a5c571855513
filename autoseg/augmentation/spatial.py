"""Rotation, scaling, shear and shift of an image and its segmentation, in one resampling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import sample_scalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.cropping import center_crop
from torch import Tensor

from autoseg.augmentation.sampling import Matrix, locate, sample_labels, sample_linear

Range = float | tuple[float, float]


class AffineTransform(BasicTransform):  # type: ignore[misc]
    """Rotate, scale, shear and shift about the centre of the input, and cut out a patch.

    Without shear and shift the random numbers are drawn in the order of batchgeneratorsv2's SpatialTransform
    (one scaling factor for all axes, no elastic deformation), so that one seed gives the same patch.

    Args:
        patch_size: shape of the output in voxels, 2 or 3 axes.
        rotation: angle in radians; in 3D one draw per axis.
        p_rotation: probability of a rotation.
        scaling: factor on the distances between the points read; above 1 things look smaller.
        p_scaling: probability of a scaling, the same along all axes.
        translation: shift along each axis, as a fraction of the patch.
        p_translation: probability of a shift.
        same_translation: shift by the same fraction along all axes.
        shear: shear angle in radians in the plane of the last two axes.
        p_shear: probability of a shear.
        outside: label of what lies outside the input; images are 0 there.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        *,
        rotation: Range = 0.0,
        p_rotation: float = 0.0,
        scaling: Range = 1.0,
        p_scaling: float = 0.0,
        translation: Range = 0.0,
        p_translation: float = 0.0,
        same_translation: bool = False,
        shear: Range = 0.0,
        p_shear: float = 0.0,
        outside: int = -1,
    ) -> None:
        super().__init__()
        self.patch_size = tuple(int(size) for size in patch_size)
        self.rotation, self.p_rotation = rotation, p_rotation
        self.scaling, self.p_scaling = scaling, p_scaling
        self.translation, self.p_translation = translation, p_translation
        self.same_translation = same_translation
        self.shear, self.p_shear = shear, p_shear
        self.outside = outside

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw a map. `sampling` is None where there is none and the patch is only cut out."""
        drawn = self.draw_map()
        if drawn is None:
            return {"sampling": None, "matrix": None, "shift": None}
        sampling = locate(*drawn, data_dict["image"].shape[1:], self.patch_size)
        return {"sampling": sampling, "matrix": drawn[0], "shift": drawn[1]}

    def draw_map(self) -> tuple[Matrix, Matrix] | None:
        """Draw a matrix and a shift in voxels, see `locate`; None: the patch is only cut out."""
        matrix, shift = self._draw(len(self.patch_size))
        if matrix is None and shift is None:
            return None
        dimensions = len(self.patch_size)
        return (
            np.eye(dimensions) if matrix is None else matrix,
            np.zeros(dimensions) if shift is None else shift,
        )

    def _draw(self, dimensions: int) -> tuple[Matrix | None, Matrix | None]:
        rotates = np.random.uniform() < self.p_rotation
        scales = np.random.uniform() < self.p_scaling
        np.random.uniform()  # SpatialTransform draws here whether to deform
        parts = []
        if rotates:
            parts.append(rotation_matrix([sample_scalar(self.rotation) for _ in range(dimensions)]))
        if scales:
            np.random.uniform()  # and here whether all axes get one factor
            parts.append(np.eye(dimensions) * sample_scalar(self.scaling))
        if self.p_shear > 0 and np.random.uniform() < self.p_shear:
            parts.append(shear_matrix(sample_scalar(self.shear), dimensions))
        matrix = np.linalg.multi_dot([np.eye(dimensions), *parts]) if parts else None
        if not self.p_translation > 0 or np.random.uniform() >= self.p_translation:
            return matrix, None
        draws = [sample_scalar(self.translation) for _ in range(1 if self.same_translation else dimensions)]
        return matrix, np.resize(draws, dimensions) * self.patch_size

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        if params["sampling"] is not None:
            return sample_linear(img, params["sampling"])
        return _cut(img, self.patch_size, 0)

    def _apply_to_regr_target(self, regression_target: Tensor, **params: Any) -> Tensor:
        return self._apply_to_image(regression_target, **params)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        if params["sampling"] is not None:
            return sample_labels(segmentation, params["sampling"], self.outside)
        return _cut(segmentation, self.patch_size, self.outside)


class SliceCropTransform(BasicTransform):  # type: ignore[misc]
    """Cut the first axis to a length about its centre: what a transform within slices leaves to do.

    Args:
        length: the crop's length in voxels; a shorter input stays as it is.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        start = max(0, img.shape[1] - self.length) // 2
        return img[:, start : start + self.length]

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return self._apply_to_image(segmentation)

    def _apply_to_regr_target(self, regression_target: Tensor, **params: Any) -> Tensor:
        return self._apply_to_image(regression_target)


class FlipTransform(MirrorTransform):  # type: ignore[misc]
    """Mirror with a probability of its own per axis.

    Args:
        probabilities: by axis.
    """

    def __init__(self, probabilities: Mapping[int, float]) -> None:
        super().__init__(tuple(probabilities))
        self.probabilities = dict(probabilities)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the axes to mirror."""
        return {"axes": [axis for axis, p in self.probabilities.items() if float(torch.rand(1)) < p]}


def _cut(array: Tensor, patch_size: Sequence[int], outside: int) -> Tensor:
    patch: Tensor = center_crop(array, patch_size, pad_kwargs={"value": outside})
    # A view would make every later transform stride through the larger input.
    return patch.contiguous()


def rotation_matrix(angles: Sequence[float]) -> Matrix:
    """A rotation in 3D about the first, then the second, then the third axis; in 2D by the last angle.

    Args:
        angles: in radians, one per axis.
    """
    dimensions = len(angles)
    planes = {2: {(0, 1): angles[-1]}, 3: dict(zip([(1, 2), (2, 0), (0, 1)], angles, strict=False))}
    matrix = np.eye(dimensions)
    for (i, j), angle in planes[dimensions].items():
        turn = np.eye(dimensions)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = turn @ matrix
    return matrix


def shear_matrix(angle: float, dimensions: int) -> Matrix:
    """A shear in the plane of the last two axes: (y, x) -> (y - x sin a, x cos a).

    Args:
        angle: a, in radians.
    """
    matrix = np.eye(dimensions)
    matrix[-2, -1], matrix[-1, -1] = -math.sin(angle), math.cos(angle)
    return matrix
