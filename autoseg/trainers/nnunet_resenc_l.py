"""nnU-Net with a residual encoder, preset L."""

from __future__ import annotations

from autoseg.trainers.nnunet import nnunet


class nnunet_resenc_l(nnunet):
    """nnU-Net's ResEnc L: the plan for 24 GB, trained as the default nnU-Net is.

    Under a budget its width, batch and schedule follow the time there is, and its row says so.
    """

    planned_architecture = "nnunet_resenc"
    paper = "Isensee et al., MICCAI 2024, arXiv 2404.09556"
    kind = "ResEnc"
