"""BrainUNet: a residual U-Net whose skips pass through attention gates (arXiv 2509.09469).

The paper gives the parts (residual blocks, gates at the skips, about 90 MB) and neither channels nor
depth; five levels of 32 to 512 features are the natural design of that size. The gate is that of Oktay et
al. 2018 (arXiv 1804.03999), by default in its popular form at equal resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from autoseg.architectures._blocks import (
    Operators,
    SegmentationNetwork,
    Sizes,
    crop_to,
    he_normal,
    level_parts,
    operators,
    resize,
    same_padding,
)
from autoseg.architectures._cases import concatenate
from autoseg.architectures._topology import (
    Option,
    Topology,
    choose,
    cumulative,
    level_kwargs,
    require_dimensions,
)

DIMENSIONS = (2, 3)
SLOPE = 0.01

OPTIONS = {
    "width": Option(32, "features of the first level; they double from level to level"),
    "max_features": Option(512, "no level has more features than this"),
    "max_levels": Option(5, "no more resolutions than this, the full one included"),
    "gate": Option(
        "equal", "attention gates at equal resolution, on a grid, or none", ("equal", "grid", "none")
    ),
    "upsampling": Option(
        "transposed",
        "how the decoder doubles its resolution",
        ("transposed", "linear", "linear3"),
    ),
    "norm": Option("batch", "normalisation", ("batch", "instance")),
    "auxiliary_heads": Option(0, "lower resolutions that get a head for deep supervision"),
}


class ResidualBlock(nn.Module):
    """conv-norm-act-conv-norm plus a projected shortcut, then act; (b, i, *s) -> (b, o, *s)."""

    def __init__(self, ops: Operators, inputs: int, outputs: int, kernel: Sizes, norm: str) -> None:
        super().__init__()
        padding = same_padding(kernel)
        self.conv1 = ops.conv(inputs, outputs, kernel, padding=padding, bias=False)
        self.norm1 = ops.norm(norm, outputs)
        self.conv2 = ops.conv(outputs, outputs, kernel, padding=padding, bias=False)
        self.norm2 = ops.norm(norm, outputs)
        self.shortcut = nn.Sequential(ops.conv(inputs, outputs, 1, bias=False), ops.norm(norm, outputs))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.activation(self.norm1(self.conv1(x)))
        result: Tensor = self.activation(self.norm2(self.conv2(hidden)) + self.shortcut(x))
        return result


class AttentionGate(nn.Module):
    """Weigh a skip by a coefficient in (0, 1) per voxel, computed from the skip and the decoder.

    Both inputs are (b, c, *s) of one size; the result is the skip times the coefficient.
    """

    def __init__(self, ops: Operators, channels: int, norm: str) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.decoder_map = nn.Sequential(ops.conv(channels, inner, 1, bias=False), ops.norm(norm, inner))
        self.skip_map = nn.Sequential(ops.conv(channels, inner, 1, bias=False), ops.norm(norm, inner))
        # One channel: instance normalisation would make every case attend to the same share of voxels.
        self.psi = nn.Sequential(ops.conv(inner, 1, 1), ops.norm("batch", 1), nn.Sigmoid())
        self.activation = nn.ReLU(inplace=True)

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        coefficient = self.psi(self.activation(self.decoder_map(decoder) + self.skip_map(skip)))
        result: Tensor = skip * coefficient
        return result


class GridGate(nn.Module):
    """The gate as first published: computed on the coarser grid of the decoder and interpolated.

    skip (b, c, *s) and coarse (b, d, *s/stride) -> (b, c, *s).
    """

    def __init__(self, ops: Operators, channels: int, coarse: int, stride: Sizes, norm: str) -> None:
        super().__init__()
        inner = max(channels // 2, 1)
        self.theta = ops.conv(channels, inner, tuple(stride), stride=tuple(stride), bias=False)
        self.phi = ops.conv(coarse, inner, 1)
        self.psi = nn.Sequential(ops.conv(inner, 1, 1), nn.Sigmoid())
        self.merge = nn.Sequential(ops.conv(channels, channels, 1), ops.norm(norm, channels))
        self.activation = nn.ReLU(inplace=True)
        self.mode = ops.linear_mode

    def forward(self, skip: Tensor, coarse: Tensor) -> Tensor:
        theta = self.theta(skip)
        coefficient = self.psi(self.activation(theta + resize(self.phi(coarse), theta.shape[2:], self.mode)))
        result: Tensor = self.merge(skip * resize(coefficient, skip.shape[2:], self.mode))
        return result


class Up(nn.Module):
    """(b, i, *s) -> (b, o, *size): transposed convolution, or linear interpolation and a convolution."""

    def __init__(self, ops: Operators, inputs: int, outputs: int, stride: Sizes, how: str) -> None:
        super().__init__()
        self.how = how
        self.mode = ops.linear_mode
        if how == "transposed":
            self.conv = ops.transposed(inputs, outputs, tuple(stride), stride=tuple(stride))
        else:
            kernel = (3 if how == "linear3" else 1,) * len(stride)
            self.conv = ops.conv(inputs, outputs, kernel, padding=same_padding(kernel))

    def forward(self, x: Tensor, size: Sizes) -> Tensor:
        if self.how == "transposed":
            return crop_to(self.conv(x), size)
        if self.how == "linear":  # a 1x1 convolution commutes with the interpolation and is cheaper before it
            return resize(self.conv(x), size, self.mode)
        result: Tensor = self.conv(resize(x, size, self.mode))
        return result


class BrainUNet(SegmentationNetwork):
    """Residual attention U-Net in 2D or 3D.

    Any input size works: a size that the strides do not divide is rounded up on the way down and cropped
    to the skip's size on the way up.

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list; see `SegmentationNetwork`.
        strides: per level and axis, the first all 1.
        features: per level.
        kernel_sizes: per level and axis.
        gate: "equal" (at equal resolution, all skips), "grid" (all but the top skip) or "none".
        upsampling: "transposed", "linear" (with a 1x1 convolution) or "linear3" (3x3).
        norm: "batch" or "instance".
        auxiliary_heads: how many lower resolutions get a head.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        *,
        strides: Sequence[Sizes],
        features: Sequence[int],
        kernel_sizes: Sequence[Sizes],
        gate: str = "equal",
        upsampling: str = "transposed",
        norm: str = "batch",
        auxiliary_heads: int = 0,
    ) -> None:
        super().__init__(deep_supervision, cumulative(strides)[: auxiliary_heads + 1])
        ops = operators(len(strides[0]))
        levels = range(len(features) - 1)
        inputs = [input_channels, *features]
        self.pools = nn.ModuleList(
            ops.max_pool(tuple(step), stride=tuple(step), ceil_mode=True) for step in strides[1:]
        )
        self.encoder = nn.ModuleList(
            ResidualBlock(ops, i, o, k, norm) for i, o, k in zip(inputs, features, kernel_sizes, strict=False)
        )
        self.ups = nn.ModuleList(
            Up(ops, features[n + 1], features[n], strides[n + 1], upsampling) for n in levels
        )
        self.gates = nn.ModuleList(self._gate(ops, gate, n, features, strides, norm) for n in levels)
        self.decoder = nn.ModuleList(
            ResidualBlock(ops, 2 * features[n], features[n], kernel_sizes[n], norm) for n in levels
        )
        self.head = ops.conv(features[0], num_classes, 1)
        self.auxiliary = nn.ModuleList(
            ops.conv(features[n], num_classes, 1) for n in range(1, auxiliary_heads + 1)
        )
        self.gate_kind = gate
        self.apply(he_normal(SLOPE))

    @staticmethod
    def _gate(
        ops: Operators, kind: str, level: int, features: Sequence[int], strides: Sequence[Sizes], norm: str
    ) -> nn.Module:
        if kind == "equal":
            return AttentionGate(ops, features[level], norm)
        if kind == "grid" and level > 0:
            return GridGate(ops, features[level], features[level + 1], strides[level + 1], norm)
        return nn.Identity()

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        return level_parts(["encoder"], len(self.ups), ["ups", "gates", "decoder"], ["head", "auxiliary"])

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        skips = [self.encoder[0](x)]
        for pool, block in zip(self.pools, self.encoder[1:], strict=True):
            skips.append(block(pool(skips[-1])))
        decoded = [skips.pop()]
        for level in reversed(range(len(skips))):
            decoded.append(self._decode(level, skips[level], decoded[-1]))
        decoded.reverse()
        return self.arrange(
            self.head(decoded[0]),
            lambda: [head(y) for head, y in zip(self.auxiliary, decoded[1:], strict=False)],
        )

    def _decode(self, level: int, skip: Tensor, coarse: Tensor) -> Tensor:
        up = self.ups[level](coarse, skip.shape[2:])
        gate = self.gates[level]
        if isinstance(gate, AttentionGate):
            skip = gate(skip, up)
        elif isinstance(gate, GridGate):
            skip = gate(skip, coarse)
        result: Tensor = self.decoder[level](concatenate([up, skip]))
        return result


NETWORK = BrainUNet


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan: its strides and kernels, on at most five levels.

    Raises:
        PlanError: for an option that there is not.
    """
    require_dimensions("brainunet", topology, DIMENSIONS)
    chosen = choose("brainunet", OPTIONS, options)
    return {**level_kwargs("brainunet", topology, chosen), **chosen}
