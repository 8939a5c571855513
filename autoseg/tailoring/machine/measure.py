"""The machine model is measured here, in a few seconds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from autoseg.system.device import autocast_dtype, model_name
from autoseg.system.machine_model import MachineModel
from autoseg.tailoring.machine.layers import (
    LAYERS,
    PASSES_PER_STEP,
    ROUNDS,
    TINY,
    block_seconds,
    one_thread,
    seconds_of,
)

# Values of the arrays that show the bandwidth (64 MB each) and the cost of a weight.
ARRAY, WEIGHTS = 16_000_000, 2_000_000
BYTES = 4
# Seconds over which the share of the machine is measured: some turns of a scheduler.
SHARE_S = 0.3
LEAST_SHARE = 0.05
SPUN = 100_000
# Below it, other programs would be measured and not the threads; then each thread beyond the first is taken
# to add so much: 1.6e11 and 1.9e11 multiply-accumulates per second on two cores were 1.0e11 to 1.7e11 on one.
QUIET_SHARE = 0.9
GAIN_OF_A_CORE = 0.5


def measure(device: torch.device) -> MachineModel:
    """Measure a device as it is now.

    Args:
        device: the device.
    """
    used = _training_dtype(device)
    last = device.type == "cpu"
    threads = torch.get_num_threads() if last else 1
    layouts = {"channels_last": True, "contiguous": False}
    training = {
        _word(dtype): {
            layout: {
                name: PASSES_PER_STEP * layer.macs / block_seconds(layer, device, dtype, where)
                for name, layer in LAYERS.items()
            }
            for layout, where in layouts.items()
        }
        for dtype in dict.fromkeys((None, used))
    }
    forward = {
        name: layer.macs / block_seconds(layer, device, used, last, training=False)
        for name, layer in LAYERS.items()
    }
    return MachineModel(
        device=device.type,
        name=model_name(str(device)),
        threads=threads,
        gain=round(_gain(device, threads), 3),
        torch=torch.__version__,
        precision=_word(used),
        layout="channels_last" if last else "contiguous",
        training=training,
        forward=forward,
        bytes_per_second=_bytes_per_second(device),
        seconds_per_weight=_seconds_per_weight(device),
        seconds_per_layer=block_seconds(TINY, device, used, last),
    )


def measured_share(threads: int) -> float:
    """The part of so many cores that computing threads get now, 0 to 1: what other programs leave of them."""
    began, values = time.perf_counter(), np.ones(SPUN)

    def spin(_: int) -> float:
        had = time.thread_time()
        while time.perf_counter() - began < SHARE_S:
            np.sqrt(values)  # Python lets other threads run meanwhile
        return time.thread_time() - had

    with ThreadPoolExecutor(threads) as pool:
        had = sum(pool.map(spin, range(threads)))
    return min(max(had / (time.perf_counter() - began) / threads, LEAST_SHARE), 1.0)


def _gain(device: torch.device, threads: int) -> float:
    """How many times as fast all threads are as one; what others showed where the machine is busy."""
    if device.type != "cpu" or threads == 1:
        return 1.0
    if measured_share(threads) < QUIET_SHARE:
        return 1 + GAIN_OF_A_CORE * (threads - 1)
    block, data = LAYERS["3d"].block(), torch.randn(LAYERS["3d"].batch)

    def fastest() -> float:
        times = []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            block(data).mean().backward()
            times.append(time.perf_counter() - began)
        return min(times)

    with one_thread(device):
        alone = fastest()
    return min(max(alone / fastest(), 1.0), float(threads))


def _training_dtype(device: torch.device) -> torch.dtype | None:
    """What a training computes in; nnU-Net's on CUDA is float16."""
    return torch.float16 if device.type == "cuda" else autocast_dtype(device)


def _word(dtype: torch.dtype | None) -> str:
    return str(dtype or torch.float32).removeprefix("torch.")


def _bytes_per_second(device: torch.device) -> float:
    one, other = torch.zeros(ARRAY, device=device), torch.ones(ARRAY, device=device)
    return 3 * BYTES * ARRAY / seconds_of(lambda: one.add_(other), device)


def _seconds_per_weight(device: torch.device) -> float:
    weights = torch.zeros(WEIGHTS, device=device, requires_grad=True)
    weights.grad = torch.ones_like(weights)
    optimizer = torch.optim.AdamW([weights], lr=1e-6)
    return seconds_of(optimizer.step, device) / WEIGHTS
