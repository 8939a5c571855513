"""Passes that are left out: where they change nothing, and where they are counted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from autoseg.bundle.tiles import mirrorings
from autoseg.inference.sliding_window import predict_logits
from autoseg.inference.window_passes import Certainty, Passes, opposite_pairs

PATCH = (6, 8, 8)


class Counting(nn.Module):
    """A network with random weights that counts the inputs that it was given."""

    def __init__(self, heads: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv3d(1, heads, 3, padding=1)
        self.inputs = 0

    def forward(self, batch: Tensor) -> list[Tensor]:
        self.inputs += len(batch)
        return [self.layer(batch) * 3, torch.empty(0)]


def usual(network: nn.Module, batch: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean over mirrored copies, one after the other."""
    with torch.no_grad():
        parts = [network(batch.flip(each))[0].flip(each) for each in mirrorings(axes)]
    return torch.stack(parts).mean(0)


def passes(network: nn.Module, axes: tuple[int, ...] = (0, 1, 2), **fields: object) -> Passes:
    return Passes([network], PATCH, mirrorings(axes), 4, **fields)  # type: ignore[arg-type]


@torch.no_grad()
def test_windows_of_one_value_are_predicted_once_and_like_any_other() -> None:
    network = Counting()
    batch = torch.randn(5, 1, *PATCH, generator=torch.Generator().manual_seed(1))
    batch[1], batch[3], batch[4] = 0.0, 0.0, -2.5
    expected = usual(network, batch, (0, 1, 2))
    network.inputs = 0
    through = passes(network)
    assert torch.allclose(through.predict(batch), expected, atol=1e-5)
    assert network.inputs == 2 * 8 + 2
    assert torch.allclose(through.predict(batch[1:2]), expected[1:2], atol=1e-5)
    assert network.inputs == 2 * 8 + 2


@torch.no_grad()
def test_an_image_with_empty_surroundings_gives_the_same_logits() -> None:
    network = Counting()
    image = torch.zeros(1, 12, 40, 40)
    image[:, 3:9, 12:20, 12:20] = torch.randn(1, 6, 8, 8)
    whole = predict_logits(network, image, PATCH, mirror_axes=(0, 1, 2))
    with_blanks, network.inputs = network.inputs, 0
    # A second channel that is never the same hides that a window is empty from all but the first weights.
    noisy = image + 1e-12 * torch.rand_like(image)
    plain = predict_logits(network, noisy, PATCH, mirror_axes=(0, 1, 2))
    assert torch.allclose(whole, plain, atol=1e-4)
    assert with_blanks < network.inputs / 2


@torch.no_grad()
def test_certain_windows_have_no_mirrored_copies_and_the_others_all() -> None:
    network = Counting()
    batch = torch.randn(4, 1, *PATCH, generator=torch.Generator().manual_seed(2))
    batch[:2] = 40 + batch[:2]  # far from where two labels are equally likely
    network.layer.bias.data += torch.tensor([0.0, 0.0, 0.0])
    certainty = Certainty(share=0.02)
    found = passes(network, certainty=certainty).predict(batch)
    margins = network(batch)[0].topk(2, dim=1).values
    doubt = (margins[:, 0] - margins[:, 1] < math.log(9)).flatten(1).any(1)
    assert doubt[2:].all()
    assert certainty.windows == 4 and certainty.certain == 2 and certainty.saved == 0.5
    assert torch.allclose(found[2:], usual(network, batch[2:], (0, 1, 2)), atol=1e-4)
    assert torch.allclose(found[:2], network(batch[:2])[0], atol=1e-3)


@torch.no_grad()
def test_regions_are_in_doubt_around_their_threshold() -> None:
    certainty = Certainty(share=0.5)
    logits = torch.full((2, 2, *PATCH), 8.0)
    logits[1, 1] = 0.1
    assert certainty.doubtful(logits, torch.ones(PATCH), regions=True).tolist() == [False, True]


@torch.no_grad()
@pytest.mark.parametrize("share", [-1.0, 2.0])
def test_the_limits_are_all_copies_and_none(share: float) -> None:
    network = Counting()
    batch = torch.randn(3, 1, *PATCH)
    found = passes(network, certainty=Certainty(share=share)).predict(batch)
    expected = usual(network, batch, (0, 1, 2)) if share < 0 else network(batch)[0]
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_few_copies_are_as_unlike_as_can_be(axes: tuple[int, ...]) -> None:
    whole = mirrorings(axes)
    found = opposite_pairs(whole)
    assert sorted(found) == sorted(whole) and found[0] == ()
    # Of each pair every axis is mirrored in one, and of any even number in half of them.
    for few in range(2, len(found) + 1, 2):
        assert all(sum(axis in each for each in found[:few]) == few / 2 for axis in whole[-1])


@torch.no_grad()
def test_a_window_in_doubt_has_so_many_copies_and_they_are_counted() -> None:
    network = Counting()
    batch = torch.randn(3, 1, *PATCH, generator=torch.Generator().manual_seed(3))
    whole = mirrorings((0, 1, 2))
    for copies, mirrored in ((2, [(), (2, 3, 4)]), (4, [(), (2, 3, 4), (2,), (3, 4)]), (None, whole)):
        certainty = Certainty(share=-1.0, copies=copies)
        network.inputs = 0
        found = passes(network, certainty=certainty).predict(batch)
        assert network.inputs == certainty.passes == 3 * len(mirrored)
        expected = torch.stack([network(batch.flip(axes))[0].flip(axes) for axes in mirrored]).mean(0)
        assert torch.allclose(found, expected, atol=1e-5)
        assert certainty.all_passes == 24 and certainty.passes_saved == 1 - len(mirrored) / 8
    certainty = Certainty(share=2.0, copies=2)
    passes(network, certainty=certainty).predict(batch)
    assert certainty.passes == 3 and certainty.certain == 3
