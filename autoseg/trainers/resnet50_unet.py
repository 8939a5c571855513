"""ResNet-50 U-Net for the neonatal lung."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.augmentation import affine_transforms
from autoseg.losses.losses import DiceBinaryCrossEntropyLoss, SegmentationLoss
from autoseg.training.trainer import Trainer


class resnet50_unet(Trainer):
    """U-Net with a ResNet-50 encoder (Patel, Matheson, Bdaiwi and Woods, poster).

    Stated there: the encoder, decoder 256-128-64-32-16, binary cross-entropy plus Dice, Adam at 1e-3,
    reduction of that rate and early stopping, rotation by 15 degrees, translation and zoom by 10 %. Ours,
    since nothing documents them: batch 8, at most 100 epochs; the rate is halved after 5 epochs without a
    lower validation loss, down to 1e-6, and 15 such epochs end the training. The validation loss is that of
    training cases set apart (an eighth; the poster divides 70/20/10), so that the held-out cases that are
    reported choose nothing, and the weights at its lowest value predict.
    """

    architecture = "resnet50_unet"
    preferred_dimension = 2
    documented = True
    paper = "Patel et al., CCHMC poster"
    pretrained_encoder = True
    auto: ClassVar[Mapping[str, int]] = {"2d": 50, "pictures": 50, "slices_mr": 30, "slices_ct": 20}
    smallest_batch = 8

    optimizer_name = "adam"
    learning_rate = 1e-3
    weight_decay = 0.0
    schedule = "plateau"
    epochs = 100
    deep_supervision = False
    mirroring = False

    get_training_transforms = staticmethod(affine_transforms)

    def make_loss(self) -> SegmentationLoss:
        """Binary cross-entropy plus Dice."""
        return DiceBinaryCrossEntropyLoss(self.label_manager)
