"""U-Net on ResNet-34: a baseline of the fetal brain MRI system (arXiv 2606.01293).

24,437,384 parameters with 3 channels and 8 classes.
"""

from __future__ import annotations

from typing import Any

from autoseg.architectures._encoder_unet import DIMENSIONS, OPTIONS, EncoderUNet, encoder_unet_kwargs
from autoseg.architectures._topology import Topology

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "kwargs_for"]

NETWORK = EncoderUNet


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan; see `encoder_unet_kwargs`."""
    return encoder_unet_kwargs("resnet34_unet", "resnet34", topology, **options)
