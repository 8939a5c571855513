"""U-Net on ResNet-50: the network of the neonatal lung MRI system (CCHMC; Patel, Matheson, Bdaiwi, Woods).

32,521,105 parameters with 3 channels and 1 class; decoder filters 256-128-64-32-16.
"""

from __future__ import annotations

from typing import Any

from autoseg.architectures._encoder_unet import DIMENSIONS, OPTIONS, EncoderUNet, encoder_unet_kwargs
from autoseg.architectures._topology import Topology

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "kwargs_for"]

NETWORK = EncoderUNet


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan; see `encoder_unet_kwargs`."""
    return encoder_unet_kwargs("resnet50_unet", "resnet50", topology, **options)
