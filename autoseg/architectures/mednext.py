"""MedNeXt: a ConvNeXt-like U-Net (Roy et al. 2023, arXiv 2303.09975) that follows the plan's topology.

Sizes S, B, M, L with kernels of 3 or 5. The published network halves every axis four times; here strides
per axis come from the plan, on at most five levels, and with them the deep-supervision scales. With the
plan of an isotropic 128^3 patch it is the published network, parameter for parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from autoseg.architectures._blocks import Operators, SegmentationNetwork, Sizes, level_parts, operators
from autoseg.architectures._depthwise import (
    DepthwiseConv2d,
    DepthwiseConv3d,
    DepthwiseTransposed2d,
    DepthwiseTransposed3d,
)
from autoseg.architectures._topology import Option, Topology, as_lists, choose, cumulative, require_dimensions
from autoseg.architectures._upkern import upkern
from autoseg.errors import PlanError

__all__ = ["DIMENSIONS", "NETWORK", "OPTIONS", "MedNeXt", "kwargs_for", "upkern"]

DIMENSIONS = (2, 3)
LEVELS = 5

# Per stage of the published network: encoder 0 to 3, bottleneck, decoder 3 to 0.
EXPANSIONS = {
    "S": (2, 2, 2, 2, 2, 2, 2, 2, 2),
    "B": (2, 3, 4, 4, 4, 4, 4, 3, 2),
    "M": (2, 3, 4, 4, 4, 4, 4, 3, 2),
    "L": (3, 4, 8, 8, 8, 8, 8, 4, 3),
}
BLOCKS = {
    "S": (2, 2, 2, 2, 2, 2, 2, 2, 2),
    "B": (2, 2, 2, 2, 2, 2, 2, 2, 2),
    "M": (3, 4, 4, 4, 4, 4, 4, 4, 3),
    "L": (3, 4, 8, 8, 8, 8, 8, 4, 3),
}

OPTIONS = {
    "variant": Option("S", "size of the network", tuple(EXPANSIONS)),
    "kernel": Option(3, "size of the depthwise kernels", (3, 5)),
    "width": Option(32, "features of the first level; they double from level to level"),
    "checkpointing": Option(
        "auto", "recompute blocks in the backward pass to save memory; auto: M and L", ("auto", "on", "off")
    ),
}


def _depthwise(channels: int, kernel: int, stride: Sizes) -> nn.Module:
    layer = DepthwiseConv2d if len(stride) == 2 else DepthwiseConv3d
    return layer(channels, channels, kernel, tuple(stride), kernel // 2, groups=channels)  # type: ignore[arg-type]


def _depthwise_up(channels: int, kernel: int, stride: Sizes) -> nn.Module:
    layer = DepthwiseTransposed2d if len(stride) == 2 else DepthwiseTransposed3d
    return layer(channels, channels, kernel, tuple(stride), kernel // 2, groups=channels)  # type: ignore[arg-type]


class Mixer(nn.Module):
    """Depthwise convolution, instance norm, 1x1 expansion, GELU, 1x1 compression."""

    def __init__(
        self, ops: Operators, inputs: int, outputs: int, expansion: int, depthwise: nn.Module
    ) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.norm = ops.norm("instance", inputs)
        self.expand = ops.conv(inputs, expansion * inputs, 1)
        self.activation = nn.GELU()
        self.compress = ops.conv(expansion * inputs, outputs, 1)

    def mix(self, x: Tensor) -> Tensor:
        result: Tensor = self.compress(self.activation(self.expand(self.norm(self.depthwise(x)))))
        return result


class Block(Mixer):
    """A mixer with the identity as its shortcut; (b, c, *s) -> (b, c, *s)."""

    def __init__(self, ops: Operators, channels: int, expansion: int, kernel: int, axes: int) -> None:
        super().__init__(ops, channels, channels, expansion, _depthwise(channels, kernel, (1,) * axes))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x)


class DownBlock(Mixer):
    """A mixer whose depthwise convolution and projected shortcut carry the stride."""

    def __init__(
        self, ops: Operators, inputs: int, outputs: int, expansion: int, kernel: int, stride: Sizes
    ) -> None:
        super().__init__(ops, inputs, outputs, expansion, _depthwise(inputs, kernel, stride))
        self.shortcut = ops.conv(inputs, outputs, 1, stride=tuple(stride))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.shortcut(x) + self.mix(x)
        return result


class UpBlock(Mixer):
    """A mixer whose transposed depthwise convolution and shortcut enlarge; (b, i, *s) -> (b, o, *size).

    With stride 2 they give 2n - 1 voxels for n, as many as an odd skip has; for an even one zeros are put
    before the first, as published.
    """

    def __init__(
        self, ops: Operators, inputs: int, outputs: int, expansion: int, kernel: int, stride: Sizes
    ) -> None:
        super().__init__(ops, inputs, outputs, expansion, _depthwise_up(inputs, kernel, stride))
        self.shortcut = ops.transposed(inputs, outputs, 1, stride=tuple(stride))

    def forward(self, x: Tensor, size: Sizes) -> Tensor:
        result: Tensor = self.shortcut(x) + self.mix(x)
        missing = [n - m for n, m in zip(size, result.shape[2:], strict=True)]
        return functional.pad(result, [side for n in reversed(missing) for side in (n, 0)])


class MedNeXt(SegmentationNetwork):
    """MedNeXt in 2D or 3D; any input size.

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list, one entry per level; see `SegmentationNetwork`.
        strides: per level and axis, the first all 1.
        features: per level.
        encoder_blocks, encoder_expansions: per level, the bottleneck last.
        decoder_blocks, decoder_expansions: per level above the bottleneck, full resolution first.
        kernel: size of the depthwise kernels.
        checkpointing: recompute blocks in the backward pass.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        *,
        strides: Sequence[Sizes],
        features: Sequence[int],
        encoder_blocks: Sequence[int],
        encoder_expansions: Sequence[int],
        decoder_blocks: Sequence[int],
        decoder_expansions: Sequence[int],
        kernel: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__(deep_supervision, cumulative(strides))
        ops = operators(len(strides[0]))
        axes = len(strides[0])
        levels = range(len(features))

        def stage(level: int, blocks: Sequence[int], expansions: Sequence[int]) -> nn.ModuleList:
            width = features[level]
            return nn.ModuleList(
                Block(ops, width, expansions[level], kernel, axes) for _ in range(blocks[level])
            )

        self.stem = ops.conv(input_channels, features[0], 1)
        self.encoder = nn.ModuleList(stage(n, encoder_blocks, encoder_expansions) for n in levels)
        self.downs = nn.ModuleList(
            DownBlock(ops, features[n], features[n + 1], encoder_expansions[n + 1], kernel, strides[n + 1])
            for n in levels[:-1]
        )
        self.ups = nn.ModuleList(
            UpBlock(ops, features[n + 1], features[n], decoder_expansions[n], kernel, strides[n + 1])
            for n in levels[:-1]
        )
        self.decoder = nn.ModuleList(stage(n, decoder_blocks, decoder_expansions) for n in levels[:-1])
        self.heads = nn.ModuleList(ops.conv(features[n], num_classes, 1) for n in levels)
        self.checkpointing = checkpointing

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        return level_parts(["stem", "encoder", "downs"], len(self.ups), ["ups", "decoder"], ["heads"])

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        skips = [self._run(self.encoder[0], self.stem(x))]
        for down, stage in zip(self.downs, self.encoder[1:], strict=True):
            skips.append(self._run(stage, self._call(down, skips[-1])))
        decoded = [skips.pop()]
        for level in reversed(range(len(skips))):
            skip = skips[level]
            up = self._call(self.ups[level], decoded[-1], tuple(skip.shape[2:]))
            decoded.append(self._run(self.decoder[level], skip + up))
        decoded.reverse()
        return self.arrange(
            self.heads[0](decoded[0]),
            lambda: [head(y) for head, y in zip(self.heads[1:], decoded[1:], strict=True)],
        )

    def _run(self, stage: Any, x: Tensor) -> Tensor:
        for block in stage:
            x = self._call(block, x)
        return x

    def _call(self, function: Any, *inputs: Any) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            result: Tensor = checkpoint(function, *inputs, use_reentrant=False)
        else:
            result = function(*inputs)
        return result


