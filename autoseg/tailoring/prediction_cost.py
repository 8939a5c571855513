"""What predicting the held-out cases takes of a run's time: it belongs to the choice of patch and spacing.

A small patch makes quick steps and many windows: one of 64x56 for images of 256x224 makes 490 a case of ten
slices. What they take is missing in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.bundle.tiles import tile_starts
from autoseg.data.fingerprint import Fingerprint
from autoseg.inference.sliding_window import VOXELS_AT_ONCE
from autoseg.planner.plan import Configuration, Plan
from autoseg.tailoring.step_time import StepTime
from autoseg.training.prediction_time import SECONDS_PER_CASE, WINDOWS_OVERHEAD
from autoseg.training.training_run import LARGEST_MIRRORING_FRACTION

# nnU-Net's: each of five folds holds out a fifth of the cases.
FOLDS = 5
STEP_SIZE = 0.5


@dataclass(frozen=True)
class PredictionCost:
    """What a fold's prediction takes with a configuration.

    Attributes:
        windows: number of windows of all held-out cases, one copy each.
        cases: that are held out.
        seconds: time for all of them, with mirrored copies where they fit.
        copies: number of copies of each window that go through the network.
    """

    windows: float
    cases: int
    seconds: float
    copies: int


def windows_per_case(configuration: Configuration, plan: Plan, fingerprint: Fingerprint) -> float:
    """Windows of a case in the mean, on the configuration's grid."""
    counts = [
        _windows(_on_grid(shape, spacing, configuration, plan.transpose), configuration.patch_size)
        for shape, spacing in zip(fingerprint.shapes_after_crop, fingerprint.spacings, strict=True)
    ]
    return sum(counts) / max(len(counts), 1)


def _on_grid(
    shape: Sequence[int], spacing: Sequence[float], configuration: Configuration, transpose: Sequence[int]
) -> list[float]:
    """Voxels of a case along each axis of the plan; slices are not resampled."""
    turned = [float(shape[axis]) for axis in transpose]
    steps = [float(spacing[axis]) for axis in transpose]
    axes = len(configuration.spacing)
    for axis in range(3 - axes, 3):
        turned[axis] *= steps[axis] / configuration.spacing[axis - (3 - axes)]
    return turned


def _windows(shape: Sequence[float], patch: Sequence[int]) -> int:
    slices = round(shape[0]) if len(patch) == 2 else 1
    spatial = [max(round(n), p) for n, p in zip(shape[-len(patch) :], patch, strict=True)]
    return slices * math.prod(len(starts) for starts in tile_starts(spatial, patch, STEP_SIZE))


def prediction_cost(
    windows: float, cases: int, patch: Sequence[int], forward: StepTime, device: str, run_s: float
) -> PredictionCost:
    """What predicting takes, mirrored as a run would do it.

    Args:
        windows: number of windows of one case.
        cases: number of cases of the whole data set.
        patch: voxels along each axis.
        forward: seconds of a forward pass by voxels.
        device: ``cpu``, ``cuda`` or ``mps``.
        run_s: seconds of the run, of which mirrored copies may take a part.
    """
    held_out = math.ceil(cases / FOLDS)
    voxels = math.prod(patch)
    most = VOXELS_AT_ONCE.get(device, VOXELS_AT_ONCE["cpu"]) // voxels
    together = max(1, min(most, math.ceil(windows)))
    plain = WINDOWS_OVERHEAD * forward.seconds(together * voxels) / together * windows * held_out
    copies = 2 ** len(patch)
    copies = copies if copies * plain <= LARGEST_MIRRORING_FRACTION * run_s else 1
    return PredictionCost(windows * held_out, held_out, copies * plain + SECONDS_PER_CASE * held_out, copies)
