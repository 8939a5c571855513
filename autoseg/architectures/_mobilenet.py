"""The encoder of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for volumes.

The layers, widths and parameter names are those of torchvision's 2D network, with cubic kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from autoseg.architectures._blocks import Operators, Sizes, operators
from autoseg.architectures._depthwise import DepthwiseConv2d, DepthwiseConv3d

# Expansion, width, repeats; and the level (0 to 4) whose stride the first repeat carries, if any.
STAGES = (
    (1, 16, 1, None),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 3),
    (6, 96, 3, None),
    (6, 160, 3, 4),
    (6, 320, 1, None),
)
STEM, LAST = 32, 1280
# The last block before each further stride, and the last layer: what the decoder sees.
TAPS = (1, 3, 6, 13, 18)


def _unit(ops: Operators, inputs: int, outputs: int, kernel: int, stride: Sizes) -> nn.Sequential:
    return nn.Sequential(
        ops.conv(inputs, outputs, kernel, stride=tuple(stride), padding=kernel // 2, bias=False),
        ops.norm("batch", outputs),
        nn.ReLU6(inplace=True),
    )


def _depthwise_unit(ops: Operators, channels: int, stride: Sizes) -> nn.Sequential:
    layer = DepthwiseConv2d if len(stride) == 2 else DepthwiseConv3d
    return nn.Sequential(
        layer(channels, channels, 3, tuple(stride), 1, groups=channels, bias=False),  # type: ignore[arg-type]
        ops.norm("batch", channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, linear 1x1 projection; a shortcut where shapes agree."""

    def __init__(self, ops: Operators, inputs: int, outputs: int, expansion: int, stride: Sizes) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [_unit(ops, inputs, hidden, 1, (1,) * len(stride))]
        self.conv = nn.Sequential(
            *expand,
            _depthwise_unit(ops, hidden, stride),
            ops.conv(hidden, outputs, 1, bias=False),
            ops.norm("batch", outputs),
        )
        self.shortcut = inputs == outputs and all(s == 1 for s in stride)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv(x) if self.shortcut else self.conv(x)
        return result


class MobileNetV2Encoder(nn.Module):
    """Five feature maps, one per stride.

    Args:
        input_channels: channels of the image.
        strides: five rows; documented: all 2.

    Attributes:
        widths: channels of the five feature maps.
    """

    widths = (16, 24, 32, 96, LAST)

    def __init__(self, input_channels: int, strides: Sequence[Sizes]) -> None:
        super().__init__()
        ops = operators(len(strides[0]))
        one = (1,) * len(strides[0])
        layers: list[nn.Module] = [_unit(ops, input_channels, STEM, 3, strides[0])]
        inputs = STEM
        for expansion, width, repeats, level in STAGES:
            for number in range(repeats):
                stride = one if level is None or number else strides[level]
                layers.append(InvertedResidual(ops, inputs, width, expansion, stride))
                inputs = width
        layers.append(_unit(ops, inputs, LAST, 1, one))
        self.features = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(b, input_channels, *s) -> five maps, largest first."""
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS:
                maps.append(x)
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
