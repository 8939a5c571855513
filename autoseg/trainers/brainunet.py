"""BrainUNet: 3D attention residual U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.augmentation import brainunet_transforms
from autoseg.losses.losses import SegmentationLoss, TverskyLoss
from autoseg.training.trainer import Trainer


class brainunet(Trainer):
    """BrainUNet (arXiv 2509.09469).

    Stated there: attention gates, residual blocks, Tversky loss, flips, scaling, gamma, simulated motion and
    ghosting, percentile clipping and intensity normalisation. Defaults of ours, since nothing documents
    them: the percentiles 0.5 and 99.5 of the brain (the nonzero region) and a z-score within it, widths 32 to
    512, alpha 0.3 (false positives) and beta 0.7 (false negatives), Adam with decoupled weight decay, cosine
    schedule, 150 epochs. The second of its two stages (pre-training on a large data set, fine-tuning on a
    small one) has a tenth of the rate, which is ours as well. So is a cross-entropy beside the Tversky loss
    that fades out over the first tenth of a training: without it, trainings were seen in which one of two
    structures falls silent in the first steps and never comes back.
    """

    architecture = "brainunet"
    preferred_dimension = 3
    documented = True
    normalization = "percentile"
    paper = "Sidume et al., arXiv 2509.09469 (2025)"
    auto: ClassVar[Mapping[str, int]] = {"3d": 30}

    optimizer_name = "adamw"
    learning_rate = 1e-3
    weight_decay = 1e-4
    schedule = "cosine"
    warmup = 0.02
    pretrained_rate = 0.1
    entropy_warmup = 0.1
    epochs = 150
    deep_supervision = False

    get_training_transforms = staticmethod(brainunet_transforms)

    def make_loss(self) -> SegmentationLoss:
        """Tversky loss."""
        self._tversky = TverskyLoss(self.label_manager, alpha=0.3, beta=0.7)
        return self._tversky

    def set_learning_rate(self, progress: float) -> float:
        """Set the learning rate, and how much of the cross-entropy is left."""
        left = 1 - progress / self.entropy_warmup if self.entropy_warmup else 0.0
        self._tversky.entropy_weight = max(0.0, left)
        return super().set_learning_rate(progress)
