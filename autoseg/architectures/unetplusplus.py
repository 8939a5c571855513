"""U-Net++ (Zhou et al. 2018, arXiv 1807.10165), a 2D baseline of the fetal brain MRI system."""

from __future__ import annotations

from typing import Any

from autoseg.architectures._library import OPTIONS, LibraryNetwork, library_kwargs
from autoseg.architectures._topology import Topology

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "kwargs_for"]

DIMENSIONS = (2,)


class UNetPlusPlus(LibraryNetwork):
    """U-Net with nested skips; pads to multiples of 32."""

    design = "UnetPlusPlus"


NETWORK = UNetPlusPlus


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a 2D configuration; see `library_kwargs`."""
    return library_kwargs("unetplusplus", 32, topology, **options)
