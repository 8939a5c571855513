"""DeepMRSeg: residual inception U-Net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.augmentation import deepmrseg_transforms
from autoseg.losses.losses import DeepMRSegLoss, SegmentationLoss
from autoseg.training.trainer import Trainer


class deepmrseg(Trainer):
    """DeepMRSeg (Doshi et al., arXiv 1907.02110).

    Stated there: residual inception blocks, 1x1 convolutions in place of pooling, 2D slices. From the
    authors' repository (github.com/CBICA/DeepMRSeg): 16 features, depth 4, the loss 50 IoU + 50 (exponential
    error + cross-entropy), batch 8, augmentation, no deep supervision; the five checkpoints with the lowest
    validation loss (here of an eighth of the training cases, set apart), their softmaxes averaged; three
    networks on axial, sagittal and coronal slices, averaged in the same way (there for the brain mask,
    elsewhere one). Ours: AdamW at 1e-3 (the repository's Adam at 0.05 with epsilon 0.1 is fragile), a cosine
    schedule, the plan's spacing where the repository resamples to 1 mm, and one orientation where slices
    across the others would be stripes. Under a budget the three trainings share a row's time (one orientation
    where that is too little for three), and fewer checkpoints predict where five take too much of it.
    ``best_checkpoints=0`` predicts with the last weights, ``orientations=1`` in one orientation.

    Every orientation is a model of its own that stock nnU-Net trains and predicts;
    `autoseg.inference.ensemble` says how its commands make the same ensemble.
    """

    architecture = "deepmrseg"
    preferred_dimension = 2
    documented = True
    paper = "Doshi et al., arXiv 1907.02110 (2019)"
    # Many short branches keep a processor from its pace; measured beside the others on one core.
    pace = 0.5
    auto: ClassVar[Mapping[str, int]] = {"2d": 80, "slices_mr": 10}
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
    best_checkpoints = 5
    orientations = 3

    get_training_transforms = staticmethod(deepmrseg_transforms)

    def make_loss(self) -> SegmentationLoss:
        """DeepMRSeg's loss; its scale of 100 is no matter to AdamW, but the clip is."""
        return DeepMRSegLoss(self.label_manager)
