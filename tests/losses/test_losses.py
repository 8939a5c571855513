"""Losses: equal to their peers where definitions agree, deaf to ignored voxels, right in the limits."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autoseg.losses.losses import (
    DeepMRSegLoss,
    DiceBinaryCrossEntropyLoss,
    DiceCrossEntropyLoss,
    Scheme,
    SegmentationLoss,
    TverskyLoss,
)

LOSSES = [TverskyLoss, DiceCrossEntropyLoss, DiceBinaryCrossEntropyLoss, DeepMRSegLoss]
HEADS = 3
IGNORE = 3


def logits_and_labels(shape: tuple[int, ...] = (2, 6, 7), seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch, *space = shape
    logits = 2 * torch.randn((batch, HEADS, *space), generator=generator)
    return logits, torch.randint(0, HEADS, (batch, 1, *space), generator=generator)


def logits_and_regions(ignore: bool, shape: tuple[int, ...] = (2, 6, 7)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    batch, *space = shape
    logits = 2 * torch.randn((batch, HEADS, *space), generator=generator)
    channels = HEADS + int(ignore)
    return logits, torch.rand((batch, channels, *space), generator=generator) < 0.4


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("ignore", [None, IGNORE])
@pytest.mark.parametrize("shape", [(2, 6, 7), (3, 4, 5, 6)])
def test_dice_cross_entropy_equals_nnunet_on_labels(batch_dice, ignore, shape):
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    settings_ = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    stock = DC_and_CE_loss(settings_, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    logits, target = logits_and_labels(shape)
    if ignore is not None:
        target[:, :, :2] = ignore
    ours = DiceCrossEntropyLoss(Scheme(ignore_label=ignore), batch_dice=batch_dice)
    torch.testing.assert_close(ours(logits, target), stock(logits, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("ignore", [False, True])
def test_dice_cross_entropy_equals_nnunet_on_regions(batch_dice, ignore):
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    settings_ = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": True, "ddp": False}
    stock = DC_and_BCE_loss({}, settings_, use_ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    logits, target = logits_and_regions(ignore)
    ours = DiceCrossEntropyLoss(Scheme(True, IGNORE if ignore else None), batch_dice=batch_dice)
    torch.testing.assert_close(ours(logits, target), stock(logits, target), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.7), (0.5, 0.5), (0.9, 0.2)])
def test_tversky_equals_monai(batch, alpha, beta):
    from monai.losses import TverskyLoss as Peer

    peer = Peer(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        alpha=alpha,
        beta=beta,
        batch=batch,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )
    logits, target = logits_and_labels()
    ours = TverskyLoss(Scheme(), alpha, beta, batch_dice=batch)
    torch.testing.assert_close(ours(logits, target), peer(logits, target), rtol=1e-5, atol=1e-6)


def test_tversky_equals_monai_on_regions():
    from monai.losses import TverskyLoss as Peer

    peer = Peer(sigmoid=True, alpha=0.3, beta=0.7, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    logits, target = logits_and_regions(ignore=False)
    ours = TverskyLoss(Scheme(has_regions=True))
    torch.testing.assert_close(ours(logits, target), peer(logits, target.float()), rtol=1e-5, atol=1e-6)


def test_tversky_of_equal_weights_is_soft_dice():
    from monai.losses import DiceLoss

    logits, target = logits_and_labels()
    peer = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5)
    ours = TverskyLoss(Scheme(), 0.5, 0.5, batch_dice=False, smooth=5e-6)
    torch.testing.assert_close(ours(logits, target), peer(logits, target), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(alpha=st.floats(0.05, 0.45), wrong=st.integers(1, 8))
def test_beta_above_alpha_makes_misses_dearer_than_surplus(alpha, wrong):
    """The same number of voxels missed costs more than that number invented."""
    target = torch.zeros((1, 1, 10, 4), dtype=torch.long)
    target[:, :, :4] = 1
    missed, surplus = target.clone().reshape(-1), target.clone().reshape(-1)
    missed[:wrong] = 0
    surplus[16 : 16 + wrong] = 1
    loss = TverskyLoss(Scheme(), alpha, 1 - alpha)
    costs = [float(loss(_certain(labels.reshape(target.shape)), target)) for labels in (missed, surplus)]
    assert costs[0] > costs[1] > 0


def _certain(labels: Tensor, heads: int = 2) -> Tensor:
    hot = torch.nn.functional.one_hot(labels[:, 0], heads).movedim(-1, 1).float()
    return 60 * hot - 30


@pytest.mark.parametrize("kind", LOSSES)
def test_a_certain_and_right_answer_is_the_minimum(kind):
    target = torch.arange(HEADS).repeat(20)[None, None].reshape(1, 1, 6, 10)
    best = float(kind(Scheme())(_certain(target, HEADS), target))
    assert best == pytest.approx(-1.0 if kind is DiceCrossEntropyLoss else 0.0, abs=1e-4)
    assert float(kind(Scheme())(_certain(target.roll(1, -1), HEADS), target)) > best + 0.3


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("regions", [False, True])
def test_ignored_voxels_have_no_gradient_and_no_say(kind, regions):
    loss = kind(Scheme(regions, IGNORE))
    logits, target = logits_and_regions(ignore=True) if regions else logits_and_labels()
    ignored = torch.zeros((2, 1, 6, 7), dtype=torch.bool)
    ignored[:, :, :, :3] = True
    if regions:
        target[:, -1:] = ignored
    else:
        target = target.masked_fill(ignored, IGNORE)
    logits.requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.all(gradient[ignored.expand_as(gradient)] == 0)
    assert torch.all(gradient[~ignored.expand_as(gradient)] != 0)
    elsewhere = torch.where(ignored, 5 * torch.randn(logits.shape), logits)
    torch.testing.assert_close(loss(elsewhere, target), value)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("regions", [False, True])
def test_a_batch_without_any_annotation_is_finite(kind, regions):
    logits, target = logits_and_regions(ignore=True) if regions else logits_and_labels()
    target = torch.ones_like(target) if regions else torch.full_like(target, IGNORE)
    logits.requires_grad_()
    value = kind(Scheme(regions, IGNORE))(logits, target)
    value.backward()
    assert math.isfinite(value.item()) and torch.all(logits.grad == 0)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("regions", [False, True])
def test_gradient_is_the_slope(kind, regions):
    logits, target = logits_and_regions(ignore=False) if regions else logits_and_labels()
    logits, target = logits[:, :, :2, :3].double().requires_grad_(), target[:, :, :2, :3]
    assert torch.autograd.gradcheck(lambda x: kind(Scheme(regions))(x, target), (logits,), atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_binary_logits_are_those_of_the_softmax(scale):
    logits = scale * logits_and_labels()[0].double()
    loss = SegmentationLoss(Scheme())
    torch.testing.assert_close(torch.sigmoid(loss.binary_logits(logits)), torch.softmax(logits, 1))
    assert torch.isfinite(loss.binary_logits(logits)).all()


def test_binary_cross_entropy_of_two_classes_is_the_cross_entropy():
    logits = torch.randn(2, 2, 5, 6)
    target = torch.randint(0, 2, (2, 1, 5, 6))
    combined = DiceBinaryCrossEntropyLoss(Scheme())
    entropy = combined(logits, target) - combined.dice(logits, target)
    torch.testing.assert_close(entropy, torch.nn.functional.cross_entropy(logits, target[:, 0]))


def test_deepmrseg_by_hand():
    """Two voxels, two heads, both certain to 0.8: IoU, exponential error and entropy written out."""
    p = 0.8
    logits = torch.tensor([[[p, 1 - p], [1 - p, p]]]).log().reshape(1, 2, 1, 2)
    target = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    iou = p / (1 + 1 - p)
    expected = 50 * (1 - iou) + 50 * (math.exp(1 - p) - 1 - math.log(p))
    assert float(DeepMRSegLoss(Scheme())(logits, target)) == pytest.approx(expected, rel=1e-4)


def test_deepmrseg_does_not_count_absent_heads():
    logits, target = logits_and_labels()
    target = target.clamp(max=1)
    loss = DeepMRSegLoss(Scheme(), alpha=100)
    two = loss._iou_loss(torch.softmax(logits, 1)[:, :2], loss.one_hot(target, logits)[:, :2], None)
    torch.testing.assert_close(loss(logits, target), 100 * two)


def test_output_weights():
    assert TverskyLoss(Scheme()).output_weights(1) == (1.0,)
    assert TverskyLoss(Scheme()).output_weights(3) == pytest.approx((2 / 3, 1 / 3, 0))
    assert DeepMRSegLoss(Scheme()).output_weights(5) == (1.0, 0.5, 0.25, 0.0, 0.0)


def test_nnunets_label_manager_is_a_label_scheme():
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    plain = LabelManager({"background": 0, "a": 1, "b": 2, "ignore": 3}, None)
    loss = TverskyLoss(plain)
    assert (loss.has_regions, loss.ignore_label) == (False, 3)
    regions = LabelManager({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    assert TverskyLoss(regions).has_regions


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_leave_their_input_alone(kind):
    logits, target = logits_and_labels()
    target[0, 0, 0] = IGNORE
    before = copy.deepcopy((logits, target))
    kind(Scheme(ignore_label=IGNORE))(logits, target)
    assert torch.equal(logits, before[0]) and torch.equal(target, before[1])


def test_a_silent_head_gets_a_gradient_from_the_cross_entropy_alone() -> None:
    target = torch.tensor([0.0, 1, 2, 2]).reshape(1, 1, 4)
    silent = torch.zeros(1, 3, 4)
    silent[:, 2] = -20.0
    pull = []
    for weight in (0.0, 1.0):
        loss, logits = TverskyLoss(Scheme()), silent.clone().requires_grad_()
        loss.entropy_weight = weight
        loss(logits, target).backward()
        assert logits.grad is not None
        pull.append(float(-logits.grad[0, 2, 2:].sum()))
    assert pull[0] < 1e-6 < 0.1 < pull[1]
