"""The numbers of a trainer's network that the planner goes by, measured on the network itself."""

from __future__ import annotations

import math
from typing import Any

from autoseg import plugins
from autoseg.architectures import build_network
from autoseg.planner.networks import NetworkFacts
from autoseg.planner.topology import reference_topology

FLOPS_PER_MAC = 2
# Batch normalisation of a single value is refused.
SAMPLES = 2


def measure(name: str) -> NetworkFacts:
    """What the planner has to know of a trainer that is not in its table.

    Args:
        name: the trainer's name.
    """
    return NetworkFacts.from_json(name, numbers_of(name))


def numbers_of(name: str) -> dict[str, dict[str, Any]]:
    """Parameters, work and memory by dimension at the reference patch, as the table has them."""
    trainer = plugins.trainer_class(name)
    by_dimension = {each: _of_network(trainer, each) for each in trainer.dimensions}
    keys = ("parameters", "macs_per_voxel", "bytes_per_voxel")
    return {key: {str(n): found[key] for n, found in by_dimension.items()} for key in keys}


def _of_network(trainer: type[Any], dimensions: int) -> dict[str, float]:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from autoseg.tailoring.memory.trace import trace_network

    topology = reference_topology(dimensions)
    architecture = trainer.architecture or trainer.planned_architecture
    options = trainer.architecture_options
    with torch.device("meta"):
        network = build_network(architecture, 1, 2, topology, False, **options).eval()
        patch = torch.empty(1, 1, *topology.patch_size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(patch)
    voxels = math.prod(topology.patch_size)
    traced = trace_network(
        lambda: build_network(architecture, 1, 2, topology, trainer.deep_supervision, **options),
        (SAMPLES, 1, *topology.patch_size),
        2,
        torch.device("cuda"),
        None,
    )
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs_per_voxel": round(counter.get_total_flops() / FLOPS_PER_MAC / voxels),
        "bytes_per_voxel": round(traced.step_bytes / voxels / SAMPLES),
    }
