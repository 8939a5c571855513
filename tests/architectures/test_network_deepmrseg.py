"""DeepMRSeg against its sheet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_facts import build, children, giga_macs, on_meta, parameters, receptive_field
from torch import nn
from torch.nn import functional

from autoseg.architectures._blocks import operators
from autoseg.architectures.deepmrseg import ResidualInception, ResidualUnit
from autoseg.errors import PlanError

IMAGE = (320, 320)
REPOSITORY = {"down_kernel": 2}


def net(channels: int = 1, classes: int = 2, size: Any = IMAGE, **options: Any) -> Any:
    return on_meta("deepmrseg", channels, classes, size, **options)


TABLE = [
    ({"down_kernel": 2}, 2_373_584),
    ({"down_kernel": 1}, 2_243_024),
    ({"down_kernel": 2, "width": 32}, 9_462_048),
    ({"down_kernel": 1, "width": 32}, 8_939_808),
    ({"down_kernel": 2, "width": 64}, 37_783_616),
    ({"down_kernel": 1, "width": 64}, 35_694_656),
    ({"down_kernel": 2, "layers": 1}, 1_383_360),
    ({"down_kernel": 2, "layers": 1, "width": 64}, 22_025_088),
    ({"down_kernel": 2, "lite": True}, 685_744),
    ({"down_kernel": 2, "lite": True, "width": 32}, 2_723_808),
    ({"down_kernel": 2, "lite": True, "width": 64}, 10_856_896),
    ({"down_kernel": 2, "block": "residual"}, 6_769_712),
]


@pytest.mark.parametrize(("options", "count"), TABLE)
def test_parameters_of_the_variants(options: dict[str, Any], count: int) -> None:
    assert parameters(net(**options)) == count


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (4, 8)])
def test_parameters_by_channels_and_classes(channels: int, classes: int) -> None:
    expected = 2_373_088 + 16 * channels + 240 * classes
    assert parameters(net(channels, classes, **REPOSITORY)) == expected


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"down_kernel": 2}, 5_302_608),
        ({"down_kernel": 1}, 4_997_968),
        ({"down_kernel": 2, "width": 32}, 21_178_144),
    ],
)
def test_twin_in_3d(options: dict[str, Any], count: int) -> None:
    assert parameters(net(size=(128, 128, 128), **options)) == count


@pytest.mark.parametrize(
    ("options", "size", "giga"),
    [
        ({"down_kernel": 2}, (320, 320), 16.14),
        ({"down_kernel": 2}, (256, 256), 10.33),
        ({"down_kernel": 2, "width": 32}, (320, 320), 64.2),
        ({"down_kernel": 2, "width": 32}, (256, 256), 41.1),
        ({"down_kernel": 2, "width": 64}, (320, 320), 255.8),
        ({"down_kernel": 2, "width": 64}, (256, 256), 163.7),
        ({"down_kernel": 2}, (128, 128, 128), 712),
    ],
)
def test_work(options: dict[str, Any], size: Any, giga: float) -> None:
    assert sum(giga_macs(net(size=size, **options), 1, size)) == pytest.approx(giga, rel=0.005)


def test_parameters_of_every_stage() -> None:
    network = net(**REPOSITORY)
    assert parameters(network.project) == 48
    assert parameters(network.pre) == 9_344
    assert [parameters(s) for s in network.encoder] == [2_976, 11_456, 44_928, 177_920, 708_096]
    assert [parameters(s) for s in network.downs] == [2_112, 8_320, 33_024, 131_584]
    assert [parameters(s) for s in network.ups] == [4_128, 16_448, 65_664, 131_328]
    assert [parameters(s) for s in network.decoder] == [11_456, 44_928, 177_920, 708_096]
    assert parameters(network.post) == 83_328
    assert parameters(network.head) == 96
    assert network.head.in_channels == 48


def test_layers() -> None:
    network = net(**REPOSITORY)
    inceptions = children(network, ResidualInception)
    assert len(inceptions) == 18
    assert len(children(network, ResidualUnit)) == 4
    # The four 1x1 convolutions at the head of the branches are one here.
    joined = 3 * len(inceptions)
    assert len(children(network, nn.Conv2d, nn.ConvTranspose2d)) + joined == 218
    assert len(children(network, nn.BatchNorm2d)) + joined == 215
    assert not children(network, nn.MaxPool2d, nn.AvgPool2d)
    assert all(norm.momentum == 0.01 for norm in children(network, nn.BatchNorm2d))
    assert {layer.negative_slope for layer in children(network, nn.LeakyReLU)} == {0.2}
    for block in inceptions:
        assert [1 + len(branch) for branch in block.branches] == [1, 2, 3, 4]


def inception(channels: int = 16) -> Any:
    torch.manual_seed(0)
    block = ResidualInception(operators(2), channels, "batch").eval()
    for norm in children(block, nn.BatchNorm2d):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return block


@pytest.mark.parametrize("kind", [ResidualInception, ResidualUnit])
def test_a_block_without_its_merge_is_a_leaky_relu(kind: Any) -> None:
    block = kind(operators(2), 16, "batch").eval()
    norm = block.merge[-1] if kind is ResidualInception else block.body[-1]
    nn.init.zeros_(norm.weight)
    x = torch.randn(2, 16, 9, 9)
    torch.testing.assert_close(block(x), functional.leaky_relu(x, 0.2))


def test_the_joint_reducer_equals_four_branches_that_each_begin_with_their_own() -> None:
    block = inception()
    x = torch.randn(1, 16, 9, 11)
    convolution, norm, activation = block.reduce
    parts = []
    for number, branch in enumerate(block.branches):
        rows = slice(4 * number, 4 * number + 4)
        y = functional.conv2d(x, convolution.weight[rows])
        y = functional.batch_norm(
            y, norm.running_mean[rows], norm.running_var[rows], norm.weight[rows], norm.bias[rows]
        )
        parts.append(branch(activation(y)))
    expected = functional.leaky_relu(block.merge(torch.cat(parts, 1)) + x, 0.2)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("kernel", "read"), [(1, 1 / 4), (2, 1.0)])
def test_down_kernel_1_reads_a_fraction_of_the_positions(kernel: int, read: float) -> None:
    network = build("deepmrseg", 1, 2, (32, 32), down_kernel=kernel)
    x = torch.randn(2, 16, 32, 32, requires_grad=True)
    network.downs[0](x).square().sum().backward()
    assert (x.grad != 0).any(dim=1).float().mean() == read


def test_heads_of_deep_supervision() -> None:
    network = net(size=(64, 96), deep_supervision=True)
    assert network.output_strides == [(1, 1), (2, 2), (4, 4)]
    assert [head.in_channels for head in network.auxiliary] == [64, 128]
    shapes = [tuple(y.shape[2:]) for y in network(torch.zeros(2, 1, 64, 96, device="meta"))]
    assert shapes == [(64, 96), (32, 48), (16, 24)]


def test_dropout_rates() -> None:
    network = net(**REPOSITORY)
    assert [stage[0].p for stage in network.encoder] == [0.25, 0.25, 0.25, 0.5, 0.5]
    assert [stage[0].p for stage in reversed(network.decoder)] == [0.5, 0.5, 0.5, 0.25]
    assert not children(net(dropout=False), nn.Dropout)


@pytest.mark.parametrize("width", [6, 0])
def test_a_width_that_does_not_split_is_refused(width: int) -> None:
    with pytest.raises(PlanError, match="expected a positive multiple of 4"):
        net(width=width)


@pytest.mark.parametrize(("kernel", "field"), [(2, 572), (1, 557)])
@pytest.mark.slow
def test_receptive_field(kernel: int, field: int) -> None:
    network = build("deepmrseg", 1, 2, (16, 800), width=4, down_kernel=kernel)
    assert receptive_field(network, (16, 800)) == field
