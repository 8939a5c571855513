"""The faster gradient of a convolution's kernel is the gradient, and is taken only where it is faster."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from autoseg.architectures import _kernel_gradient as kernel_gradient
from autoseg.architectures._convolution import Conv2d, Conv3d
from autoseg.architectures._cpu import channels_last

CASES = {
    "3D": (Conv3d, 8, 16, (5, 12, 9), (3, 3, 3)),
    "one slice": (Conv3d, 16, 8, (1, 12, 9), (3, 3, 3)),
    "flat kernel": (Conv3d, 16, 8, (4, 12, 9), (1, 3, 3)),
    "fewer slices than the kernel": (Conv3d, 8, 8, (2, 6, 7), (5, 3, 3)),
    "2D in pieces": (Conv2d, 32, 16, (90, 100), (3, 3)),
    "2D, last piece of one row": (Conv2d, 24, 40, (9, 6000), (3, 3)),
}


@pytest.fixture
def avx2_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_gradient, "_has_avx2_alone", lambda: True)


def layer_and_input(name: str, bias: bool = True) -> tuple[nn.Conv2d | nn.Conv3d, torch.Tensor]:
    kind, inputs, outputs, size, kernel = CASES[name]
    torch.manual_seed(0)
    layer = kind(inputs, outputs, kernel, padding=tuple(k // 2 for k in kernel), bias=bias)
    last = channels_last(len(size))
    return layer.to(memory_format=last), torch.randn(2, inputs, *size).contiguous(memory_format=last)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_double_precision(name: str, bias: bool, avx2_alone: None) -> None:
    layer, x = layer_and_input(name, bias)
    exact = copy.deepcopy(layer).double()
    exact_x = x.double().requires_grad_()
    x.requires_grad_()
    assert kernel_gradient.has_fast_way(x, layer)
    upstream = torch.randn_like(layer(x))
    layer(x).backward(upstream)
    exact(exact_x).backward(upstream.double())
    pairs = zip([x, *layer.parameters()], [exact_x, *exact.parameters()], strict=True)
    for found, right in ((a.grad, b.grad) for a, b in pairs):
        assert found is not None and right is not None
        torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-5 * float(right.abs().max()))


def test_twice_the_same_bits(avx2_alone: None) -> None:
    layer, x = layer_and_input("3D")
    upstream = torch.randn_like(layer(x))
    found = []
    for _ in range(2):
        layer.zero_grad()
        layer(x).backward(upstream)
        found.append(layer.weight.grad.clone())
    assert torch.equal(*found)


def test_an_input_without_gradient_gets_none(avx2_alone: None) -> None:
    layer, x = layer_and_input("2D in pieces")
    layer(x).sum().backward()
    assert x.grad is None
    assert layer.weight.grad is not None


def test_elsewhere_torch_computes(avx2_alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_and_input("3D")
    assert kernel_gradient.has_fast_way(x, layer)
    assert not kernel_gradient.has_fast_way(x.contiguous(), layer)
    assert not kernel_gradient.has_fast_way(x.bfloat16(), layer)
    assert not kernel_gradient.has_fast_way(x.to("meta"), layer)
    wide = Conv3d(8, 32, 3, padding=1)
    assert not kernel_gradient.has_fast_way(x, wide)
    for changed in ({"stride": 2}, {"groups": 2}, {"dilation": 2}, {"padding": 0}):
        assert not kernel_gradient.has_fast_way(x, Conv3d(8, 16, 3, **{"padding": 1, **changed}))
    assert not kernel_gradient.has_fast_way(x, Conv3d(8, 16, 1))
    with torch.no_grad():
        assert not kernel_gradient.has_fast_way(x, layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not kernel_gradient.has_fast_way(x, layer)
    layer.weight.requires_grad_(False)
    assert not kernel_gradient.has_fast_way(x, layer)
    layer.weight.requires_grad_(True)
    monkeypatch.setattr(kernel_gradient, "_has_avx2_alone", lambda: False)
    assert not kernel_gradient.has_fast_way(x, layer)


@pytest.mark.parametrize(("capability", "expected"), [("AVX2", True), ("AVX512", False), ("DEFAULT", False)])
def test_only_processors_with_avx2_alone(
    capability: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    kernel_gradient._has_avx2_alone.cache_clear()
    try:
        assert kernel_gradient._has_avx2_alone() is expected
    finally:
        kernel_gradient._has_avx2_alone.cache_clear()


def test_small_2d_maps_stay_with_torch(avx2_alone: None) -> None:
    layer = Conv2d(32, 32, 3, padding=1)
    small = torch.zeros(2, 32, 28, 40).contiguous(memory_format=torch.channels_last)
    large = torch.zeros(2, 32, 160, 224).contiguous(memory_format=torch.channels_last)
    assert not kernel_gradient.has_fast_way(small, layer)
    assert kernel_gradient.has_fast_way(large, layer)
