"""DeepLabV3 (Chen et al. 2017, arXiv 1706.05587), a 2D baseline of the fetal brain MRI system."""

from __future__ import annotations

from typing import Any

from autoseg.architectures._library import OPTIONS, LibraryNetwork, library_kwargs
from autoseg.architectures._topology import Topology

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "kwargs_for"]

DIMENSIONS = (2,)


class DeepLabV3(LibraryNetwork):
    """Atrous pyramid pooling at 1/8; needs two images per batch in training."""

    design = "DeepLabV3"


NETWORK = DeepLabV3


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a 2D configuration; see `library_kwargs`."""
    return library_kwargs("deeplabv3", 8, topology, **options)
