"""What a device takes beside what is counted: measured once in a process of its own, then read from a file.

The process imports what a training imports and takes a few steps of one small network; the base follows from
its peak. On a GPU torch itself says what it has taken, and a second patch size gives the overhead.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoseg import __version__
from autoseg.errors import AutosegError
from autoseg.system.device import autocast_dtype, model_name
from autoseg.system.files import read_json, write_json
from autoseg.system.process_memory import peak_bytes
from autoseg.tailoring.memory.footprint import WEIGHT_COPIES, MemoryCalibration, step_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from autoseg.tailoring.memory.trace import Traced

log = logging.getLogger(__name__)

# Patches of the measured steps, voxels along each axis; the network is nnU-Net's with a width of 32.
EDGES = {"cpu": (16,), "cuda": (16, 64)}
WIDTH = 32
BATCH, LABELS = 2, 2
STEPS = 3
# For where nothing can be measured: what one CPU showed; of GPUs an assumption, the context included.
GUESSED_BASE = {"cpu": 1.2e9, "cuda": 0.6e9}
GUESSED_OVERHEAD = {"cpu": 1.0, "cuda": 1.25}
# Noise at small sizes must not become a factor.
LEAST_OVERHEAD, MOST_OVERHEAD = 1.0, 1.8


def cache_file() -> Path:
    """Where the calibrations of this machine are kept, for all workspaces."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "autoseg" / "memory_calibration.json"


def calibrate(path: Path, device: str = "cpu") -> MemoryCalibration:
    """The calibration of a device: from a file if it is of the same device and versions, else measured.

    Args:
        path: the file; written after a measurement.
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    import torch

    # A home that many machines share has one such file, and processors differ in the kernels they run.
    key = f"{device} {platform.machine()} {model_name(device)} python {platform.python_version()}"
    key += f" {autocast_dtype(torch.device(device)) or torch.float32}"
    key += "".join(f" {name} {importlib.metadata.version(name)}" for name in ("torch", "nnunetv2"))
    key += f" autoseg {__version__}"
    stored = _stored(path)
    if key in stored:
        return MemoryCalibration.from_json(stored[key])
    found = _measured(device, key)
    if found.measured:
        write_json(path, {**stored, key: found.to_json()} if stored else {key: found.to_json()})
    return found


def _stored(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except AutosegError:
        return {}
    return document if isinstance(document, dict) else {}


def _measured(device: str, key: str) -> MemoryCalibration:
    if device not in EDGES:
        return _guess(device, key)
    try:
        peaks = [_peak_of_process(device, edge) for edge in EDGES[device]]
    except (subprocess.CalledProcessError, ValueError) as problem:
        log.warning("The memory of %s could not be calibrated (%s); a guess is used.", device, problem)
        return _guess(device, key)
    counted = [_counted(device, edge) for edge in EDGES[device]]
    small = counted[0]
    held = small.peak(1) - small.step_bytes
    if device == "cpu":
        return MemoryCalibration(
            key, peaks[0] - held - WEIGHT_COPIES * small.parameters - step_on_cpu(small), 1.0, True
        )
    overhead = (peaks[1] - peaks[0]) / (counted[1].peak(1) - small.peak(1))
    overhead = min(max(overhead, LEAST_OVERHEAD), MOST_OVERHEAD)
    return MemoryCalibration(key, peaks[0] - held - overhead * small.step_bytes, overhead, True)


def _peak_of_process(device: str, edge: int) -> float:
    command = [sys.executable, "-m", "autoseg.tailoring.memory.calibration", device, str(edge)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["peak"])


def _guess(device: str, key: str) -> MemoryCalibration:
    known = device if device in GUESSED_BASE else "cuda"
    return MemoryCalibration(key, GUESSED_BASE[known], GUESSED_OVERHEAD[known], False)


def _network(edge: int) -> tuple[Callable[[], torch.nn.Module], tuple[int, ...]]:
    """The network that is measured, and the shape of its batch."""
    from autoseg.architectures import Topology, build_network

    strides = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    topology = Topology((edge,) * 3, (1.0,) * 3, strides, ((3, 3, 3),) * 3)
    shape = (BATCH, 1, *topology.patch_size)
    return lambda: build_network("nnunet", 1, LABELS, topology, True, width=WIDTH), shape


def _counted(device: str, edge: int) -> Traced:
    import torch

    from autoseg.tailoring.memory.trace import trace_network

    build, shape = _network(edge)
    place = torch.device(device)
    return trace_network(build, shape, LABELS, place, autocast_dtype(place))


def step_peak(device_name: str, edge: int) -> float:
    """Bytes at the peak of a few steps; in a process of its own, which imports what a training does."""
    import torch

    from autoseg.architectures import prepare_for_cpu
    from autoseg.training import trainer as imported  # noqa: F401  (its memory is part of the base)

    device = torch.device(device_name)
    build, shape = _network(edge)
    network = build().to(device).train()
    if device.type == "cpu":
        prepare_for_cpu(network)
        network = network.to(memory_format=torch.channels_last_3d)
    take_steps(network, torch.zeros(shape, device=device), autocast_dtype(device))
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved()) + GUESSED_BASE["cuda"]
    # Not `ru_maxrss`: that begins with the memory of whoever started this process, such as a large plan.
    return float(peak_bytes(device))


def take_steps(network: torch.nn.Module, data: torch.Tensor, dtype: torch.dtype | None) -> None:
    """A few training steps on given data, with nnU-Net's optimiser."""
    import torch

    optimizer = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.99)
    layout = torch.channels_last_3d if data.device.type == "cpu" else torch.contiguous_format
    for _ in range(STEPS):
        with torch.autocast(data.device.type, dtype=dtype, enabled=dtype is not None):
            outputs = network(data.to(memory_format=layout))
        loss = torch.stack([output.float().softmax(1).square().mean() for output in outputs]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


if __name__ == "__main__":
    # The process's answer to the one that measures, not a message to a person.
    sys.stdout.write(json.dumps({"peak": step_peak(sys.argv[1], int(sys.argv[2]))}))
