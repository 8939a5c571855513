"""The layers that are fast, and right in bf16, on a CPU compute what torch's compute."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from network_facts import build
from torch import Tensor, nn

from autoseg.architectures import _convolution, prepare_for_cpu
from autoseg.architectures._convolution import Conv2d, Conv3d
from autoseg.architectures._cpu import Dropout, InstanceNorm3d, TransposedConv2d, TransposedConv3d
from autoseg.architectures._depthwise import (
    DepthwiseConv2d,
    DepthwiseConv3d,
    DepthwiseTransposed2d,
    DepthwiseTransposed3d,
)

LAYOUT = {4: torch.channels_last, 5: torch.channels_last_3d}


def run(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The result and all gradients of a layer, in float32."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    weights = torch.linspace(-1, 1, y.numel()).view_as(y)
    (y.float() * weights).sum().backward()
    gradients = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    return [y.detach().float(), x.grad.float(), *gradients]


def agree(ours: nn.Module, theirs: nn.Module, x: Tensor, **tolerance: float) -> None:
    ours.load_state_dict(theirs.state_dict())
    for a, b in zip(run(ours, x), run(theirs, x), strict=True):
        torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("channels", [6, 24, 32])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("last", [True, False])
def test_depthwise_convolutions(channels: int, kernel: int, stride: Any, last: bool) -> None:
    torch.manual_seed(0)
    for axes in (2, 3):
        step = stride[:axes]
        size = (5, 8, 7)[:axes]
        args = (channels, channels, kernel, step, kernel // 2)
        kinds: Any = {
            2: [(DepthwiseConv2d, nn.Conv2d), (DepthwiseTransposed2d, nn.ConvTranspose2d)],
            3: [(DepthwiseConv3d, nn.Conv3d), (DepthwiseTransposed3d, nn.ConvTranspose3d)],
        }[axes]
        x = torch.randn(2, channels, *size)
        if last:
            x = x.to(memory_format=LAYOUT[x.ndim])
        for ours, theirs in kinds:
            agree(ours(*args, groups=channels), theirs(*args, groups=channels), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_instance_norm(batch: int) -> None:
    torch.manual_seed(0)
    theirs = nn.InstanceNorm3d(6, affine=True)
    nn.init.normal_(theirs.weight)
    x = torch.randn(batch, 6, 4, 5, 3).to(memory_format=torch.channels_last_3d)
    agree(InstanceNorm3d(6, affine=True), theirs, x, rtol=1e-4, atol=1e-4)
    assert InstanceNorm3d(6, affine=True)(x).is_contiguous(memory_format=torch.channels_last_3d)


def test_instance_norm_of_one_voxel_is_its_bias() -> None:
    layer = InstanceNorm3d(3, affine=True)
    nn.init.constant_(layer.bias, 0.5)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        x = torch.randn(1, 3, 1, 1, 1).to(memory_format=layout)
        torch.testing.assert_close(layer(x), torch.full_like(x, 0.5))


@pytest.mark.parametrize(
    ("kernel", "stride"), [((2, 2, 2), (2, 2, 2)), ((1, 2, 2), (1, 2, 2)), (1, (2, 2, 2))]
)
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions_in_bf16(kernel: Any, stride: Any, bias: bool) -> None:
    torch.manual_seed(0)
    for ours, theirs, axes in (
        (TransposedConv3d, nn.ConvTranspose3d, 3),
        (TransposedConv2d, nn.ConvTranspose2d, 2),
    ):
        args = (8, 6, kernel if kernel == 1 else kernel[-axes:], stride[-axes:])
        x = torch.randn(2, 8, *(4, 5, 3)[:axes])
        x = x.to(memory_format=LAYOUT[x.ndim])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            agree(ours(*args, bias=bias), theirs(*args, bias=bias), x, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: Conv3d(16, 16, 3, padding=1), (2, 4, 4)),
        (lambda: Conv3d(16, 16, 5, padding=2), (4, 6, 6)),
        (lambda: Conv3d(16, 16, 3, stride=2, padding=1), (8, 2, 1)),
        (lambda: Conv2d(16, 16, 3, stride=2, padding=1), (8, 1)),
        (lambda: Conv2d(16, 32, 3, stride=2, padding=1), (16, 2)),
        (lambda: Conv3d(16, 16, 3, stride=2, padding=1), (8, 6, 2)),
        (lambda: DepthwiseConv3d(16, 16, 3, padding=1, groups=16), (2, 4, 4)),
        (lambda: DepthwiseConv3d(16, 16, 5, padding=2, groups=16), (3, 4, 4)),
        # Few windows, which go through one matrix product.
        (lambda: Conv2d(16, 8, 3, padding=1), (2, 2)),
        (lambda: Conv2d(16, 8, 3, padding=1, bias=False), (1, 1)),
        (lambda: Conv2d(16, 8, (3, 2), stride=(2, 1), padding=(1, 0)), (4, 3)),
        (lambda: Conv2d(16, 8, 2, stride=2), (4, 5)),
        (lambda: Conv3d(16, 8, 3, padding=1), (2, 2, 2)),
        (lambda: Conv3d(16, 8, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)), (2, 4, 4)),
    ],
)
def test_gradients_in_bf16_are_right_where_the_library_is_wrong(make: Any, size: Any) -> None:
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(2, 16, *size)
    x = x.to(memory_format=LAYOUT[x.ndim])
    expected = run(layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(layer, x)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()


@pytest.mark.parametrize(
    ("layer", "size", "taken"),
    [
        (Conv2d(4, 4, 3, padding=1), (2, 2), True),
        (Conv2d(4, 4, 3, padding=1, stride=2), (4, 3), True),
        (Conv2d(4, 4, 3, padding=1), (4, 3), False),
        (Conv2d(4, 4, 1), (2, 2), False),
        (Conv2d(4, 4, 3, padding=2, dilation=2), (2, 2), False),
        (Conv2d(4, 4, 3, padding=1, groups=2), (2, 2), False),
    ],
)
def test_one_product_is_for_few_windows_in_bf16(
    layer: nn.Module, size: tuple[int, ...], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    over_windows = _convolution._over_windows
    monkeypatch.setattr(_convolution, "_over_windows", lambda *a: calls.append(1) or over_windows(*a))
    x = torch.randn(2, 4, *size)
    layer(x)
    assert not calls
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x)
    assert bool(calls) == taken


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout(rate: float, layout: torch.memory_format) -> None:
    layer = Dropout(rate)
    x = torch.ones(2, 5, 101, 103).to(memory_format=layout).requires_grad_()
    torch.manual_seed(0)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(x.grad, y)
    assert y.stride() == x.stride()
    assert set(y.unique().tolist()) == {0.0, torch.tensor(1 / (1 - rate)).item()}
    # Within five standard deviations of the rate, and as often in the halves of the image.
    for part in (y, y[:, :, :50], y[:, :, 51:]):
        dropped = (part == 0).float().mean().item()
        assert abs(dropped - rate) < 5 * (rate * (1 - rate) / part.numel()) ** 0.5
    torch.manual_seed(0)
    assert torch.equal(layer(x), y)
    assert layer.eval()(x) is x


def test_a_foreign_network_keeps_its_names_and_its_results() -> None:
    torch.manual_seed(0)
    network = build("nnunet", 1, 3, (16, 16, 16), stages=3, width=8)
    prepared = copy.deepcopy(network)
    # 10 convolutions of 2 per stage, each with a norm; 2 transposed; 2 heads; the decoder.
    assert prepare_for_cpu(prepared) == 10 + 10 + 2 + 2 + 1
    assert prepare_for_cpu(prepared) == 0
    assert list(prepared.state_dict()) == list(network.state_dict())
    x = torch.randn(2, 1, 16, 16, 16).to(memory_format=torch.channels_last_3d)
    ours, theirs = run(prepared, x), run(network, x)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-4, atol=1e-4)
    # All at once: the gradient of a bias before a norm is zero but for rounding.
    a, b = (torch.cat([gradient.flatten() for gradient in each[1:]]) for each in (ours, theirs))
    assert (a - b).norm() < 1e-4 * b.norm()


def test_layers_of_other_settings_are_left_alone() -> None:
    layers = nn.Sequential(
        nn.InstanceNorm3d(4, track_running_stats=True),
        nn.ConvTranspose3d(4, 4, 3, stride=2),
        nn.ConvTranspose3d(4, 4, 2, stride=2, groups=2),
        nn.Conv3d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm3d(4),
    )
    assert prepare_for_cpu(layers) == 0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_single_sample_is_convolved_by_onednn_as_two_are(stride: int, bias: bool) -> None:
    """torch would unfold it, which takes ten times as long; with a gradient its own way stays."""
    layer = Conv3d(8, 12, 3, stride=stride, padding=1, bias=bias).to(memory_format=torch.channels_last_3d)
    x = torch.randn(1, 8, 9, 10, 11).to(memory_format=torch.channels_last_3d)
    expected = nn.functional.conv3d(x, layer.weight, layer.bias, stride, 1)
    with torch.inference_mode(), torch.profiler.profile() as seen:
        found = layer(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    if torch.backends.mkldnn.is_available():
        names = {event.key for event in seen.key_averages()}
        assert "aten::mkldnn_convolution" in names and "aten::slow_conv3d_forward" not in names
    layer(x).sum().backward()
    assert layer.weight.grad is not None and bool(torch.isfinite(layer.weight.grad).all())


@pytest.mark.parametrize("axes", [2, 3])
def test_fast_layers_leave_the_batch_open_where_a_network_is_written_for_another_program(axes: int) -> None:
    network = nn.Sequential(
        (nn.Conv2d, nn.Conv3d)[axes - 2](1, 4, 3, padding=1),
        (nn.InstanceNorm2d, nn.InstanceNorm3d)[axes - 2](4, affine=True),
        (nn.Conv2d, nn.Conv3d)[axes - 2](4, 4, 3, padding=1, groups=4),
        (nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 2](4, 2, 2, 2),
    ).eval()
    assert prepare_for_cpu(network) == 4
    image = torch.randn(2, 1, *(8, 6, 10)[:axes])
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        written = torch.export.export(network, (image,), dynamic_shapes=({0: batch},), strict=False).module()
        for part in (image, image[:1]):
            torch.testing.assert_close(written(part), network(part))
