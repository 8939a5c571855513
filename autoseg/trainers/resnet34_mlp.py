"""ResNet-34 with a lightweight MLP decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.augmentation import resnet34_mlp_transforms
from autoseg.training.trainer import Trainer


class resnet34_mlp(Trainer):
    """ResNet-34 encoder with an MLP decoder (arXiv 2606.01293).

    Stated there: the encoder, the MLP decoder with bilinear upsampling, 2D slices, five folds. Defaults of
    ours, since nothing documents them: Dice + cross-entropy, AdamW with weight decay 1e-4, cosine schedule,
    batch 16, 100 epochs.
    """

    architecture = "resnet34_mlp"
    preferred_dimension = 2
    documented = True
    paper = "arXiv 2606.01293 (2026)"
    pretrained_encoder = True
    auto: ClassVar[Mapping[str, int]] = {"2d": 20, "pictures": 20, "slices_mr": 20, "slices_ct": 10}
    smallest_batch = 8

    optimizer_name = "adamw"
    learning_rate = 1e-3
    weight_decay = 1e-4
    schedule = "cosine"
    warmup = 0.02
    epochs = 100
    deep_supervision = False

    get_training_transforms = staticmethod(resnet34_mlp_transforms)
