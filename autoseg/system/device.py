"""The device that a name stands for, and the name that it has."""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from autoseg.errors import UsageError

if TYPE_CHECKING:
    import torch

FLOAT32 = "AUTOSEG_FLOAT32"


def find_device(name: str) -> torch.device:
    """The torch device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: if the device is not there.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name.split(":")[0], False):
        have = ", ".join(kind for kind, yes in there.items() if yes)
        raise UsageError(f"The device {name!r} is not there. This machine has: {have}.")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The device in words, a CPU with its threads, such as ``2 x AMD EPYC`` or ``NVIDIA H200``."""
    if device.type != "cpu":
        return model_name(str(device))
    import torch

    return f"{torch.get_num_threads()} x {model_name('cpu')}"


def model_name(device: str) -> str:
    """What a device calls itself, such as ``AMD EPYC``; its kind where it has no name or is not there."""
    if device == "cpu":
        return _processor()
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    return device


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else "CPU"


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """bfloat16 on a CPU that computes in it, None (float32) on others; CUDA is nnU-Net's own choice.

    The environment variable AUTOSEG_FLOAT32 = 1 asks for float32 on every CPU, so that processors with and
    without bfloat16 give comparable results. Processes that this one starts inherit it.
    """
    import torch

    if device.type != "cpu" or os.environ.get(FLOAT32) == "1":
        return None
    return torch.bfloat16 if _computes_in_bfloat16() else None


@contextmanager
def float32_only() -> Iterator[None]:
    """Compute in float32 within the block, on every CPU."""
    before = os.environ.get(FLOAT32)
    os.environ[FLOAT32] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FLOAT32]
        else:
            os.environ[FLOAT32] = before


def _computes_in_bfloat16() -> bool:
    """Whether the processor has instructions for it.

    oneDNN also says yes to an x86 processor that has AVX-512 alone and imitates bfloat16: a step of a small
    U-Net then takes 2.0 (2D) to 2.7 (3D) times as long as in float32 (torch 2.14, one core).
    """
    import torch

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def seed_everything(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