NETWORK = MedNeXt


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan: its strides, on at most five levels.

    A plan with fewer levels leaves out the deepest stages of encoder and decoder and keeps the bottleneck.

    Raises:
        PlanError: for an option that there is not.
    """
    require_dimensions("mednext", topology, DIMENSIONS)
    chosen = choose("mednext", OPTIONS, options)
    if chosen["width"] < 1:
        raise PlanError("mednext: width is 0; expected at least 1 feature.")
    variant, levels = chosen["variant"], min(topology.stages, LEVELS)
    blocks, expansions = BLOCKS[variant], EXPANSIONS[variant]

    def encoder(row: tuple[int, ...]) -> list[int]:
        return [*row[: levels - 1], row[LEVELS - 1]]

    def decoder(row: tuple[int, ...]) -> list[int]:
        return list(row[: LEVELS - 1 : -1])[: levels - 1]

    automatic = chosen["checkpointing"] == "auto" and variant in ("M", "L")
    return {
        "strides": as_lists(topology.strides[:levels]),
        "features": [chosen["width"] * 2**level for level in range(levels)],
        "encoder_blocks": encoder(blocks),
        "encoder_expansions": encoder(expansions),
        "decoder_blocks": decoder(blocks),
        "decoder_expansions": decoder(expansions),
        "kernel": chosen["kernel"],
        "checkpointing": automatic or chosen["checkpointing"] == "on",
    }
