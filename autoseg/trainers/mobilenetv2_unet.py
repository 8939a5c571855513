"""MobileNetV2 U-Net for the fetal head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from autoseg.augmentation import fetal_head_transforms
from autoseg.losses.losses import DiceCrossEntropyLoss, SegmentationLoss
from autoseg.training.trainer import Trainer


class mobilenetv2_unet(Trainer):
    """U-Net with a MobileNetV2 encoder (Wang, Silvestre and Curran, arXiv 2407.20086).

    Stated there: the encoder and nine fine-tuning strategies. From the authors' repository: decoder
    256-128-64-32-16, cross-entropy alone, Adam at 1e-4, batch 10, 20 epochs, rotation by 25 degrees, flips.
    Ours: Adam at 1e-3 with a cosine schedule where the encoder starts from random weights, as it does here,
    and predictions averaged over the horizontal mirror image alone, the only one that training shows as often
    as the image itself (of 10 samples one is flipped vertically). ImageNet weights and the strategies are for
    the user to ask for (`init=imagenet`, `finetune=ft_decoder`); then the rate is the authors' 1e-4.
    """

    architecture = "mobilenetv2_unet"
    preferred_dimension = 2
    documented = True
    paper = "Wang et al., arXiv 2407.20086 (2024)"
    pretrained_encoder = True
    auto: ClassVar[Mapping[str, int]] = {"2d": 30, "pictures": 30}
    smallest_batch = 8

    optimizer_name = "adam"
    learning_rate = 1e-3
    weight_decay = 0.0
    schedule = "cosine"
    warmup = 0.02
    epochs = 100
    deep_supervision = False

    get_training_transforms = staticmethod(fetal_head_transforms)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """Flips in training along all axes that the augmentation knows, at prediction along the last."""
        rotation, dummy_2d, initial_patch, axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if axes:
            self.inference_allowed_mirroring_axes = (max(axes),)
        return rotation, dummy_2d, initial_patch, axes

    def make_loss(self) -> SegmentationLoss:
        """Cross-entropy; of one foreground class it is the binary one of the repository."""
        return DiceCrossEntropyLoss(self.label_manager, dice_weight=0.0)
