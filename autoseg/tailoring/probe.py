"""A network of a shape, modelled on paper or measured on the device."""

from __future__ import annotations

import dataclasses
import math

import torch

from autoseg.architectures._contract import Numberless
from autoseg.inference.sliding_window import VOXELS_AT_ONCE
from autoseg.planner.budget import Shape
from autoseg.planner.topology import divisors
from autoseg.system.device import autocast_dtype
from autoseg.system.machine_model import MachineModel
from autoseg.tailoring.fit_to_resources import Fitting
from autoseg.tailoring.machine.kept import machine_model
from autoseg.tailoring.network import build
from autoseg.tailoring.pace import Lines, Width
from autoseg.tailoring.step_model import modelled
from autoseg.tailoring.step_time import forward_seconds, probe_patch, step_seconds

# A step that takes longer is measured on a part of its batch, since three of them are made.
LONGEST_STEP_S = 1.0
MOST_WINDOWS = 32
# Of reading and augmenting: for each batch, each sample, and each voxel of an image and its segmentation.
# On a core of its own (means of 40 batches, benchmarks/bench_loading.py) two samples of 64x64 took 10.5 ms,
# of 448x640 21, of 24x32x24 12, of 64x96x64 31; eight of 112x160 28, five of 40x56x40 34. This meets all
# within 6 ms. Large patches take hardly longer: few samples are rotated or blurred. Trainings correct it.
BATCH_S, SAMPLE_S, VOXEL_S = 5e-3, 2.8e-3, 2.2e-8


def kind_of(fitting: Fitting) -> str:
    """What trainings are alike in, so that one tells of the next: trainer and dimensions."""
    dimensions = fitting.at(1.0).configuration.dimensions
    return f"{fitting.variant.choice.trainer} {dimensions}D"


def around_network(fitting: Fitting) -> tuple[float, float, float]:
    """Seconds of a step that go into reading and augmenting: always, for each sample and for each voxel.

    On a GPU other processes do that meanwhile.
    """
    if fitting.variant.request.device.type != "cpu":
        return 0.0, 0.0, 0.0
    arrays = fitting.channels + 1  # and the segmentation
    return BATCH_S, SAMPLE_S, VOXEL_S * arrays / 2


def modelled_lines(fitting: Fitting, width: Width, machine: MachineModel) -> Lines:
    """Seconds of a step and of a forward pass by voxels, at a width.

    Args:
        fitting: makes the configuration.
        width: features of the first stage; None: the network keeps its size.
        machine: what it runs on.
    """
    shape = dataclasses.replace(
        fitting.published, width=width, batch_size=min(2, fitting.published.batch_size)
    )
    with torch.device("meta"), Numberless():
        network = _network(fitting, shape).to("meta").train()
    size = (2, fitting.channels, *fitting.patch(shape))
    return modelled(network, size, machine)


def measured(
    fitting: Fitting, shape: Shape, expected_s: float
) -> tuple[tuple[int, float], tuple[int, float]]:
    """Measure a step of a shape, or of a part of it where that would take long.

    Args:
        fitting: makes the configuration.
        shape: what is measured.
        expected_s: seconds of computing that a step is expected to take.

    Returns:
        Voxels and seconds of computing, with all threads: of a step, and of a forward pass.
    """
    device = fitting.variant.request.device
    batch, patch = _affordable(fitting, shape, expected_s)
    network = _network(fitting, shape).to(device).train()
    channels, dtype = fitting.channels, autocast_dtype(device)
    step_s = step_seconds(network, (batch, channels, *patch), device, dtype)
    # As many windows as prediction takes at once.
    most = VOXELS_AT_ONCE.get(device.type, VOXELS_AT_ONCE["cpu"]) // math.prod(patch)
    together = max(1, min(most, MOST_WINDOWS))
    forward_s = forward_seconds(network, (together, channels, *patch), device, dtype)
    gain, voxels = machine_model(device).gain, math.prod(patch)
    return (batch * voxels, step_s / gain), (together * voxels, forward_s / gain)


def _affordable(fitting: Fitting, shape: Shape, expected_s: float) -> tuple[int, tuple[int, ...]]:
    """Batch and patch to measure: those of the shape, or as much of them as takes a bearable time."""
    batch, patch = fitting.batch(shape), fitting.patch(shape)
    voxels = batch * math.prod(patch)
    most = voxels * min(1.0, LONGEST_STEP_S / max(expected_s, 1e-9))
    least = min(2, batch)
    batch = min(batch, max(least, int(most / math.prod(patch))))
    topology = fitting.topology(shape)
    # A network that names no strides is measured on its whole patch.
    strides = patch if topology is None else divisors(topology)
    return batch, probe_patch(patch, batch, strides, int(most))


def _network(fitting: Fitting, shape: Shape) -> torch.nn.Module:
    plan = dataclasses.replace(
        fitting.at(shape.coarsening).plan, configurations={fitting.name: fitting.configuration(shape)}
    )
    return build(fitting.variant.trainer, plan, fitting.name, fitting.variant.dataset)
