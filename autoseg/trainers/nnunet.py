"""nnU-Net's default U-Net and training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from autoseg.errors import RunError
from autoseg.system.device import seed_everything
from autoseg.training.trainer import Trainer


class nnunet(Trainer):
    """nnU-Net with its own plan, loss, optimiser and augmentation.

    Under a budget its width, batch and schedule follow the time there is, and a short training has AdamW in
    place of SGD and no mirroring, a very short one a higher rate (`autoseg.tailoring.training_length`); its
    row says so. Without one it is
    nnU-Net as published (1000 epochs of 250 steps).

    With ``stock=true`` it is nnU-Net itself: the published plan, nnU-Net's own loaders, augmentation,
    optimiser and steps (float32 on a CPU), and the published schedule by the steps that are done, whatever
    the clock says. A budget only stops it; its looks at validation patches, which train nothing, are then
    fewer. Predictions are autoseg's.
    """

    adaptive_width = True
    has_stock = True
    paper = "Isensee et al., Nature Methods 18:203 (2021)"
    auto: ClassVar[Mapping[str, int]] = {"2d": 10, "3d": 10}

    def initialize(self) -> None:
        """Build network, optimiser and loss, from the run's seed."""
        if not self.stock:
            super().initialize()
            return
        if self.team.size > 1:
            raise RunError(
                f"{type(self).__name__}:stock=true trains on one device, not on {self.team.size}. Leave out "
                f"--devices, or train it by nnUNetv2_train -num_gpus {self.team.size}."
            )
        seed_everything(self.seed)
        self.autocast_dtype = None
        self.get_training_transforms = nnUNetTrainer.get_training_transforms
        nnUNetTrainer.initialize(self)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """The optimiser and a scheduler over epochs."""
        if not self.stock:
            return super().configure_optimizers()
        found: tuple[torch.optim.Optimizer, Any] = nnUNetTrainer.configure_optimizers(self)
        return found

    def optimiser_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One optimiser step."""
        if not self.stock:
            return super().optimiser_step(batch)
        result: dict[str, Any] = nnUNetTrainer.train_step(self, batch)
        return result

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Data sets of the fold's training and validation cases."""
        if not self.stock:
            return super().get_tr_and_val_datasets()
        found: tuple[Any, Any] = nnUNetTrainer.get_tr_and_val_datasets(self)
        return found

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Loaders of training and validation batches."""
        if not self.stock:
            return super().get_dataloaders()
        found: tuple[Any, Any] = nnUNetTrainer.get_dataloaders(self)
        return found

    def _do_i_compile(self) -> bool:
        return bool(nnUNetTrainer._do_i_compile(self)) if self.stock else super()._do_i_compile()
