"""MedNeXt L, kernel 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoseg.trainers.mednext_s import mednext_s


class mednext_l_k5(mednext_s):
    """MedNeXt L with kernels of 5, trained as `mednext_s` is."""

    architecture = "mednext"
    architecture_options: ClassVar[Mapping[str, Any]] = {"variant": "L", "kernel": 5}
