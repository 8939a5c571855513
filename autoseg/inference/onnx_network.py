"""A trained network as an ONNX file: fixed patch, any batch, checked against torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoseg.bundle.segment import load_network
from autoseg.errors import MissingDependency, RunError
from autoseg.inference.flat_convolutions import flatten_convolutions

# Largest difference between both programs' logits, as a part of the logits' spread.
TOLERANCE = 1e-3


class _LargestOutput(nn.Module):
    """Of a network with several outputs, the first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (b, heads, *patch)."""
        output = self.network(image)
        logits: torch.Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return logits


def write_network(
    network: nn.Module, channels: int, patch_size: Sequence[int], path: Path, flat: bool = True
) -> float:
    """Write a network as one ONNX file, and compare both on random images.

    Args:
        network: the network, on the CPU and in evaluation mode.
        channels: number of channels of the image.
        patch_size: voxels; fixed in the file.
        path: the file to write.
        flat: whether convolutions in 3D may be written as ones in 2D, see `flat_convolutions`.

    Returns:
        The largest difference of the logits, as a part of their spread.

    Raises:
        MissingDependency: without the packages of ``autoseg-medical[onnx]``.
        RunError: if the network cannot be written as ONNX, or gives something else there.
    """
    check_packages()
    wrapped = _LargestOutput(network).eval()
    # Two images: an exporter takes a batch of one for a constant.
    example = torch.randn(2, channels, *patch_size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), _Quiet():
            torch.onnx.export(
                wrapped,
                (example,),
                path,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        if flat and len(patch_size) == 3:
            flatten_convolutions(path)
    except Exception as problem:  # of many libraries; whatever it is, there is no file
        said = " ".join(str(problem).split())[:300]
        raise RunError(
            f"{type(network).__name__} cannot be written as ONNX ({type(problem).__name__}: {said})."
        ) from problem
    return _compare(wrapped, path, example)


def check_packages() -> None:
    """Make sure that the packages of ``autoseg-medical[onnx]`` are there.

    Raises:
        MissingDependency: naming the first one that is not.
    """
    from importlib.util import find_spec

    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingDependency(package, "onnx", "An export to ONNX")


def _compare(network: nn.Module, path: Path, example: torch.Tensor) -> float:
    """The largest difference on batches of one and of two, as a part of the spread."""
    file = load_network(path.read_bytes(), path.name)
    worst = 0.0
    for batch in (example, example[:1]):
        with torch.no_grad():
            expected = network(batch).numpy()
        found = file(batch.numpy())
        spread = float(expected.std()) or 1.0
        worst = max(worst, float(np.abs(found - expected).max()) / spread)
    if not worst <= TOLERANCE:  # also where it is not a number
        raise RunError(
            f"In ONNX the network {type(network.network).__name__} gives logits that differ by {worst:.2g} "
            f"of their spread; at most {TOLERANCE:g} is accepted. Update torch, onnx and onnxruntime."
        )
    return worst


class _Quiet:
    """Keeps the exporter's remarks about its own parts from the console."""

    _LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")

    def __enter__(self) -> None:
        self._levels = {name: logging.getLogger(name).level for name in self._LOGGERS}
        for name in self._LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)

    def __exit__(self, *problem: Any) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
