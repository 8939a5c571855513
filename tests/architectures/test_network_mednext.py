"""MedNeXt against the published network, and on plans that it could not take."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from network_facts import build, on_meta, parameters, topology

from autoseg.architectures import build_network, network_kwargs
from autoseg.architectures.mednext import Block, DownBlock, upkern
from autoseg.errors import PlanError

CUBE = (128, 128, 128)
PUBLISHED = {
    ("S", 3): 5.553, ("S", 5): 5.982, ("B", 3): 10.528, ("B", 5): 10.958,
    ("M", 3): 17.551, ("M", 5): 18.263, ("L", 3): 61.781, ("L", 5): 62.995,
}  # fmt: skip


@pytest.mark.parametrize(("variant", "kernel"), PUBLISHED)
def test_parameters_of_the_published_variants(variant: str, kernel: int) -> None:
    network = on_meta("mednext", 1, 2, CUBE, variant=variant, kernel=kernel)
    assert round(parameters(network) / 1e6, 3) == PUBLISHED[variant, kernel]


def test_expansion_of_a_down_block_is_that_of_the_stage_it_leads_to() -> None:
    network = on_meta("mednext", 1, 2, CUBE, variant="L")
    ratios = [down.expand.out_channels // down.expand.in_channels for down in network.downs]
    assert ratios == [4, 8, 8, 8]
    ratios = [up.expand.out_channels // up.expand.in_channels for up in network.ups]
    assert ratios == [3, 4, 8, 8]
    assert [len(stage) for stage in network.encoder] == [3, 4, 8, 8, 8]
    assert [len(stage) for stage in network.decoder] == [3, 4, 8, 8]


@pytest.mark.parametrize(
    ("patch", "strides"),
    [
        ((8, 64, 64), [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2)]),
        ((40, 56, 40), [(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((16, 16, 16), [(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((33, 47), [(1, 1), (2, 2), (2, 2), (2, 2), (2, 2)]),
    ],
)
def test_patches_that_the_published_network_refuses(patch: Any, strides: Any) -> None:
    torch.manual_seed(0)
    plan = topology(patch, strides=strides)
    network: Any = build_network("mednext", 2, 3, plan, deep_supervision=True, width=4)
    outputs = network(torch.randn(1, 2, *patch))  # batch 1: one voxel per channel in 16^3
    assert len(outputs) == len(strides)
    for output, total in zip(outputs, network.output_strides, strict=True):
        assert output.shape[2:] == tuple(-(-n // s) for n, s in zip(patch, total, strict=True))
        assert torch.isfinite(output).all()


def test_scales_of_deep_supervision_are_those_of_the_plan() -> None:
    plan = topology((8, 64, 64), strides=[(1, 1, 1), (1, 2, 2), (2, 2, 2)])
    with torch.device("meta"):
        network: Any = build_network("mednext", 1, 2, plan)
    assert network.output_strides == [(1, 1, 1), (1, 2, 2), (2, 4, 4)]


def test_a_shallow_plan_leaves_out_the_deepest_stages_but_the_bottleneck() -> None:
    kwargs = network_kwargs("mednext", topology((40, 56, 40), 4), variant="L")
    assert kwargs["features"] == [32, 64, 128, 256]
    assert kwargs["encoder_blocks"] == [3, 4, 8, 8]
    assert kwargs["decoder_blocks"] == [3, 4, 8]
    assert kwargs["decoder_expansions"] == [3, 4, 8]
    assert on_meta("mednext", 1, 2, (40, 56, 40), stages=4).output_strides[-1] == (8, 8, 8)


def test_every_block_is_residual() -> None:
    torch.manual_seed(0)
    network = build("mednext", 1, 2, (32, 32), width=4)
    block = next(m for m in network.modules() if isinstance(m, Block))
    torch.nn.init.zeros_(block.compress.weight)
    torch.nn.init.zeros_(block.compress.bias)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), x)
    down = next(m for m in network.modules() if isinstance(m, DownBlock))
    torch.nn.init.zeros_(down.compress.weight)
    torch.nn.init.zeros_(down.compress.bias)
    assert torch.equal(down(x), down.shortcut(x))


def test_an_even_size_has_zeros_before_the_first_voxel() -> None:
    torch.manual_seed(0)
    up = build("mednext", 1, 2, (32, 32), width=4).ups[0]
    x = torch.randn(1, 8, 5, 5)
    even, odd = up(x, (10, 10)), up(x, (9, 9))
    assert torch.equal(even[:, :, 1:, 1:], odd)
    assert not even[:, :, 0].any()
    assert not even[:, :, :, 0].any()


def test_checkpointing_changes_memory_and_not_the_gradients() -> None:
    assert [network_kwargs("mednext", topology(CUBE), variant=v)["checkpointing"] for v in "SBML"] == [
        False,
        False,
        True,
        True,
    ]
    (on, kept_on), (off, kept_off) = _gradient_and_kept("on"), _gradient_and_kept("off")
    torch.testing.assert_close(on, off)
    assert kept_on < kept_off / 2


def _gradient_and_kept(checkpointing: str) -> tuple[torch.Tensor, int]:
    """The gradient of the first weights, and how many numbers the forward pass kept for it."""
    torch.manual_seed(0)
    network = build("mednext", 1, 2, (16, 24), width=4, checkpointing=checkpointing)
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.randn(1, 1, 16, 24)).square().sum()
    return torch.autograd.grad(loss, [network.stem.weight])[0], sum(kept)


@pytest.mark.parametrize("patch", [(32, 32), (16, 16, 16)])
def test_upkern(patch: Any) -> None:
    torch.manual_seed(0)
    small = build("mednext", 1, 2, patch, stages=4, width=4).eval()
    large = build("mednext", 1, 2, patch, stages=4, width=4, kernel=5).eval()
    x = torch.randn(1, 1, *patch)
    with torch.no_grad():
        expected = small(x)
        upkern(small.state_dict(), large, how="zero")
        torch.testing.assert_close(large(x), expected)
        upkern(small.state_dict(), large)
        change = (large(x) - expected).norm() / expected.norm()
    assert change > 0.05
    kernel = small.encoder[0][0].depthwise.weight
    mode = {4: "bilinear", 5: "trilinear"}[kernel.ndim]
    size = [5] * (kernel.ndim - 2)
    resized = torch.nn.functional.interpolate(kernel, size=size, mode=mode)
    assert torch.equal(large.encoder[0][0].depthwise.weight, resized)


def test_upkern_between_different_networks_is_refused() -> None:
    small = build("mednext", 1, 2, (16, 16), width=4)
    with pytest.raises(PlanError, match="in one of the two networks only"):
        upkern(small.state_dict(), build("mednext", 1, 2, (16, 16), width=4, variant="M", kernel=5))
    with pytest.raises(PlanError, match="Only larger kernels can be filled"):
        upkern(small.state_dict(), build("mednext", 1, 2, (16, 16), width=8, kernel=5))
    with pytest.raises(PlanError, match="expected 'trilinear' or 'zero'"):
        upkern(small.state_dict(), small, how="nearest")
