"""What the losses are made of: comparable heads and targets, and soft counts of their agreement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LabelScheme(Protocol):
    """What a loss needs to know about the labels; nnU-Net's LabelManager knows it."""

    @property
    def has_regions(self) -> bool:
        """Whether heads are regions, which may overlap."""

    @property
    def ignore_label(self) -> int | None:
        """The label of voxels without a loss."""


@dataclass(frozen=True)
class Scheme:
    """A `LabelScheme` on its own.

    Attributes:
        has_regions: whether heads are regions, which may overlap.
        ignore_label: the label of voxels without a loss.
    """

    has_regions: bool = False
    ignore_label: int | None = None


class SegmentationLoss(nn.Module):
    """Base of all losses: logits and target made comparable, voxel by voxel.

    Args:
        labels: kind of heads, and the ignore label.
    """

    def __init__(self, labels: LabelScheme) -> None:
        super().__init__()
        self.has_regions = labels.has_regions
        self.ignore_label = labels.ignore_label

    def output_weights(self, outputs: int) -> tuple[float, ...]:
        """Weight of each output under deep supervision, largest output first.

        nnU-Net's: halved from level to level, nothing for the smallest, sum 1.
        """
        weights = [0.5**level for level in range(outputs)]
        if outputs > 1:
            weights[-1] = 0.0
        return tuple(weight / sum(weights) for weight in weights)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(b, heads, ...): sigmoid for regions, else softmax."""
        return torch.sigmoid(logits) if self.has_regions else torch.softmax(logits, 1)

    def foreground(self, heads: Tensor) -> Tensor:
        """The heads without background: all of them if they are regions."""
        return heads if self.has_regions else heads[:, 1:]

    def mask(self, target: Tensor) -> Tensor | None:
        """Where there is a loss, (b, 1, ...), boolean; None for everywhere."""
        if self.ignore_label is None:
            return None
        return target[:, -1:] == 0 if self.has_regions else target != self.ignore_label

    def cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean over voxels; binary for regions, where nnU-Net averages over them without an ignore label and
        sums over them with one.
        """
        mask = self.mask(target)
        if self.has_regions:
            hot = self.one_hot(target, logits)
            each = F.binary_cross_entropy_with_logits(logits, hot, reduction="none")
            return each.mean() if mask is None else masked_mean(each.sum(1, keepdim=True), mask)
        ignored = -100 if self.ignore_label is None else self.ignore_label
        each = F.cross_entropy(logits, target[:, 0].long(), ignore_index=ignored, reduction="none")
        return masked_mean(each[:, None], mask)

    def one_hot(self, target: Tensor, logits: Tensor) -> Tensor:
        """The target in shape and type of the logits, 0 or 1; ignored voxels become background."""
        if self.has_regions:
            return target[:, : logits.shape[1]].to(logits.dtype)
        labels = target.long()
        if self.ignore_label is not None:
            labels = labels.masked_fill(labels == self.ignore_label, 0)
        return torch.zeros_like(logits).scatter_(1, labels, 1.0)

    def binary_logits(self, logits: Tensor) -> Tensor:
        """Logits of each head against the rest: sigmoid of them gives `probabilities`."""
        if self.has_regions:
            return logits
        # log sum exp over the other heads, from both sides, never as a difference of large numbers
        edge = torch.full_like(logits[:, :1], -torch.inf)
        before = torch.cat([edge, logits.logcumsumexp(1)[:, :-1]], 1)
        after = torch.cat([logits.flip(1).logcumsumexp(1).flip(1)[:, 1:], edge], 1)
        return logits - torch.logaddexp(before, after)


def soft_counts(
    probabilities: Tensor, hot: Tensor, mask: Tensor | None, pooled: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of p y, p (1 - y) and (1 - p) y: soft true positives, false positives and false negatives.

    Args:
        probabilities: p, (b, heads, ...).
        hot: y, (b, heads, ...), 0 or 1.
        mask: the voxels that count, (b, 1, ...); None for all.
        pooled: whether to sum over the batch.

    Returns:
        Three tensors (b, heads), or (heads,) if pooled.
    """
    axes = (*((0,) if pooled else ()), *range(2, hot.ndim))
    if mask is not None:
        probabilities, hot = probabilities * mask, hot * mask
    true_positive = (probabilities * hot).sum(axes)
    return true_positive, probabilities.sum(axes) - true_positive, hot.sum(axes) - true_positive


def tversky_index(
    true_positive: Tensor,
    false_positive: Tensor,
    false_negative: Tensor,
    alpha: float,
    beta: float,
    smooth: float,
) -> Tensor:
    """TP / (TP + alpha FP + beta FN): Dice for (0.5, 0.5), IoU for (1, 1)."""
    denominator = true_positive + alpha * false_positive + beta * false_negative + smooth
    return (true_positive + smooth) / denominator.clamp(min=1e-8)


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the voxels of a mask and all channels; 0 where the mask is empty.

    Args:
        values: (b, c, ...).
        mask: (b, 1, ...), or None for all voxels.
    """
    if mask is None:
        return values.mean()
    return (values * mask).sum() / (mask.sum() * values.shape[1]).clamp(min=1)
