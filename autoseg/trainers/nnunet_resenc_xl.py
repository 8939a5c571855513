"""nnU-Net with a residual encoder, preset XL."""

from __future__ import annotations

from autoseg.trainers.nnunet import nnunet


class nnunet_resenc_xl(nnunet):
    """nnU-Net's ResEnc XL: the plan for 40 GB, trained as the default nnU-Net is.

    Under a budget its width, batch and schedule follow the time there is, and its row says so.
    """

    planned_architecture = "nnunet_resenc"
    paper = "Isensee et al., MICCAI 2024, arXiv 2404.09556"
    kind = "ResEnc"
