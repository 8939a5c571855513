"""nnU-Net's default U-Net: the class of dynamic_network_architectures, with the arguments its plan gives.

A plan made here names that class, so stock nnU-Net builds the same network from it. `width` scales all
features: 32 is nnU-Net's, 16 has a quarter of the parameters and less than half the time on a CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autoseg.architectures._topology import Option, Topology, as_lists, choose, require_dimensions
from autoseg.errors import PlanError

if TYPE_CHECKING:
    from torch import nn

    NETWORK: type[nn.Module]

DIMENSIONS = (2, 3)
CLASS_PATH = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
REQUIRES_IMPORT = ("conv_op", "norm_op", "dropout_op", "nonlin")

WIDTH = 32
# nnU-Net caps the features of its default width at these.
MAX_FEATURES = {2: 512, 3: 320}

OPTIONS = {
    "width": Option(WIDTH, "features of the first stage; the cap of 512 (2D) or 320 (3D) scales along")
}


def __getattr__(name: str) -> Any:
    if name == "NETWORK":  # a plan can be made without importing torch
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        return PlainConvUNet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def accept_any_size(network: nn.Module) -> nn.Module:
    """Let a built network pad what its strides do not divide; in place."""
    from autoseg.architectures._any_size import accept_any_size as accept

    return accept(network)


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The arguments of `PlainConvUNet` as nnU-Net's planner writes them: two convolutions per stage.

    Raises:
        PlanError: for an option that there is not.
    """
    shared = shared_kwargs("nnunet", topology, **options)
    n = topology.stages
    return {**shared, "n_conv_per_stage": [2] * n, "n_conv_per_stage_decoder": [2] * (n - 1)}


def shared_kwargs(architecture: str, topology: Topology, **options: Any) -> dict[str, Any]:
    """What nnU-Net's two networks have in common; classes by their dotted paths.

    Raises:
        PlanError: for an option that there is not.
    """
    require_dimensions(architecture, topology, DIMENSIONS)
    width = choose(architecture, OPTIONS, options)["width"]
    axes = topology.dimensions
    most = MAX_FEATURES[axes] * width // WIDTH
    if width < 1:
        raise PlanError(f"{architecture}: width is {width}; expected at least 1 feature.")
    return {
        "n_stages": topology.stages,
        "features_per_stage": [min(width * 2**stage, most) for stage in range(topology.stages)],
        "conv_op": f"torch.nn.modules.conv.Conv{axes}d",
        "kernel_sizes": as_lists(topology.kernel_sizes),
        "strides": as_lists(topology.strides),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{axes}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
