"""Peak memory of a training, before it starts: what is held, what a step allocates, what comes on top.

On a CPU it is the peak resident set of the process, on a GPU the memory of the device:

    CPU  base + cases held + loader + 2 weights + optimiser + step + 0.5 largest block + 0.4 small blocks
    GPU  base                       +   weights + optimiser + overhead x step

The step (kept activations, gradients, short-lived results) is counted exactly by `trace`. Beyond that, a
CPU's libraries copy operands while they work on them, and the heap has gaps between small blocks; what a
GPU's allocator adds is the overhead. It and the base are measured once for a device and its software, see
`autoseg.tailoring.memory.calibration`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

GB = 1e9
# Voxels of a held case: float32 for each channel and int16 for the segmentation.
CHANNEL_BYTES, SEGMENTATION_BYTES = 4, 2
# A case that is held was unpacked from a mapped file, whose pages stay with the process, and brings at most
# this many coordinates of each label's voxels (nnU-Net samples 10,000, four numbers of 8 bytes each).
MAPPED = 0.6
LABEL_SAMPLES, SAMPLE_BYTES = 10_000, 32
# Modules that only loading brings in, and what they set up.
LOADER_BASE = 0.06e9
# What a CPU's library keeps of the weights: in reduced precision, and rearranged for its kernels.
WEIGHT_COPIES = 1.0
# While an operation of a CPU's library runs, it holds rearranged copies of what it works on: a share of the
# largest block of the step. Of small blocks, the share that is lost in gaps of the heap. Set on 110 trainings
# for 4 to 16 GB on an Intel Xeon with AMX; benchmarks/results/memory.md tells how they do elsewhere.
LIBRARY_COPIES, HEAP_GAPS = 0.5, 0.4
# On a CPU the calibration's U-Net was among the networks with most overhead; assumed of a GPU as well.
TYPICAL_SHARE = 0.75
# A loader holds the larger patches that it cuts out, the transformed ones, and what transforms need
# meanwhile: a sampling grid of one float32 per axis, and a few copies of a channel.
LOADER_COPIES = 3
# Voxels that are cut out for each of a patch, so that rotation and scaling find something everywhere.
CUT_PER_VOXEL = {2: 2.0, 3: 2.0}


class StepMemory(Protocol):
    """What is known of a training step, bytes; see `autoseg.tailoring.memory.trace.Traced`."""

    @property
    def parameters(self) -> int:
        """Weights and buffers."""

    @property
    def gradients(self) -> int:
        """Of all weights."""

    @property
    def step_bytes(self) -> int:
        """Peak of a step beside weights and optimiser."""

    @property
    def heap_bytes(self) -> int:
        """Of the peak, what is in small blocks."""

    @property
    def largest_bytes(self) -> int:
        """Of the peak, the largest block."""


def step_on_cpu(step: StepMemory) -> float:
    """Bytes that a step takes on a CPU, with its library's copies and the gaps of the heap."""
    counted = max(step.step_bytes, step.gradients)
    return counted + LIBRARY_COPIES * step.largest_bytes + HEAP_GAPS * step.heap_bytes


@dataclass(frozen=True)
class MemoryCalibration:
    """What was measured of a device and its software.

    Attributes:
        key: device and versions that it holds for.
        base: bytes of the process (CPU) or context (GPU) before there is any data.
        overhead: bytes that a step of its network takes on a GPU for each byte that is counted; 1 on a CPU.
        measured: whether this was measured, or is the built-in guess.
    """

    key: str
    base: float
    overhead: float
    measured: bool

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> MemoryCalibration:
        """Read what `to_json` gave."""
        return cls(**entry)


@dataclass(frozen=True)
class Footprint:
    """Peak memory of a training, by what takes it, bytes."""

    base: float
    cases: float
    loader: float
    weights: float
    optimiser: float
    step: float

    @property
    def total(self) -> float:
        """The peak."""
        return self.base + self.cases + self.loader + self.weights + self.optimiser + self.step

    @property
    def fixed(self) -> float:
        """What does not depend on patch and batch."""
        return self.base + self.cases + self.weights + self.optimiser

    def to_json(self) -> dict[str, float]:
        """In GB, rounded."""
        return {name: round(value / GB, 3) for name, value in {**asdict(self), "total": self.total}.items()}


@dataclass(frozen=True)
class Loading:
    """What feeds a training on a CPU.

    Attributes:
        case_voxels: voxels of each preprocessed case.
        channels: number of channels of an image.
        labels: number of foreground labels.
        patch: what the network gets, voxels.
        hold_below: bytes up to which cases stay in memory (as float32 and a byte for each voxel's label
            and index, in the trainer's own count).
    """

    case_voxels: Sequence[float]
    channels: int
    labels: int
    patch: Sequence[int]
    hold_below: float

    @property
    def held(self) -> float:
        """Bytes of all cases, if they are held, and of where their labels lie in any case."""
        voxels = sum(self.case_voxels)
        # A tenth of a case is labelled, about, so that small ones have fewer samples.
        samples = sum(min(LABEL_SAMPLES, n / 10) for n in self.case_voxels) * self.labels
        held = voxels * (self.channels * CHANNEL_BYTES + SEGMENTATION_BYTES) * (1 + MAPPED)
        return samples * SAMPLE_BYTES + (held if voxels * self.channels * 6 < self.hold_below else 0.0)

    def loader(self, batch_size: int) -> float:
        """Bytes of a batch on its way, before it is a tensor of the step."""
        voxel = self.channels * CHANNEL_BYTES + SEGMENTATION_BYTES
        given = math.prod(self.patch)
        cut = given * CUT_PER_VOXEL[len(self.patch)]
        transforming = (len(self.patch) + LOADER_COPIES) * CHANNEL_BYTES * given
        return LOADER_BASE + batch_size * (cut + given) * voxel + transforming


def footprint(
    step: StepMemory,
    moments: int,
    calibration: MemoryCalibration,
    loading: Loading | None = None,
    batch_size: int = 1,
) -> Footprint:
    """The peak of a training.

    Args:
        step: counted for its patch and batch.
        moments: values that the optimiser keeps for each weight.
        calibration: the device's calibration.
        loading: what feeds it; None on a GPU, where the data lie elsewhere.
        batch_size: samples of a step.
    """
    typical = 1 + TYPICAL_SHARE * (calibration.overhead - 1)
    return Footprint(
        base=calibration.base,
        cases=loading.held if loading else 0.0,
        loader=loading.loader(batch_size) if loading else 0.0,
        weights=step.parameters * (1 + WEIGHT_COPIES if loading else 1.0),
        optimiser=float(moments * step.gradients),
        step=step_on_cpu(step) if loading else typical * max(step.step_bytes, step.gradients),
    )
