"""DeepMRSeg: a U-Net of residual inception blocks (Doshi et al. 2019, arXiv 1907.02110).

The paper replaces max-pooling by a 1x1 convolution; the authors' later programme convolves 2x2. Both are
here, as `down_kernel`. Every block is residual; an inception block has four branches of zero to three 3x3
convolutions on a quarter of the features each. Written from descriptions of the design alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.architectures._blocks import (
    Operators,
    SegmentationNetwork,
    Sizes,
    crop_to,
    level_parts,
    operators,
    pad_to_multiple,
)
from autoseg.architectures._cases import concatenate
from autoseg.architectures._cpu import Dropout
from autoseg.architectures._topology import Option, Topology, as_lists, choose, cumulative, require_dimensions
from autoseg.errors import PlanError

DIMENSIONS = (2, 3)
SLOPE = 0.2
BRANCHES = 4
# Keras' momentum 0.99 is torch's 0.01.
BATCH_MOMENTUM = 0.01

OPTIONS = {
    "width": Option(16, "features of the first stage, a multiple of 4"),
    "max_depth": Option(4, "no more downsampling steps than this"),
    "layers": Option(2, "blocks per stage"),
    "lite": Option(False, "features grow linearly instead of doubling"),
    "down_kernel": Option(1, "1: strided 1x1 convolution (paper); 2: kernel = stride (repository)", (1, 2)),
    "block": Option("inception", "block of the stages", ("inception", "residual")),
    "dropout": Option(True, "dropout before each stage, 1/4 at high and 1/2 at low resolutions"),
    "norm": Option("batch", "normalisation", ("batch", "instance")),
    "auxiliary_heads": Option(2, "lower resolutions with a head for deep supervision"),
}


def _norm(ops: Operators, name: str, channels: int) -> nn.Module:
    return ops.norm(name, channels, **({"momentum": BATCH_MOMENTUM} if name == "batch" else {}))


def _unit(ops: Operators, norm: str, inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """Convolution, norm, leaky ReLU."""
    return nn.Sequential(
        ops.conv(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        _norm(ops, norm, outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


class ResidualUnit(nn.Module):
    """x + two 3x3 convolutions, then leaky ReLU; (b, c, *s) -> (b, c, *s)."""

    def __init__(self, ops: Operators, channels: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _unit(ops, norm, channels, channels, 3),
            ops.conv(channels, channels, 3, padding=1, bias=False),
            _norm(ops, norm, channels),
        )
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(x) + x)
        return result


class ResidualInception(nn.Module):
    """x + merge of four branches, then leaky ReLU; (b, c, *s) -> (b, c, *s).

    Each branch starts with a 1x1 convolution to c/4. The four read the same input, so they are one
    convolution to c whose result is cut in four: the same function and parameters, a quarter faster.
    """

    def __init__(self, ops: Operators, channels: int, norm: str) -> None:
        super().__init__()
        quarter = channels // BRANCHES
        self.reduce = _unit(ops, norm, channels, channels, 1)
        self.branches = nn.ModuleList(
            nn.Sequential(*(_unit(ops, norm, quarter, quarter, 3) for _ in range(number)))
            for number in range(BRANCHES)
        )
        self.merge = nn.Sequential(ops.conv(channels, channels, 1, bias=False), _norm(ops, norm, channels))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        quarters = torch.chunk(self.reduce(x), BRANCHES, dim=1)
        branches = [branch(part) for branch, part in zip(self.branches, quarters, strict=True)]
        result: Tensor = self.activation(self.merge(concatenate(branches)) + x)
        return result


class DeepMRSeg(SegmentationNetwork):
    """Residual inception U-Net in 2D or 3D.

    Any input size works: it is padded to a multiple of the strides, and the logits are cropped.

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list; see `SegmentationNetwork`.
        strides: per stage and axis, the first all 1.
        features: per stage, multiples of 4.
        layers: blocks per stage.
        down_kernel: 1 or 2.
        block: "inception" or "residual".
        dropout: whether to drop activations before each stage.
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
        layers: int = 2,
        down_kernel: int = 1,
        block: str = "inception",
        dropout: bool = True,
        norm: str = "batch",
        auxiliary_heads: int = 2,
    ) -> None:
        super().__init__(deep_supervision, cumulative(strides)[: auxiliary_heads + 1])
        ops = operators(len(strides[0]))
        kind = ResidualInception if block == "inception" else ResidualUnit
        depth = len(features) - 1
        self.divisor = cumulative(strides)[-1]
        self.project = _unit(ops, norm, input_channels, features[0], 1)
        self.pre = nn.Sequential(*(ResidualUnit(ops, features[0], norm) for _ in range(layers)))
        self.downs = nn.ModuleList(
            self._down(ops, norm, i, o, step, down_kernel)
            for i, o, step in zip(features, features[1:], strides[1:], strict=False)
        )
        self.encoder = nn.ModuleList(
            self._stage(kind, ops, norm, features[n], layers, _rate(dropout, n, 0.25))
            for n in range(depth + 1)
        )
        inputs = [*(2 * width for width in features[1:-1]), features[-1]]
        self.ups = nn.ModuleList(
            self._up(ops, norm, i, o, step) for i, o, step in zip(inputs, features, strides[1:], strict=False)
        )
        self.decoder = nn.ModuleList(
            self._stage(kind, ops, norm, 2 * features[n], layers, _rate(dropout, depth - 1 - n, 0.5))
            for n in range(depth)
        )
        full = features[0] * (3 if depth else 2)
        self.post = nn.Sequential(*(ResidualUnit(ops, full, norm) for _ in range(layers)))
        self.head = ops.conv(full, num_classes, 1, bias=False)
        self.auxiliary = nn.ModuleList(
            ops.conv(2 * features[n], num_classes, 1, bias=False) for n in range(1, auxiliary_heads + 1)
        )
        self.apply(_glorot)

    @staticmethod
    def _down(
        ops: Operators, norm: str, inputs: int, outputs: int, stride: Sizes, kernel: int
    ) -> nn.Sequential:
        window = tuple(stride) if kernel == 2 else (1,) * len(stride)
        return nn.Sequential(
            ops.conv(inputs, outputs, window, stride=tuple(stride), bias=False),
            _norm(ops, norm, outputs),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    @staticmethod
    def _up(ops: Operators, norm: str, inputs: int, outputs: int, stride: Sizes) -> nn.Sequential:
        return nn.Sequential(
            ops.transposed(inputs, outputs, tuple(stride), stride=tuple(stride), bias=False),
            _norm(ops, norm, outputs),
            nn.LeakyReLU(SLOPE, inplace=True),
        )

    @staticmethod
    def _stage(
        kind: type[ResidualInception] | type[ResidualUnit],
        ops: Operators,
        norm: str,
        channels: int,
        layers: int,
        rate: float,
    ) -> nn.Sequential:
        drop = [Dropout(rate)] if rate else []
        return nn.Sequential(*drop, *(kind(ops, channels, norm) for _ in range(layers)))

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        encoder = ["project", "pre", "downs", "encoder"]
        found = level_parts(encoder, len(self.ups), ["ups", "decoder"], ["head", "auxiliary"])
        return {**found, f"decoder{len(self.ups) + 1}": ["post"]}

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        size = x.shape[2:]
        pre = self.pre(self.project(pad_to_multiple(x, self.divisor)))
        skips = [self.encoder[0](pre)]
        for down, stage in zip(self.downs, self.encoder[1:], strict=True):
            skips.append(stage(down(skips[-1])))
        decoded = [skips.pop()]
        for level in reversed(range(len(skips))):
            up = self.ups[level](decoded[-1])
            decoded.append(self.decoder[level](concatenate([up, skips[level]])))
        decoded.reverse()
        full = self.post(concatenate([decoded[0], pre]))
        return self.arrange(
            crop_to(self.head(full), size),
            lambda: [
                crop_to(head(y), [-(-n // s) for n, s in zip(size, step, strict=True)])
                for head, y, step in zip(self.auxiliary, decoded[1:], self.output_strides[1:], strict=False)
            ],
        )


def _rate(dropout: bool, position: int, first: float) -> float:
    """The documented rates: `first` for three stages along the path, the other of 1/4 and 1/2 after."""
    return (first if position < 3 else 0.75 - first) if dropout else 0.0


def _glorot(module: nn.Module) -> None:
    """Glorot and Bengio 2010, the initialisation of the original's framework."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.xavier_uniform_(module.weight)


NETWORK = DeepMRSeg


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan: its strides, on at most `max_depth` downsampling steps.

    Raises:
        PlanError: for an option that there is not, or a width that is no multiple of 4.
    """
    require_dimensions("deepmrseg", topology, DIMENSIONS)
    chosen = choose("deepmrseg", OPTIONS, options)
    width, lite = chosen.pop("width"), chosen.pop("lite")
    stages = min(topology.stages, chosen.pop("max_depth") + 1)
    if width < BRANCHES or width % BRANCHES:
        raise PlanError(f"deepmrseg: width is {width}; expected a positive multiple of {BRANCHES}.")
    if chosen["layers"] < 1:
        raise PlanError("deepmrseg: layers is 0; expected at least 1 block per stage.")
    return {
        "strides": as_lists(topology.strides[:stages]),
        "features": [width * (n + 1) if lite else width * 2**n for n in range(stages)],
        **chosen,
        "auxiliary_heads": min(chosen["auxiliary_heads"], max(stages - 2, 0)),
    }
