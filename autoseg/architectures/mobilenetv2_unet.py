"""U-Net on MobileNetV2: the network of the nine fetal-head fine-tuning strategies (arXiv 2407.20086).

6,628,945 parameters with 3 channels and 1 class: encoder 2,223,872, decoder 4,404,928, head 145.
"""

from __future__ import annotations

from typing import Any

from autoseg.architectures._encoder_unet import DIMENSIONS, OPTIONS, EncoderUNet, encoder_unet_kwargs
from autoseg.architectures._topology import Topology

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "kwargs_for"]

NETWORK = EncoderUNet


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan; see `encoder_unet_kwargs`."""
    return encoder_unet_kwargs("mobilenetv2_unet", "mobilenet_v2", topology, **options)
