"""Plain U-Net, the 2D library baselines and nnU-Net's own networks against the sheet."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from network_facts import build, giga_macs, on_meta, parameters, topology
from torch.nn import functional

from autoseg.architectures import class_path, network_kwargs

IMAGE = (256, 256)


@pytest.mark.parametrize(("channels", "classes", "count"), [(1, 8, 31_036_936), (3, 1, 31_037_633)])
def test_plain_unet(channels: int, classes: int, count: int) -> None:
    network = on_meta("unet", channels, classes, IMAGE)
    assert parameters(network) == count
    assert [block[0].out_channels for block in network.encoder] == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("name", "design", "count", "giga"),
    [
        ("unetplusplus", "UnetPlusPlus", 26_079_624, 18.49),
        ("deeplabv3", "DeepLabV3", 26_008_904, 27.33),
        ("deeplabv3plus", "DeepLabV3Plus", 22_439_256, 7.91),
    ],
)
def test_library_baselines(name: str, design: str, count: int, giga: float) -> None:
    library = pytest.importorskip("segmentation_models_pytorch")
    meta = on_meta(name, 3, 8, IMAGE).eval()
    assert parameters(meta) == count
    assert sum(giga_macs(meta, 3, IMAGE)) == pytest.approx(giga, rel=0.01)
    torch.manual_seed(0)
    reference = getattr(library, design)("resnet34", encoder_weights=None, classes=8).eval()
    network = build(name, 3, 8, IMAGE).eval()
    network.load_state_dict(reference.state_dict(), strict=True)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(x), reference(x))
        assert network(x[..., :50, :71]).shape == (1, 8, 50, 71)


@pytest.mark.parametrize(
    ("name", "channels", "classes", "patch", "stages", "count"),
    [
        ("nnunet", 1, 8, IMAGE, 7, 33_480_880),
        ("nnunet", 4, 4, (128, 128, 128), 6, 31_199_796),
        ("nnunet_resenc", 4, 4, (160, 160, 160), 6, 102_353_972),
    ],
)
def test_networks_of_nnunet(
    name: str, channels: int, classes: int, patch: Any, stages: int, count: int
) -> None:
    assert parameters(on_meta(name, channels, classes, patch, stages=stages)) == count
    assert class_path(name).startswith("dynamic_network_architectures.architectures.unet.")


@pytest.mark.parametrize("name", ["nnunet", "nnunet_resenc"])
def test_outside_a_plan_networks_of_nnunet_pad_what_their_strides_do_not_divide(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 1, 3, (32, 48), stages=4, width=4, deep_supervision=True).eval()
    stock = type(network).__mro__[2]
    assert stock.__module__.startswith("dynamic_network_architectures.")
    copied = copy.deepcopy(network)
    x = torch.randn(1, 1, 32, 48)
    with torch.no_grad():
        for ours, same, theirs in zip(network(x), copied(x), stock.forward(network, x), strict=True):
            assert torch.equal(ours, theirs) and torch.equal(same, theirs)
        padded = functional.pad(x[..., :30, :41], (0, 7, 0, 2), mode="replicate")
        odd, even = network(x[..., :30, :41]), network(padded)
    assert [tuple(y.shape[2:]) for y in odd] == [(30, 41), (15, 21), (8, 11)]
    for ours, theirs in zip(odd, even, strict=True):
        assert torch.equal(ours, theirs[..., : ours.shape[2], : ours.shape[3]])


def test_width_scales_all_features_of_nnunet() -> None:
    plan = topology((128, 128, 128), 6)
    assert network_kwargs("nnunet", plan)["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert network_kwargs("nnunet", plan, width=16)["features_per_stage"] == [16, 32, 64, 128, 160, 160]
    flat = topology(IMAGE, 7)
    assert network_kwargs("nnunet_resenc", flat)["features_per_stage"][-1] == 512
