"""DeepMRSeg: residual inception U-Net."""

from __future__ import annotations

from autoseg.augmentation import deepmrseg_transforms
from autoseg.losses import DeepMRSegLoss, SegmentationLoss
from autoseg.trainers._base import Trainer


class deepmrseg(Trainer):
    """DeepMRSeg (Doshi et al., arXiv 1907.02110).

    Stated there: residual inception blocks, 1x1 convolutions in place of pooling, 2D slices. From the
    authors' repository: 16 features, depth 4, the loss 50 IoU + 50 (exponential error + cross-entropy),
    batch 8, augmentation, no deep supervision. Ours: AdamW at 1e-3 (the repository's Adam at 0.05 with
    epsilon 0.1 is fragile) and a cosine schedule. Not here yet: averaging the best checkpoints and the
    three orientations.
    """

    architecture = "deepmrseg"
    preferred_dimension = 2
    documented = True
    paper = "Doshi et al., arXiv 1907.02110 (2019)"
    smallest_batch = 8

    optimizer_name = "adamw"
    learning_rate = 1e-3
    weight_decay = 1e-4
    schedule = "cosine"
    warmup = 0.02
    epochs = 100
    deep_supervision = False
    gradient_clip = 1200.0
    mirroring = False

    get_training_transforms = staticmethod(deepmrseg_transforms)

    def make_loss(self) -> SegmentationLoss:
        """DeepMRSeg's loss; its scale of 100 is no matter to AdamW, but the clip is."""
        return DeepMRSegLoss(self.label_manager)
