"""nnU-Net's default U-Net and training."""

from __future__ import annotations

from autoseg.trainers._base import Trainer


class nnunet(Trainer):
    """nnU-Net with its own plan, loss, optimiser and augmentation.

    Under a budget its width, batch and schedule follow the time there is, and its row says so; without one
    it is nnU-Net as published (1000 epochs of 250 steps).
    """

    adaptive_width = True
    paper = "Isensee et al., Nature Methods 18:203 (2021)"
