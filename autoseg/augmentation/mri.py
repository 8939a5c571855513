"""Artefacts of magnetic resonance imaging: motion, ghosting and bias field.

The artefacts follow TorchIO's (Perez-Garcia et al., 2021; motion after Shaw et al., MIDL 2019) with its
default strengths, computed here so that no further package is needed. Both k-space artefacts act along one
axis only, and so does their Fourier transform: those along the other axes cancel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from torch import Tensor

from autoseg.augmentation.sampling import Matrix, locate, sample_linear
from autoseg.augmentation.spatial import rotation_matrix

# A rotation and a shift in voxels, as `locate` takes them.
Pose = tuple[Matrix, Matrix]


class MotionTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Rigid movements between the parts of an acquisition.

    k-space is filled along the last axis from copies of the image that are rotated and shifted; the
    unmoved image fills the centre.

    Args:
        degrees: largest rotation about each axis.
        translation: largest shift along each axis, mm.
        movements: how many times the head moves.
        spacing: mm per axis; None for 1 mm.
    """

    def __init__(
        self,
        degrees: float = 10.0,
        translation: float = 10.0,
        movements: int = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.degrees, self.translation, self.movements = degrees, translation, movements
        self.spacing = None if spacing is None else np.array(spacing, dtype=np.float64)

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the poses and the parts of the acquisition (0 to 1) at which they change."""
        dimensions = data_dict["image"].ndim - 1
        poses = [self._pose(dimensions) for _ in range(self.movements)]
        step = 1 / (self.movements + 1)
        times = [(n + 1 + np.random.uniform(-0.3, 0.3)) * step for n in range(self.movements)]
        return {"poses": poses, "times": times}

    def _pose(self, dimensions: int) -> Pose:
        limit = math.radians(self.degrees)
        rotation = rotation_matrix(np.random.uniform(-limit, limit, dimensions).tolist())
        shift = np.random.uniform(-self.translation, self.translation, dimensions)
        return rotation, shift if self.spacing is None else shift / self.spacing[-dimensions:]

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        parts = acquired_parts(params["poses"], params["times"], img.shape[-1])
        return torch.stack(
            [filter_axis(img if pose is None else _moved(img, *pose), lines, -1) for pose, lines in parts]
        ).sum(0)


def acquired_parts(
    poses: Sequence[Pose], times: Sequence[float], length: int
) -> list[tuple[Pose | None, Tensor]]:
    """The poses of an acquisition, each with the k-space lines that it fills.

    Args:
        poses: of the moved image.
        times: when the pose changes, 0 to 1; as many.
        length: number of lines.

    Returns:
        Poses (None: unmoved, which fills the centre) and lines, 1 where they are filled from it, else 0.
    """
    edges = [0, *(int(length * time) for time in times), length]
    spans = list(itertools.pairwise(edges))
    centre = next(part for part, (_, stop) in enumerate(spans) if stop > length / 2)
    sources = [*poses[:centre], None, *poses[centre:]]
    return [(pose, line_weights(length, *span)) for pose, span in zip(sources, spans, strict=True)]


def _moved(image: Tensor, matrix: Matrix, shift: Matrix) -> Tensor:
    """The image under a rigid map, its darkest value outside."""
    darkest = image.amin(dim=tuple(range(1, image.ndim)), keepdim=True)
    sampling = locate(matrix, shift, image.shape[1:], image.shape[1:])
    return sample_linear(image - darkest, sampling) + darkest


class GhostingTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Weaken every n-th line of k-space along one axis, except the central one.

    Args:
        ghosts: range of n, inclusive.
        intensity: range of the weakening; 1 removes the lines.
    """

    def __init__(
        self, ghosts: tuple[int, int] = (4, 10), intensity: tuple[float, float] = (0.5, 1.0)
    ) -> None:
        super().__init__()
        self.ghosts, self.intensity = ghosts, intensity

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw the number of ghosts, the axis and the intensity."""
        return {
            "ghosts": np.random.randint(self.ghosts[0], self.ghosts[1] + 1),
            "axis": 1 + np.random.randint(data_dict["image"].ndim - 1),
            "intensity": np.random.uniform(*self.intensity),
        }

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        length = img.shape[params["axis"]]
        return filter_axis(img, ghost_weights(length, params["ghosts"], params["intensity"]), params["axis"])


def ghost_weights(length: int, ghosts: int, intensity: float) -> Tensor:
    """One weight for each k-space line: every n-th is weakened, except the central one."""
    weights = torch.ones(length)
    weights[::ghosts] = 1 - intensity
    weights[length // 2] = 1
    return weights


def line_weights(length: int, start: int, stop: int) -> Tensor:
    """1 for the k-space lines [start, stop), 0 elsewhere."""
    weights = torch.zeros(length)
    weights[start:stop] = 1
    return weights


def filter_axis(image: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Weight the k-space lines along one axis; the real part of the result.

    Args:
        image: real.
        weights: one per line, zero frequency at index length // 2.
        axis: the image's axis to filter along.
    """
    length = image.shape[axis]
    shape = [1] * image.ndim
    shape[axis] = length // 2 + 1
    spectrum = torch.fft.rfft(image, dim=axis) * half_weights(weights).reshape(shape)
    filtered: Tensor = torch.fft.irfft(spectrum, n=length, dim=axis)
    return filtered


def half_weights(weights: Tensor) -> Tensor:
    """Weights of k-space lines as those of the half spectrum of a real image.

    Args:
        weights: one per line, zero frequency at index length // 2.

    Returns:
        (length // 2 + 1,), zero frequency first.
    """
    ordered = torch.fft.ifftshift(weights)
    # The real part sees a line and its mirror image alike, so half of the spectrum is enough.
    both = (ordered + ordered.flip(0).roll(1)) / 2
    half: Tensor = both[: len(weights) // 2 + 1]
    return half


class BiasFieldTransform(ImageOnlyTransform):  # type: ignore[misc]
    """Multiply by a smooth positive field: the exponential of a random polynomial.

    The field acts on the distance from the darkest value, because normalised images have negative ones.

    Args:
        strength: largest coefficient.
        order: degree of the polynomial, in coordinates from -1 to 1.
    """

    def __init__(self, strength: float = 0.5, order: int = 3) -> None:
        super().__init__()
        self.strength, self.order = strength, order

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """Draw one coefficient per monomial, by its exponents."""
        exponents = itertools.product(range(self.order + 1), repeat=data_dict["image"].ndim - 1)
        kept = [powers for powers in exponents if sum(powers) <= self.order]
        return {"coefficients": {p: np.random.uniform(-self.strength, self.strength) for p in kept}}

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        field = polynomial(params["coefficients"], img.shape[1:]).exp_()
        darkest = img.amin(dim=tuple(range(1, img.ndim)), keepdim=True)
        return img.sub_(darkest).mul_(field).add_(darkest)


def polynomial(coefficients: dict[tuple[int, ...], float], shape: Sequence[int]) -> Tensor:
    """The polynomial with the given coefficients (by exponents) on a grid from -1 to 1 along each axis."""
    order = max(max(powers) for powers in coefficients)
    result = torch.zeros((order + 1,) * len(shape))
    for powers, coefficient in coefficients.items():
        result[powers] = coefficient
    for axis, length in enumerate(shape):
        grid = torch.linspace(-1, 1, length)
        basis = torch.stack([grid**power for power in range(order + 1)], dim=1)
        result = torch.tensordot(basis, result, dims=([1], [axis])).movedim(0, axis)
    return result.contiguous()
