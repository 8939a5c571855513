"""What a training cost: time, steps, weights, operations, memory, on which device and how it differed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from autoseg.errors import RunError
from autoseg.run import Run
from autoseg.system.device import device_name
from autoseg.system.files import read_json, write_json
from autoseg.system.process_memory import peak_bytes

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

log = logging.getLogger(__name__)


def write_cost(run: Run, trainer: Trainer, spent_before: float, seconds: float) -> None:
    """Write a run's ``cost.json``.

    Args:
        run: whose folder it goes to.
        trainer: the trainer after its training.
        spent_before: seconds of earlier starts of the same run.
        seconds: seconds of this start.
    """
    network = trainer._bare_network()
    parameters = list(network.parameters())
    write_json(
        run.cost,
        {
            "train_s": round(spent_before + seconds, 2),
            "steps": trainer.steps_done,
            "steps_left_out": trainer.left_out,
            "step_s": trainer.timing.step_s,
            "computed_step_s": trainer.timing.computed_step_s,
            "broken_off": trainer.broken_off,
            "epochs": trainer.current_epoch,
            "parameters": sum(p.numel() for p in parameters),
            "trainable_parameters": sum(p.numel() for p in parameters if p.requires_grad),
            "checkpoint_mb": round(_predicting_bytes(run) / 1e6, 2),
            "best_checkpoints": len(run.predicting_checkpoints) if trainer.best_checkpoints else 0,
            "flops_per_patch": flops_per_patch(trainer),
            "peak_memory_mb": round(peak_bytes(trainer.device) / 1e6, 1),
            "device": device_name(trainer.device),
            "precision": _precision(trainer),
            "energy": trainer.meter.state(),
            "mirrored_prediction": trainer.mirrored_prediction,
            **initialisation_of(trainer, run),
            "changes": _changes(trainer),
        },
    )


def _precision(trainer: Trainer) -> str:
    """What the training's convolutions were computed in; nnU-Net's steps on CUDA are always in float16."""
    dtype = torch.float16 if trainer.device.type == "cuda" else trainer.autocast_dtype or torch.float32
    return str(dtype).removeprefix("torch.")


def _changes(trainer: Trainer) -> list[str]:
    """What only the training itself could know of how it differs from the published one, in words."""
    found = list(trainer.memory_changes)
    if trainer.left_out:
        found.append(f"{trainer.left_out} of {trainer.steps_done} steps left out: not finite")
    if trainer.retried:
        found.append(f"went astray at {trainer.retried}")
    if trainer.train_s is None:
        return found
    if trainer.stock:
        epochs = trainer.steps_done / trainer.steps_per_epoch
        found.append(
            f"stopped after {trainer.elapsed_s:.0f} s of training, epoch {epochs:.1f} of {trainer.epochs}"
        )
    if trainer.stopped_early:
        found.append(f"stopped early, after {trainer.elapsed_s:.0f} of {trainer.train_s:.0f} s of training")
    if trainer.mirroring and not trainer.mirrored_prediction:
        found.append("predicted without mirrored copies")
    return found


def _predicting_bytes(run: Run) -> int:
    """Size of what predicts, and at least of the checkpoint that stock nnU-Net reads."""
    kept = sum(path.stat().st_size for path in run.predicting_checkpoints)
    return max(kept, run.final_checkpoint.stat().st_size)


def initialisation_of(trainer: Trainer, run: Run) -> dict[str, Any]:
    """What the first weights were and what is frozen, kept over a restart."""
    path = run.folder / "initialisation.json"
    if trainer.load_report is not None and trainer.load_report.names:
        write_json(path, trainer.load_report.to_json())
    found = read_json(path, RunError) if path.is_file() else {}
    counts = {name: found[name]["tensors"] for name in ("loaded", "adapted", "random") if name in found}
    return {
        "initialised_from": {
            "source": found.get("source", "random"),
            "sha256": found.get("sha256"),
            **counts,
        },
        "finetuned": None if trainer.policy is None else str(trainer.policy),
    }


def flops_per_patch(trainer: Trainer) -> int | None:
    """Floating-point operations of one forward pass over one patch, counted on a network without data.

    Two operations per multiply-accumulate, as torch counts them. None where an operation has no meaning
    without data.
    """
    from torch.utils.flop_counter import FlopCounterMode

    manager, configuration = trainer.plans_manager, trainer.configuration_manager
    try:
        with torch.device("meta"):
            network = trainer.build_network_architecture(
                manager,
                configuration,
                trainer.num_input_channels,
                trainer.label_manager.num_segmentation_heads,
                False,
            )
            patch = torch.empty(1, trainer.num_input_channels, *configuration.patch_size)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                # In training mode, batch normalisation refuses one sample with one voxel.
                network.eval()(patch)
    except (NotImplementedError, RuntimeError, ValueError) as problem:
        log.debug("FLOPs not counted: %s", problem)
        return None
    return int(counter.get_total_flops())
