"""Loss functions, all called as ``loss(logits, target)`` with nnU-Net's shapes.

Without regions the logits go through a softmax and the target holds one label per voxel, (b, 1, ...). With
regions they go through a sigmoid and the target holds one channel per region, (b, r, ...), and the ignore
mask as last channel where there is an ignore label. A loss sees one output; a wrapper weighs several with
`SegmentationLoss.output_weights`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.losses.base import LabelScheme, Scheme, SegmentationLoss, masked_mean, soft_counts, tversky_index

__all__ = [
    "DeepMRSegLoss",
    "DiceBinaryCrossEntropyLoss",
    "DiceCrossEntropyLoss",
    "LabelScheme",
    "Scheme",
    "SegmentationLoss",
    "TverskyLoss",
]


class TverskyLoss(SegmentationLoss):
    """1 - Tversky index, averaged over the foreground heads (Salehi et al., MLMI 2017).

    Args:
        labels: kind of heads, and the ignore label.
        alpha: weight of false positives.
        beta: weight of false negatives; above alpha, missing voxels cost more than surplus ones. With 0.5
            each the index is the soft Dice.
        batch_dice: whether to count over the batch, or per sample and average.
        smooth: added to numerator and denominator.

    Attributes:
        entropy_weight: weight of an added cross-entropy, 0 at first. A head that falls silent early stays so
            under this loss alone: where its probability is next to nothing, so is the gradient.
    """

    def __init__(
        self,
        labels: LabelScheme,
        alpha: float = 0.3,
        beta: float = 0.7,
        batch_dice: bool = True,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(labels)
        self.alpha, self.beta, self.batch_dice, self.smooth = alpha, beta, batch_dice, smooth
        self.entropy_weight = 0.0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output."""
        probabilities = self.foreground(self.probabilities(logits))
        hot = self.foreground(self.one_hot(target, logits))
        counts = soft_counts(probabilities, hot, self.mask(target), self.batch_dice)
        loss: Tensor = 1 - tversky_index(*counts, self.alpha, self.beta, self.smooth).mean()
        if self.entropy_weight:
            loss = loss + self.entropy_weight * self.cross_entropy(logits, target)
        return loss


class DiceCrossEntropyLoss(SegmentationLoss):
    """Cross-entropy minus soft Dice of the foreground, equal in value to nnU-Net's default loss.

    Args:
        labels: kind of heads, and the ignore label.
        batch_dice: whether Dice counts over the batch, or per sample.
        smooth: added to Dice's numerator and denominator.
        dice_weight: weight of Dice.
        entropy_weight: weight of the cross-entropy.
    """

    def __init__(
        self,
        labels: LabelScheme,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        dice_weight: float = 1.0,
        entropy_weight: float = 1.0,
    ) -> None:
        super().__init__(labels)
        # Dice is the Tversky index of equal weights; its terms are twice as large, so is its smoothing.
        self.dice = TverskyLoss(labels, 0.5, 0.5, batch_dice, smooth / 2)
        self.dice_weight, self.entropy_weight = dice_weight, entropy_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output."""
        dice: Tensor = self.dice(logits, target) - 1
        return self.dice_weight * dice + self.entropy_weight * self.cross_entropy(logits, target)


class DiceBinaryCrossEntropyLoss(SegmentationLoss):
    """Binary cross-entropy plus 1 - soft Dice, over the foreground heads, Dice pooled over the batch.

    The loss of segmentation_models' ``bce_dice_loss``, for any number of heads.

    Args:
        labels: kind of heads, and the ignore label.
        batch_dice: whether Dice counts over the batch, or per sample.
        smooth: added to Dice's numerator and denominator.
    """

    def __init__(self, labels: LabelScheme, batch_dice: bool = True, smooth: float = 1e-5) -> None:
        super().__init__(labels)
        self.dice = TverskyLoss(labels, 0.5, 0.5, batch_dice, smooth / 2)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output."""
        hot = self.foreground(self.one_hot(target, logits))
        binary = self.foreground(self.binary_logits(logits))
        each = F.binary_cross_entropy_with_logits(binary, hot, reduction="none")
        dice: Tensor = self.dice(logits, target)
        return masked_mean(each, self.mask(target)) + dice


class DeepMRSegLoss(SegmentationLoss):
    """a IoU + (100 - a) (exponential error + binary cross-entropy) (Doshi et al., arXiv 1907.02110).

    IoU is the mean of (1 - soft IoU)^g over the heads present in a sample, background among them; the
    exponential error is the mean of exp|y - p| - 1.

    Args:
        labels: kind of heads, and the ignore label.
        alpha: a, weight of IoU of 100.
        gamma: g.
        smooth: added to IoU's numerator and denominator.
    """

    def __init__(
        self, labels: LabelScheme, alpha: float = 50.0, gamma: float = 1.0, smooth: float = 1e-5
    ) -> None:
        super().__init__(labels)
        self.alpha, self.gamma, self.smooth = alpha, gamma, smooth

    def output_weights(self, outputs: int) -> tuple[float, ...]:
        """1, 1/2 and 1/4 for the outputs at full, half and quarter size; nothing for smaller ones."""
        return tuple(0.5**level if level < 3 else 0.0 for level in range(outputs))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of one output."""
        mask, hot = self.mask(target), self.one_hot(target, logits)
        probabilities = self.probabilities(logits)
        error = torch.expm1((hot - probabilities).abs())
        binary = self.binary_logits(logits)
        entropy = F.binary_cross_entropy_with_logits(binary, hot, reduction="none")
        iou = self._iou_loss(probabilities, hot, mask)
        return self.alpha * iou + (100 - self.alpha) * masked_mean(error + entropy, mask)

    def _iou_loss(self, probabilities: Tensor, hot: Tensor, mask: Tensor | None) -> Tensor:
        counts = soft_counts(probabilities, hot, mask, pooled=False)
        missing = 1 - tversky_index(*counts, 1.0, 1.0, self.smooth)
        present = (counts[0] + counts[2]) > 0.5  # voxels of the head in the reference
        return (missing.clamp(min=0) ** self.gamma * present).sum() / present.sum().clamp(min=1)
