"""U-Nets around MobileNetV2, ResNet-50 and ResNet-34 against their sheets."""

from __future__ import annotations

from typing import Any

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

from autoseg.architectures import build_network, network_kwargs, parts_of
from autoseg.architectures._resnet import Bottleneck
from autoseg.errors import PlanError

IMAGE = (256, 256)
CUBE = (128, 128, 128)
ENCODERS = {"mobilenetv2_unet": "mobilenet_v2", "resnet50_unet": "resnet50", "resnet34_unet": "resnet34"}


@pytest.mark.parametrize(
    ("name", "channels", "classes", "size", "count"),
    [
        ("mobilenetv2_unet", 3, 1, IMAGE, 6_628_945),
        ("mobilenetv2_unet", 1, 2, CUBE, 15_564_002),
        ("resnet50_unet", 3, 1, IMAGE, 32_521_105),
        ("resnet50_unet", 1, 2, IMAGE, 32_514_978),
        ("resnet50_unet", 1, 2, CUBE, 73_190_754),
        ("resnet34_unet", 3, 8, IMAGE, 24_437_384),
    ],
)
def test_parameters(name: str, channels: int, classes: int, size: Any, count: int) -> None:
    assert parameters(on_meta(name, channels, classes, size)) == count


@pytest.mark.parametrize(
    ("name", "encoder", "blocks", "head"),
    [
        ("mobilenetv2_unet", 2_223_872, [3_761_152, 479_744, 124_672, 32_384, 6_976], 145),
        ("resnet50_unet", 23_508_032, [7_668_736, 1_032_704, 258_304, 46_208, 6_976], 145),
    ],
)
def test_parameters_of_every_part(name: str, encoder: int, blocks: list[int], head: int) -> None:
    network = on_meta(name, 3, 1, IMAGE)
    assert parameters(network.encoder) == encoder
    assert [parameters(block) for block in network.decoder.blocks] == blocks
    assert parameters(network.segmentation_head) == head


def test_parts_of_the_nine_strategies() -> None:
    network = on_meta("mobilenetv2_unet", 3, 1, IMAGE)
    shapes = dict(network.named_parameters())
    sizes = {part: sum(shapes[n].numel() for n in names) for part, names in parts_of(network).items()}
    decoder = [3_761_152, 479_744, 124_672, 32_384, 6_976]
    assert list(sizes.values()) == [2_223_872, *decoder, 145]
    assert [len(names) for names in parts_of(network).values()] == [156, 6, 6, 6, 6, 6, 2]


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (4, 5)])
def test_parameters_by_channels_and_classes(channels: int, classes: int) -> None:
    mobile = on_meta("mobilenetv2_unet", channels, classes, IMAGE)
    residual = on_meta("resnet50_unet", channels, classes, IMAGE)
    assert parameters(mobile.encoder) == 2_223_008 + 288 * channels
    assert parameters(residual.encoder) == 23_498_624 + 3_136 * channels
    assert parameters(residual.segmentation_head) == 145 * classes


@pytest.mark.parametrize(
    ("name", "channels", "classes", "size", "giga"),
    [
        ("mobilenetv2_unet", 3, 1, (512, 512), 13.50),
        ("mobilenetv2_unet", 3, 1, IMAGE, 3.37),
        ("resnet50_unet", 3, 1, IMAGE, 10.67),
        ("resnet50_unet", 1, 2, CUBE, 172),
        ("resnet34_unet", 3, 8, IMAGE, 7.90),
    ],
)
def test_work(name: str, channels: int, classes: int, size: Any, giga: float) -> None:
    work = sum(giga_macs(on_meta(name, channels, classes, size), channels, size))
    assert work == pytest.approx(giga, rel=0.01)


@pytest.mark.parametrize("name", ENCODERS)
def test_in_2d_it_is_the_network_of_the_library(name: str) -> None:
    library = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    reference = library.Unet(ENCODERS[name], encoder_weights=None, in_channels=2, classes=3).eval()
    network = build(name, 2, 3, IMAGE).eval()
    network.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(1, 2, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(x), reference(x))


