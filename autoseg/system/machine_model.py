"""What a machine can do, in numbers that a plan is made from; measured elsewhere, read here.

Seconds are those that a computing thread really had (`time.thread_time`), so that other programs beside a
measurement do not make a machine slow. What they take is a number of its own: the share of the machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.errors import AutosegError, UsageError
from autoseg.system.files import read_json

# Names the file of a machine model that is to be taken in place of a measured one.
VARIABLE = "AUTOSEG_MACHINE"
LAYERS = ("3d", "2d", "depthwise", "1x1")
# Ratios of made to predicted seconds that are retained of each kind of training, the latest last.
KEPT_RATIOS = 5
# A ratio beyond this says that something else went wrong, such as a machine that slept.
LARGEST_RATIO = 4.0


@dataclass(frozen=True)
class MachineModel:
    """The speed of one device with one version of torch.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        name: what the device calls itself.
        threads: computing threads of a process; of a GPU 1.
        gain: how many times as fast all of them are as one. All speeds below are those of one thread.
        torch: version of torch.
        precision: what trainings compute in on it: ``float32``, ``bfloat16`` or ``float16``.
        layout: memory format of its trainings: ``channels_last`` or ``contiguous``.
        training: multiply-accumulates per second of a training step, by precision, layout and kind of layer.
        forward: the same of a forward pass without gradients.
        bytes_per_second: memory bandwidth, read and written.
        seconds_per_weight: what the optimiser takes in a step for each weight.
        seconds_per_layer: what a layer takes in a step, however small it is.
        ratios: made over predicted seconds of a step, of the latest trainings of each kind.
    """

    device: str
    name: str
    threads: int
    gain: float
    torch: str
    precision: str
    layout: str
    training: Mapping[str, Mapping[str, Mapping[str, float]]]
    forward: Mapping[str, float]
    bytes_per_second: float
    seconds_per_weight: float
    seconds_per_layer: float
    ratios: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def speed(self, layer: str) -> float:
        """Multiply-accumulates per second of a training step, of all threads, as trainings compute.

        Args:
            layer: one of `LAYERS`.
        """
        return self.gain * self.training[self.precision][self.layout][layer]

    def correction(self, kind: str) -> float:
        """What predicted seconds of a kind of training are to be multiplied by; 1 before the first.

        It is the median of the latest ratios.
        """
        found = sorted(self.ratios.get(kind, ()))
        if not found:
            return 1.0
        middle = len(found) // 2
        return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2

    def having_seen(self, kind: str, predicted_s: float, made_s: float) -> MachineModel:
        """The model after a training of a kind, with seconds of a step as predicted without correction."""
        ratio = min(max(made_s / predicted_s, 1 / LARGEST_RATIO), LARGEST_RATIO)
        kept = (*self.ratios.get(kind, ()), round(ratio, 4))[-KEPT_RATIOS:]
        return dataclasses.replace(self, ratios={**self.ratios, kind: kept})

    def to_json(self) -> dict[str, Any]:
        """As it stands in a file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MachineModel:
        """Read a model.

        Raises:
            UsageError: for a document that is none.
        """
        try:
            found = cls(**{**document, "ratios": {k: tuple(v) for k, v in document["ratios"].items()}})
            numbers = [found.speed(layer) for layer in LAYERS] + [found.forward[layer] for layer in LAYERS]
            numbers += [found.bytes_per_second, found.seconds_per_weight, found.seconds_per_layer]
            if not all(float(number) > 0 for number in numbers):
                raise ValueError("a speed is not above 0")
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise UsageError(
                f"This is no machine model ({problem}). `autoseg list machine --json` writes one."
            ) from None
        return found

    @classmethod
    def load(cls, path: Path) -> MachineModel:
        """Read a model from a file, as `autoseg list machine --json` writes it.

        Raises:
            UsageError: if the file is not there or holds none.
        """
        try:
            document = read_json(path)
        except AutosegError as problem:
            raise UsageError(
                f"{VARIABLE} names {path}, which cannot be read ({problem}). "
                f"Write one with `autoseg list machine --json`, or leave {VARIABLE} out."
            ) from None
        if isinstance(document, dict) and "machine" in document:
            document = document["machine"]
        if not isinstance(document, dict):
            document = {}
        return cls.from_json(document)
