"""ResNet-34 with a perceptron decoder against its sheet."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from network_facts import (
    build,
    children,
    giga_macs,
    on_meta,
    parameters,
    receptive_field,
    receptive_field_of_encoder,
    topology,
)
from torch import nn
from torch.nn import functional

from autoseg.architectures import network_kwargs
from autoseg.architectures._blocks import operators
from autoseg.architectures._resnet import BasicBlock
from autoseg.architectures.resnet34_mlp import DecoderStage
from autoseg.errors import PlanError

IMAGE = (256, 256)
CUBE = (128, 128, 128)


def net(channels: int = 1, classes: int = 8, size: Any = IMAGE, **options: Any) -> Any:
    return on_meta("resnet34_mlp", channels, classes, size, **options)


TABLE = [
    ({"expansion": 1}, 21_718_760, 5.14),
    ({}, 21_893_848, 5.31),
    ({"expansion": 4}, 22_244_024, 5.65),
    ({"depthwise": True}, 21_903_768, 5.35),
    ({"decoder_features": [128, 64, 32, 32, 16]}, 21_493_944, 5.05),
    ({"decoder": "segformer", "embedding": 64}, 21_357_128, 4.80),
    ({"decoder": "segformer", "embedding": 128}, 21_468_616, 5.04),
    ({"decoder": "segformer", "embedding": 256}, 21_789_896, 5.92),
]


def saved_giga_macs(network: Any, size: Any) -> float:
    """What convolving the coarse features before their interpolation saves against the sheet's order."""
    saved = 0.0
    for level, stage in zip(range(4, -1, -1), children(network.decoder, DecoderStage), strict=False):
        fine = torch.Size(-(-n // 2**level) for n in size).numel()
        coarse = torch.Size(-(-n // 2 ** (level + 1)) for n in size).numel()
        saved += stage.from_coarse.weight.numel() * (fine - coarse) / 1e9
    return saved


@pytest.mark.parametrize(("options", "count", "giga"), TABLE)
def test_parameters_and_work_of_the_variants(options: dict[str, Any], count: int, giga: float) -> None:
    network = net(**options)
    assert parameters(network) == count
    assert sum(giga_macs(network, 1, IMAGE)) + saved_giga_macs(network, IMAGE) == pytest.approx(
        giga, rel=0.01
    )


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 8), (4, 5)])
def test_parameters_by_channels_and_classes(channels: int, classes: int) -> None:
    expected = 21_275_264 + 3_136 * channels + 615_312 + 17 * classes
    assert parameters(net(channels, classes)) == expected


def test_twin_in_3d() -> None:
    network = net(size=CUBE)
    assert parameters(network.encoder) == 63_469_632
    assert parameters(network) == 64_085_080
    work = sum(giga_macs(network, 1, CUBE)) + saved_giga_macs(network, CUBE)
    assert work == pytest.approx(61.6, rel=0.01)


def test_lightweight_beside_the_baselines() -> None:
    ours = net(3, 8)
    decoder = parameters(ours.decoder) + parameters(ours.head)
    rival = on_meta("resnet34_unet", 3, 8, IMAGE)
    assert decoder < 1e6
    assert decoder < parameters(rival.decoder) / 3
    work = sum(giga_macs(ours, 3, IMAGE))
    for name in ("resnet34_unet", "unetplusplus", "deeplabv3plus"):
        assert work < sum(giga_macs(on_meta(name, 3, 8, IMAGE).eval(), 3, IMAGE))


def test_layers() -> None:
    network = net()
    assert parameters(network.encoder) == 21_278_400
    layers = [network.encoder.get_submodule(f"layer{n}") for n in (1, 2, 3, 4)]
    assert [len(children(layer, BasicBlock)) for layer in layers] == [3, 4, 6, 3]
    assert not children(network, nn.ConvTranspose2d)
    kernels = {c.kernel_size for c in children(network.decoder, nn.Conv2d)}
    assert kernels == {(1, 1)}
    depthwise = [c for c in children(net(depthwise=True).decoder, nn.Conv2d) if c.kernel_size != (1, 1)]
    assert all(c.kernel_size == (3, 3) and c.groups == c.in_channels for c in depthwise)
    assert len(depthwise) == 5


@pytest.mark.parametrize(("size", "mode"), [((33, 47), "bilinear"), ((14, 32, 33), "trilinear")])
@pytest.mark.parametrize("decoder", ["unet", "segformer"])
def test_every_interpolation_is_linear(size: Any, mode: str, decoder: str) -> None:
    network = net(size=size, decoder=decoder)
    with patch.object(functional, "interpolate", wraps=functional.interpolate) as interpolate:
        network(torch.zeros(2, 1, *size, device="meta"))
    assert interpolate.call_count >= 4
    for call in interpolate.call_args_list:
        assert (call.kwargs["mode"], call.kwargs["align_corners"]) == (mode, False)


def test_encoder_is_the_one_of_torchvision() -> None:
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    reference = torchvision.models.resnet34().eval()
    weights = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    network = build("resnet34_mlp", 3, 2, (64, 64)).eval()
    network.encoder.load_state_dict(weights, strict=True)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = network.encoder(x)
        y = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        for ours, layer in zip(maps[1:], ("layer1", "layer2", "layer3", "layer4"), strict=True):
            y = getattr(reference, layer)(y)
            torch.testing.assert_close(ours, y)


def test_a_stage_equals_the_documented_order_of_its_operations() -> None:
    """Interpolate, concatenate, 1x1 convolution: what the sum of two convolutions stands for."""
    torch.manual_seed(0)
    stage: Any = DecoderStage(operators(2), 12, 6, 8, 2, False, "batch").eval()
    coarse, skip = torch.randn(1, 12, 5, 7), torch.randn(1, 6, 9, 14)
    joint = torch.cat([functional.interpolate(coarse, size=(9, 14), mode="bilinear"), skip], dim=1)
    weight = torch.cat([stage.from_coarse.weight, stage.from_skip.weight], dim=1)
    hidden = torch.relu(stage.norm(functional.conv2d(joint, weight)))
    perceptron = stage.perceptron
    inner = functional.gelu(perceptron.expand(perceptron.norm(hidden)))
    torch.testing.assert_close(stage(coarse, skip, (9, 14)), hidden + perceptron.project(inner))


def test_an_axis_that_the_plan_does_not_pool_is_not_pooled() -> None:
    plan = topology((8, 64, 64), strides=[(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2)])
    strides = network_kwargs("resnet34_mlp", plan)["strides"]
    assert strides == [[1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]


def test_auxiliary_heads_are_at_a_half_a_quarter_and_an_eighth() -> None:
    network = net(auxiliary_heads=3, deep_supervision=True)
    assert network.output_strides == [(1, 1), (2, 2), (4, 4), (8, 8)]
    shapes = [tuple(y.shape) for y in network(torch.zeros(2, 1, 64, 96, device="meta"))]
    assert shapes == [(2, 8, 64, 96), (2, 8, 32, 48), (2, 8, 16, 24), (2, 8, 8, 12)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auxiliary_heads": 4}, "at most 3 auxiliary heads"),
        ({"decoder": "segformer", "auxiliary_heads": 1}, "at most 0 auxiliary heads"),
        ({"decoder_features": [64, 32]}, "expected 5 positive numbers"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        net(**options)


@pytest.mark.slow
def test_receptive_field() -> None:
    assert receptive_field(build("resnet34_mlp", 1, 2, (32, 1280)), (32, 1280)) == 931
    assert receptive_field_of_encoder(build("resnet34_mlp", 1, 2, (32, 1280)), (32, 1280)) == 899
