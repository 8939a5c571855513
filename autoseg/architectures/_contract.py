"""What an architecture has to keep, tried out: shapes, deep supervision, parts, and its address in a plan.

Everything runs on torch's meta device, where tensors have shapes and no numbers: no memory, a moment each.
"""

from __future__ import annotations

import pydoc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from autoseg.architectures._build import build_network, class_path
from autoseg.architectures._parts import parts_of
from autoseg.architectures._registry import dimensions_of
from autoseg.architectures._topology import Topology
from autoseg.errors import AutosegError

# Channels and classes that are tried, and plans: one whose axes are halved alike, one of thick slices.
CHANNELS, CLASSES = 2, 3
STRIDES: Mapping[int, Sequence[Sequence[Sequence[int]]]] = {
    2: ([(1, 1), (2, 2), (2, 2), (2, 2)], [(1, 1), (1, 2), (2, 2), (2, 2)]),
    3: ([(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)], [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
}
PATCH = {2: (32, 64), 3: (16, 32, 32)}
# A size that no power of two divides.
ODD = {2: (33, 47), 3: (14, 35, 33)}


class Numberless(TorchFunctionMode):
    """Skips the drawing of weights, which torch plays through in Python where there is no memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if args and getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0]
        return func(*args, **(kwargs or {}))


def check_architecture(architecture: str) -> list[str]:
    """Try out what every architecture has to keep, without weights: a moment, on any machine.

    Args:
        architecture: a name of `plugins.available("architectures")`, or the path of a file.

    Returns:
        What is wrong and how to mend it, one sentence or two each; empty if all is well.
    """
    try:
        dimensions = dimensions_of(architecture)
    except AutosegError as problem:
        return [str(problem)]
    found: dict[str, None] = {}
    for axes in dimensions:
        for check in (_shapes, _supervision, _parts, _address):
            try:
                found.update(dict.fromkeys(f"{axes}D: {message}" for message in check(architecture, axes)))
            except Exception as problem:  # whatever a network raises is what is wrong with it
                found[f"{axes}D: building or running it ends with {type(problem).__name__}: {problem}"] = None
    return list(found)


def _topology(axes: int, strides: Sequence[Sequence[int]], patch: tuple[int, ...]) -> Topology:
    kernels = ((3,) * axes,) * len(strides)
    return Topology(patch, (1.0,) * axes, tuple(map(tuple, strides)), kernels)


def _built(architecture: str, axes: int, which: int = 0, **more: Any) -> nn.Module:
    topology = _topology(axes, STRIDES[axes][which], PATCH[axes])
    with torch.device("meta"), Numberless():
        network = build_network(architecture, CHANNELS, CLASSES, topology, **more)
    # Of libraries, some tensors are made where no context reaches.
    return network.to("meta")


def _image(patch: Sequence[int]) -> torch.Tensor:
    return torch.zeros(2, CHANNELS, *patch, device="meta")


def _shapes(architecture: str, axes: int) -> Iterator[str]:
    """The output is as large as the input, on any plan and for any size."""
    for which in (0, 1):
        network = _built(architecture, axes, which).eval()
        for patch in (PATCH[axes], ODD[axes]):
            wanted = (2, CLASSES, *patch)
            logits = network(_image(patch))
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            if shape != wanted:
                yield (
                    f"an image of {patch} gives {shape}; expected logits of {wanted}. Follow the topology's "
                    f"strides, and pad and crop in forward: pad_to_multiple and crop_to."
                )


def _supervision(architecture: str, axes: int) -> Iterator[str]:
    """Deep supervision is a switch, and gives one output for each entry of `output_strides`."""
    network: Any = _built(architecture, axes, deep_supervision=True).train()
    outputs = network(_image(PATCH[axes]))
    if not isinstance(outputs, list):
        yield (
            f"under deep supervision forward gives {type(outputs).__name__}; expected a list of logits, "
            f"largest first. Return self.arrange(logits, auxiliary) of SegmentationNetwork."
        )
        return
    if not _switch_of(network):
        yield "it has no attribute deep_supervision. Derive it from SegmentationNetwork."
        return
    strides = getattr(network, "output_strides", None)
    if strides is not None:
        sizes = [tuple(-(-n // s) for n, s in zip(PATCH[axes], each, strict=True)) for each in strides]
        shapes = [tuple(each.shape[2:]) for each in outputs]
        if sizes != shapes:
            yield f"output_strides promise outputs of {sizes}, and forward gives {shapes}. Correct either."
    sum(output.float().sum() for output in outputs).backward()
    if idle := [name for name, each in network.named_parameters() if each.grad is None]:
        yield f"{len(idle)} parameters have no gradient under deep supervision, {idle[0]} first. Use them."
    plain = _built(architecture, axes, deep_supervision=False)
    if plain.state_dict().keys() != network.state_dict().keys():
        yield "its weights are others with deep supervision than without. Make all heads in either case."
    _switch_of(network).deep_supervision = False
    if not isinstance(network.eval()(_image(PATCH[axes])), torch.Tensor):
        yield "it gives a list after deep_supervision = False; expected one tensor. Read it in forward."


def _switch_of(network: Any) -> Any:
    """What holds the switch: the network, or as in nnU-Net's its decoder."""
    holders = (network, getattr(network, "decoder", None))
    return next((each for each in holders if hasattr(each, "deep_supervision")), None)


def _parts(architecture: str, axes: int) -> Iterator[str]:
    """Every parameter is in one part, so that it can be frozen or trained apart."""
    try:
        parts = parts_of(_built(architecture, axes))
    except AutosegError as problem:
        yield str(problem)
        return
    if lacking := {"encoder", "decoder1", "head"} - set(parts):
        yield f"its parts lack {', '.join(sorted(lacking))}; it has {', '.join(parts)}. Name them in `parts`."


def _address(architecture: str, axes: int) -> Iterator[str]:
    """A plan names the class by its path, and nnU-Net builds it from there."""
    path = class_path(architecture)
    if pydoc.locate(path) is None:
        yield f"its class is not found by its path {path}. Define it at the top of its file."
