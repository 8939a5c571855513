"""MedNeXt S, kernel 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoseg.training.trainer import Trainer


class mednext_s(Trainer):
    """MedNeXt S with 3x3x3 kernels, its topology following the plan.

    Stated in the paper: AdamW at 1e-3, nnU-Net's loss, schedule, epochs and deep supervision. From the
    authors' repository: epsilon 1e-4. Ours: strides per axis from the plan (the published network halves
    every axis four times), and 2D.
    """

    architecture = "mednext"
    architecture_options: ClassVar[Mapping[str, Any]] = {"variant": "S", "kernel": 3}
    paper = "Roy et al., MICCAI 2023, arXiv 2303.09975"
    kind = "MedNeXt"
    # Depthwise convolutions keep a processor from its pace; measured beside the others on one core.
    pace = 0.35
    auto: ClassVar[Mapping[str, int]] = {"3d": 40}

    optimizer_name = "adamw"
    learning_rate = 1e-3
    epsilon = 1e-4
