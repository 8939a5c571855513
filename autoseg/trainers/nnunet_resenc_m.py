"""nnU-Net with a residual encoder, preset M."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.trainers.nnunet import nnunet


class nnunet_resenc_m(nnunet):
    """nnU-Net's ResEnc M: the plan for 8 GB, trained as the default nnU-Net is.

    Under a budget its width, batch and schedule follow the time there is, and its row says so.
    """

    planned_architecture = "nnunet_resenc"
    paper = "Isensee et al., MICCAI 2024, arXiv 2404.09556"
    kind = "ResEnc"
    auto: ClassVar[Mapping[str, int]] = {"2d": 70, "3d": 20}
