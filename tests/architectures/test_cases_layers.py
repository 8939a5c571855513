"""Normalisation and concatenation of channels-last maps compute what torch's compute; gradients are dense."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from network_facts import build
from torch import Tensor, nn
from torch.nn import functional

from autoseg.architectures import plain_layers, prepare_for_cpu
from autoseg.architectures._cases import concatenate, normalise_each

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def maps(channels: int, axes: int, cases: int = 3, kind: torch.dtype = torch.float32) -> Tensor:
    shape = (cases, channels, *(4, 6, 5)[:axes])
    return (3 + 2 * torch.randn(shape)).to(kind).to(memory_format=LAST[axes + 2]).requires_grad_()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("cases", [1, 3])
def test_cases_are_normalised_as_torch_does(axes: int, affine: bool, cases: int) -> None:
    torch.manual_seed(0)
    x = maps(6, axes, cases)
    weight, bias = (torch.randn(6, requires_grad=True) if affine else None for _ in range(2))
    wanted = functional.instance_norm(x, weight=weight, bias=bias, eps=1e-5)
    found = normalise_each(x, weight, bias, 1e-5)
    assert found.is_contiguous(memory_format=LAST[axes + 2])
    torch.testing.assert_close(found, wanted)
    leaves = [each for each in (x, weight, bias) if each is not None]
    slope = torch.randn_like(wanted)
    for a, b in zip(
        torch.autograd.grad(found, leaves, slope), torch.autograd.grad(wanted, leaves, slope), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, True), (True, True, False)])
def test_only_the_gradients_that_are_asked_for_are_computed(wanted: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    x, weight, bias = maps(4, 2), torch.randn(4), torch.randn(4)
    leaves = [
        each.detach().requires_grad_(flag) for each, flag in zip((x, weight, bias), wanted, strict=True)
    ]
    normalise_each(leaves[0], leaves[1], leaves[2], 1e-5).square().sum().backward()
    assert tuple(each.grad is not None for each in leaves) == wanted


def test_cases_in_bf16_are_normalised_in_the_precision_of_the_weights() -> None:
    torch.manual_seed(0)
    x = maps(6, 3, kind=torch.bfloat16)
    weight, bias = torch.randn(6, requires_grad=True), torch.randn(6, requires_grad=True)
    found = normalise_each(x, weight, bias, 1e-5)
    assert found.dtype == torch.bfloat16
    wanted = functional.instance_norm(x.float(), weight=weight, bias=bias, eps=1e-5)
    torch.testing.assert_close(found.float(), wanted, rtol=1e-2, atol=1e-2)
    found.float().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
    assert weight.grad is not None and weight.grad.dtype == torch.float32


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [(4, 4), (2, 5, 3)])
def test_parts_are_joined_and_their_gradients_are_dense(axes: int, channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    parts = [maps(each, axes) for each in channels]
    seen: list[Any] = []
    for part in parts:
        part.register_hook(lambda gradient: seen.append(gradient.is_contiguous(memory_format=LAST[axes + 2])))
    found = concatenate(parts)
    assert torch.equal(found, torch.cat(parts, 1))
    slope = torch.randn_like(found)
    gradients = torch.autograd.grad(found, parts, slope)
    for gradient, wanted in zip(gradients, slope.split(channels, 1), strict=True):
        assert torch.equal(gradient, wanted)
    assert len(seen) == len(parts) and all(seen)


def test_other_layouts_are_left_to_torch() -> None:
    parts = [torch.randn(2, 3, 4, 4, requires_grad=True) for _ in range(2)]
    assert type(concatenate(parts).grad_fn).__name__ == "CatBackward0"


@pytest.mark.parametrize("supervised", [True, False])
@pytest.mark.parametrize("name", ["nnunet", "nnunet_resenc"])
def test_nnunets_decoder_joins_so_and_is_given_back(name: str, supervised: bool) -> None:
    torch.manual_seed(0)
    network = build(name, 1, 3, (64, 32, 32), deep_supervision=supervised)
    prepared = copy.deepcopy(network)
    prepare_for_cpu(prepared)
    x = torch.randn(1, 1, 64, 32, 32).to(memory_format=torch.channels_last_3d)
    ours, theirs = prepared(x), network(x)
    for a, b in zip(*([each] if isinstance(each, Tensor) else each for each in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    kinds = [type(module) for module in network.modules()]
    assert [type(module) for module in plain_layers(prepared).modules()] == kinds
    assert isinstance(prepared, nn.Module)
