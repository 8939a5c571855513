"""ResNet encoders in 2D and 3D (He et al. 2016, arXiv 1512.03385), with torchvision's parameter names.

In 2D a state dict of torchvision's resnet34 or resnet50 loads strictly once its `fc` entries are dropped
and the number of input channels agrees. The 3D twin has the same layers with cubic kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from autoseg.architectures._blocks import Operators, Sizes, operators

FEATURES = (64, 128, 256, 512)
DEPTHS = {"resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
LEVELS = 5


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, ops: Operators, inputs: int, width: int, stride: Sizes, norm: str) -> None:
        super().__init__()
        self.conv1 = ops.conv(inputs, width, 3, stride=tuple(stride), padding=1, bias=False)
        self.bn1 = ops.norm(norm, width)
        self.conv2 = ops.conv(width, width, 3, padding=1, bias=False)
        self.bn2 = ops.norm(norm, width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(ops, inputs, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.bn2(self.conv2(hidden))
        result: Tensor = self.relu(hidden + (x if self.downsample is None else self.downsample(x)))
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 to four times the width, and a shortcut."""

    expansion = 4

    def __init__(self, ops: Operators, inputs: int, width: int, stride: Sizes, norm: str) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = ops.conv(inputs, width, 1, bias=False)
        self.bn1 = ops.norm(norm, width)
        self.conv2 = ops.conv(width, width, 3, stride=tuple(stride), padding=1, bias=False)
        self.bn2 = ops.norm(norm, width)
        self.conv3 = ops.conv(width, outputs, 1, bias=False)
        self.bn3 = ops.norm(norm, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(ops, inputs, outputs, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        hidden = self.bn3(self.conv3(hidden))
        result: Tensor = self.relu(hidden + (x if self.downsample is None else self.downsample(x)))
        return result


def _projection(ops: Operators, inputs: int, outputs: int, stride: Sizes, norm: str) -> nn.Module | None:
    if inputs == outputs and all(s == 1 for s in stride):
        return None
    return nn.Sequential(
        ops.conv(inputs, outputs, 1, stride=tuple(stride), bias=False), ops.norm(norm, outputs)
    )


class ResNetEncoder(nn.Module):
    """Five feature maps, at the resolutions after stem, pool and the last three layers.

    Args:
        name: "resnet34" or "resnet50".
        input_channels: channels of the image.
        strides: five rows: stem, pool, layer2, layer3, layer4; documented: all 2.
        norm: "batch" (documented) or "instance".

    Attributes:
        widths: channels of the five feature maps.
    """

    def __init__(self, name: str, input_channels: int, strides: Sequence[Sizes], norm: str = "batch") -> None:
        super().__init__()
        ops = operators(len(strides[0]))
        block = BasicBlock if name == "resnet34" else Bottleneck
        stem, pool, *rest = (tuple(row) for row in strides)
        self.conv1 = ops.conv(input_channels, FEATURES[0], 7, stride=stem, padding=3, bias=False)
        self.bn1 = ops.norm(norm, FEATURES[0])
        self.relu = nn.ReLU(inplace=True)
        # An axis that keeps its resolution is not smoothed either.
        window = tuple(3 if s > 1 else 1 for s in pool)
        self.maxpool = ops.max_pool(window, stride=pool, padding=tuple(w // 2 for w in window))
        inputs = FEATURES[0]
        for number, (width, depth) in enumerate(zip(FEATURES, DEPTHS[name], strict=True), start=1):
            step = (1,) * len(stem) if number == 1 else rest[number - 2]
            blocks = [block(ops, inputs, width, step, norm)]
            inputs = width * block.expansion
            blocks += [block(ops, inputs, width, (1,) * len(stem), norm) for _ in range(depth - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.widths = (FEATURES[0], *(width * block.expansion for width in FEATURES))
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(b, input_channels, *s) -> five maps, largest first."""
        maps = [self.relu(self.bn1(self.conv1(x)))]
        maps.append(self.get_submodule("layer1")(self.maxpool(maps[0])))
        for number in (2, 3, 4):
            maps.append(self.get_submodule(f"layer{number}")(maps[-1]))
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
