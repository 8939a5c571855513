"""A step is clipped, and left out where it would spoil the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from autoseg.training.gradient_step import take_step


@pytest.mark.parametrize("spoiled", (math.nan, math.inf, -math.inf))
def test_a_step_whose_gradients_are_not_finite_leaves_weights_and_optimizer_alone(spoiled: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], 0.1)
    weight.grad = torch.tensor([1.0, spoiled, 1.0])
    assert not take_step(optimizer, [weight], 12.0)
    assert torch.equal(weight.detach(), torch.ones(3))
    assert not optimizer.state
    weight.grad = torch.ones(3)
    assert take_step(optimizer, [weight], 12.0)
    assert torch.isfinite(weight).all() and not torch.equal(weight.detach(), torch.ones(3))


def test_gradients_are_clipped_to_the_norm_of_all_together() -> None:
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[1].grad = torch.tensor([30.0]), torch.tensor([-40.0])
    assert take_step(torch.optim.SGD(weights, 1.0), weights, 5.0)
    assert [weight.item() for weight in weights] == pytest.approx([-3.0, 4.0], rel=1e-4)
