"""nnU-Net's residual-encoder U-Net (Isensee et al. 2024, arXiv 2404.09556), for its M, L and XL plans.

The three presets share this network and differ in the patch and the stages that their planners give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoseg.architectures._topology import Topology
from autoseg.architectures.nnunet import DIMENSIONS, OPTIONS, REQUIRES_IMPORT, accept_any_size, shared_kwargs

if TYPE_CHECKING:
    from torch import nn

    NETWORK: type[nn.Module]

__all__ = [
    "CLASS_PATH",
    "DIMENSIONS",
    "NETWORK",
    "OPTIONS",
    "REQUIRES_IMPORT",
    "accept_any_size",
    "kwargs_for",
]

CLASS_PATH = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
# Blocks of the first stages; every further stage has as many as the last of these.
BLOCKS = (1, 3, 4, 6)


def __getattr__(name: str) -> Any:
    if name == "NETWORK":  # a plan can be made without importing torch
        from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

        return ResidualEncoderUNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The arguments of `ResidualEncoderUNet` as nnU-Net's planners write them.

    Raises:
        PlanError: for an option that there is not.
    """
    shared = shared_kwargs("nnunet_resenc", topology, **options)
    n = topology.stages
    blocks = [BLOCKS[min(stage, len(BLOCKS) - 1)] for stage in range(n)]
    return {**shared, "n_blocks_per_stage": blocks, "n_conv_per_stage_decoder": [1] * (n - 1)}