@pytest.mark.parametrize("name", ENCODERS)
def test_the_3d_twin_has_the_same_names_and_cubic_kernels(name: str) -> None:
    flat = on_meta(name, 1, 2, IMAGE).state_dict()
    cubic = on_meta(name, 1, 2, CUBE).state_dict()
    assert set(flat) == set(cubic)
    for key, value in flat.items():
        kernel = value.shape[2:]
        assert cubic[key].shape == (*value.shape[:2], *kernel, *kernel[:1])


@pytest.mark.parametrize(
    ("name", "of_torchvision"), [("mobilenetv2_unet", "mobilenet_v2"), ("resnet50_unet", "resnet50")]
)
def test_imagenet_weights_of_torchvision_fit(name: str, of_torchvision: str) -> None:
    torchvision = pytest.importorskip("torchvision")
    weights = getattr(torchvision.models, of_torchvision)().state_dict()
    weights = {key: value for key, value in weights.items() if not key.startswith(("fc.", "classifier."))}
    build(name, 3, 1, IMAGE).encoder.load_state_dict(weights)


def test_layers_of_resnet50() -> None:
    network = on_meta("resnet50_unet", 1, 2, CUBE)
    layers = [network.encoder.get_submodule(f"layer{n}") for n in (1, 2, 3, 4)]
    assert [len(children(layer, Bottleneck)) for layer in layers] == [3, 4, 6, 3]
    assert [block.conv2[0].out_channels for block in network.decoder.blocks] == [256, 128, 64, 32, 16]
    for size in (IMAGE, CUBE):
        network = on_meta("resnet50_unet", 1, 2, size)
        assert len(children(network, nn.BatchNorm2d, nn.BatchNorm3d)) == 63
        assert not children(network, nn.ConvTranspose2d, nn.ConvTranspose3d)


def test_in_3d_strides_follow_the_plan_and_in_2d_they_are_fixed() -> None:
    plan = topology((8, 64, 64), strides=[(1, 1, 1), (1, 2, 2), (2, 2, 2)])
    assert network_kwargs("mobilenetv2_unet", plan)["strides"][:2] == [[1, 2, 2], [2, 2, 2]]
    with torch.device("meta"):
        network: Any = build_network("mobilenetv2_unet", 1, 2, plan)
        maps = network.encoder(torch.zeros(1, 1, 8, 64, 64))
    assert [tuple(m.shape[2:]) for m in maps] == [
        (8, 32, 32), (4, 16, 16), (2, 8, 8), (1, 4, 4), (1, 2, 2),
    ]  # fmt: skip
    flat = topology((64, 64), strides=[(1, 1), (1, 2)])
    assert network_kwargs("resnet50_unet", flat)["strides"] == [[2, 2]] * 5


def test_auxiliary_heads() -> None:
    network = on_meta("mobilenetv2_unet", 1, 3, IMAGE, auxiliary_heads=3, deep_supervision=True)
    shapes = [tuple(y.shape) for y in network(torch.zeros(2, 1, 64, 64, device="meta"))]
    assert shapes == [(2, 3, 64, 64), (2, 3, 32, 32), (2, 3, 16, 16), (2, 3, 8, 8)]
    with pytest.raises(PlanError, match="at most 3 auxiliary heads"):
        on_meta("mobilenetv2_unet", 1, 3, IMAGE, auxiliary_heads=4)


@pytest.mark.parametrize(("name", "field"), [("mobilenetv2_unet", 587), ("resnet50_unet", 523)])
@pytest.mark.slow
def test_receptive_field(name: str, field: int) -> None:
    assert receptive_field(build(name, 1, 1, (32, 800)), (32, 800)) == field


@pytest.mark.slow
def test_receptive_field_of_resnet50_alone() -> None:
    assert receptive_field_of_encoder(build("resnet50_unet", 1, 1, (32, 800)), (32, 800)) == 427
