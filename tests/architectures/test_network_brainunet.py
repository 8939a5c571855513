"""BrainUNet against its sheet."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from network_facts import build, children, giga_macs, on_meta, parameters, receptive_field, topology
from torch import nn

from autoseg.architectures import build_network, network_kwargs
from autoseg.architectures._blocks import resize
from autoseg.architectures.brainunet import AttentionGate, GridGate, ResidualBlock, Up

CUBE = (128, 128, 128)


def brainunet(channels: int = 3, classes: int = 4, **options: Any) -> Any:
    return on_meta("brainunet", channels, classes, CUBE, **options)


def test_parameters_of_every_part() -> None:
    network = brainunet()
    assert [parameters(part) for part in network.encoder] == [30528, 168320, 672512, 2688512, 10750976]
    assert [parameters(part) for part in network.ups] == [16416, 65600, 262272, 1048832]
    assert [parameters(part) for part in network.gates] == [1107, 4259, 16707, 66179]
    assert [parameters(part) for part in network.decoder] == [85184, 340352, 1360640, 5441024]
    assert parameters(network.head) == 132


@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 23_019_552), ({"upsampling": "linear"}, 21_800_992), ({"upsampling": "linear3"}, 26_327_072)],
)
def test_parameters_of_the_variants(options: dict[str, Any], count: int) -> None:
    assert parameters(brainunet(**options)) == count


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 4), (4, 3)])
def test_parameters_by_channels_and_classes(channels: int, classes: int) -> None:
    assert parameters(brainunet(channels, classes)) == 23_016_732 + 896 * channels + 33 * classes


def test_about_90_megabytes_on_disk_and_494_giga_macs() -> None:
    network = brainunet()
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert 88e6 < size < 96e6
    assert sum(giga_macs(network, 3, CUBE)) == pytest.approx(494, rel=0.005)


def test_state_file_of_a_narrow_network_has_the_size_of_its_weights() -> None:
    network = build("brainunet", 3, 4, (32, 32), width=8)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    assert 4 * parameters(network) < file.tell() < 1.3 * 4 * parameters(network)


def test_levels_width_and_cap() -> None:
    plan = topology((40, 56, 40), 4)
    assert network_kwargs("brainunet", plan)["features"] == [32, 64, 128, 256]
    assert network_kwargs("brainunet", topology(CUBE, 6))["features"] == [32, 64, 128, 256, 512]
    assert network_kwargs("brainunet", topology(CUBE, 6), max_features=320)["features"][-1] == 320
    assert network_kwargs("brainunet", plan, width=16)["features"] == [16, 32, 64, 128]


def test_strides_and_kernels_per_axis_come_from_the_plan() -> None:
    strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2)]
    with torch.device("meta"):
        network: Any = build_network("brainunet", 1, 2, topology((8, 64, 64), strides=strides))
    assert [pool.kernel_size for pool in network.pools] == strides[1:]
    assert [up.conv.stride for up in network.ups] == strides[1:]
    assert network.encoder[0].conv1.kernel_size == (1, 3, 3)
    assert network.encoder[1].conv1.kernel_size == (1, 3, 3)
    assert network.encoder[2].conv1.kernel_size == (3, 3, 3)


def test_every_stage_is_residual_and_every_skip_is_gated() -> None:
    network = brainunet()
    blocks = [*network.encoder, *network.decoder]
    assert len(blocks) == 9
    assert all(isinstance(block, ResidualBlock) for block in blocks)
    assert [type(gate) for gate in network.gates] == [AttentionGate] * 4
    grid = brainunet(gate="grid")
    assert [type(gate) for gate in grid.gates] == [nn.Identity, GridGate, GridGate, GridGate]


def test_a_block_without_its_convolutions_is_its_shortcut() -> None:
    block: Any = ResidualBlock(_ops(), 3, 5, (3, 3), "batch").eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(block(x), nn.functional.leaky_relu(block.shortcut(x), 0.01))


def _ops() -> Any:
    from autoseg.architectures._blocks import operators

    return operators(2)


def _twins(gate: str, bias: float) -> tuple[Any, Any]:
    """A gated network with the bias of its coefficients set, and the plain one of the same weights."""
    torch.manual_seed(0)
    gated = build("brainunet", 2, 3, (32, 48), width=4, gate=gate).eval()
    plain = build("brainunet", 2, 3, (32, 48), width=4, gate="none").eval()
    missing = plain.load_state_dict(gated.state_dict(), strict=False)
    assert not missing.missing_keys
    assert all(key.startswith("gates.") for key in missing.unexpected_keys)
    for gate_module in children(gated, AttentionGate):
        nn.init.constant_(gate_module.psi[1].bias, bias)
    return gated, plain


def test_open_gates_are_a_plain_network() -> None:
    gated, plain = _twins("equal", float("inf"))
    x = torch.randn(1, 2, 32, 48)
    torch.testing.assert_close(gated(x), plain(x), rtol=0, atol=0)


def test_closed_gates_block_every_skip() -> None:
    gated, plain = _twins("equal", float("-inf"))
    for level, block in enumerate(plain.decoder):
        width = plain.head.in_channels * 2**level
        for convolution in (block.conv1, block.shortcut[0]):
            nn.init.zeros_(convolution.weight[:, width:])
    x = torch.randn(1, 2, 32, 48)
    torch.testing.assert_close(gated(x), plain(x))
    assert not torch.allclose(gated(x), _twins("equal", 0.0)[0](x))


@pytest.mark.parametrize("gate", ["equal", "grid"])
def test_coefficients_lie_between_zero_and_one(gate: str) -> None:
    torch.manual_seed(0)
    network = build("brainunet", 2, 3, (32, 48), width=4, gate=gate)
    seen: list[torch.Tensor] = []
    for module in children(network, AttentionGate, GridGate):
        module.psi.register_forward_hook(lambda _, __, output: seen.append(output))
    network(torch.randn(2, 2, 32, 48))
    assert len(seen) == (4 if gate == "equal" else 3)
    assert all(((value > 0) & (value < 1)).all() and value.shape[1] == 1 for value in seen)


def test_pointwise_upsampling_may_come_before_the_interpolation() -> None:
    up = Up(_ops(), 8, 4, (2, 2), "linear")
    x = torch.randn(1, 8, 6, 7)
    torch.testing.assert_close(up(x, (12, 14)), up.conv(resize(x, (12, 14), "bilinear")))


def test_auxiliary_heads_add_themselves_alone() -> None:
    assert parameters(brainunet(auxiliary_heads=3)) == 23_019_552 + (65 + 129 + 257) * 4


@pytest.mark.slow
def test_receptive_field() -> None:
    assert receptive_field(build("brainunet", 1, 2, (16, 16, 352), width=1), (16, 16, 352)) == 188
