"""Write plans/presets/trainers.json: what the planner knows of each trainer's network without building it.

    python benchmarks/trainer_facts.py            # write the table
    python benchmarks/trainer_facts.py --check    # compare only; exit 1 where it differs

Run it after a change of a network or of a trainer's class attributes.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from autoseg import plugins
from autoseg.architectures import build_network
from autoseg.cli.catalogue import reference_topology
from autoseg.system.files import write_json

TABLE = Path(__file__).resolve().parents[1] / "plans" / "presets" / "trainers.json"
FLOPS_PER_MAC = 2
# Batch normalisation of a single value is refused.
SAMPLES = 2


def facts(name: str) -> dict[str, Any]:
    """The entry of a trainer."""
    trainer = plugins.trainer_class(name)
    by_dimension = {each: _of_network(trainer, each) for each in trainer.dimensions}
    return {
        "dimensions": list(trainer.dimensions),
        "preferred_dimension": trainer.preferred_dimension,
        "documented": trainer.documented,
        "adaptive_width": trainer.adaptive_width,
        "smallest_batch": trainer.smallest_batch,
        "moments": 1 if trainer.optimizer_name == "sgd" else 2,
        **{
            key: {str(n): found[key] for n, found in by_dimension.items()}
            for key in ("parameters", "macs_per_voxel", "bytes_per_voxel")
        },
    }


def _of_network(trainer: Any, dimensions: int) -> dict[str, float]:
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


def table() -> dict[str, Any]:
    """All trainers of autoseg, by name."""
    return {"trainers": {name: facts(name) for name in plugins.available("trainers")}}


def main() -> None:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only")
    found = table()
    if not parser.parse_args().check:
        write_json(TABLE, found)
    elif found != json.loads(TABLE.read_text(encoding="utf-8")):
        raise SystemExit(f"{TABLE.name} is not what the networks are. Write it again, without --check.")


if __name__ == "__main__":
    main()
