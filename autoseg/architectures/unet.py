"""The plain U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with batch normalisation, a baseline.

Five levels of 64 to 1024 features, max-pooling and transposed convolutions; convolutions keep the size.
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

OPTIONS = {
    "width": Option(64, "features of the first level; they double from level to level"),
    "max_features": Option(1024, "no level has more features than this"),
    "max_levels": Option(5, "no more resolutions than this, the full one included"),
    "norm": Option("batch", "normalisation", ("batch", "instance")),
    "auxiliary_heads": Option(0, "lower resolutions that get a head for deep supervision"),
}


def _double(ops: Operators, inputs: int, outputs: int, kernel: Sizes, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        convolution = ops.conv(channels, outputs, tuple(kernel), padding=same_padding(kernel), bias=False)
        layers += [convolution, ops.norm(norm, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(SegmentationNetwork):
    """Plain U-Net in 2D or 3D; any input size (rounded up on the way down, cropped on the way up).

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list; see `SegmentationNetwork`.
        strides: per level and axis, the first all 1.
        features: per level.
        kernel_sizes: per level and axis.
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
        norm: str = "batch",
        auxiliary_heads: int = 0,
    ) -> None:
        super().__init__(deep_supervision, cumulative(strides)[: auxiliary_heads + 1])
        ops = operators(len(strides[0]))
        steps = [tuple(step) for step in strides]
        inputs = [input_channels, *features]
        self.pools = nn.ModuleList(ops.max_pool(step, stride=step, ceil_mode=True) for step in steps[1:])
        self.encoder = nn.ModuleList(
            _double(ops, i, o, kernel, norm)
            for i, o, kernel in zip(inputs, features, kernel_sizes, strict=False)
        )
        self.ups = nn.ModuleList(
            ops.transposed(coarse, fine, step, stride=step)
            for fine, coarse, step in zip(features, features[1:], steps[1:], strict=False)
        )
        self.decoder = nn.ModuleList(
            _double(ops, 2 * width, width, kernel, norm)
            for width, kernel in zip(features[:-1], kernel_sizes, strict=False)
        )
        self.head = ops.conv(features[0], num_classes, 1)
        self.auxiliary = nn.ModuleList(
            ops.conv(width, num_classes, 1) for width in features[1 : auxiliary_heads + 1]
        )
        self.apply(he_normal(0.0))

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        return level_parts(["encoder"], len(self.ups), ["ups", "decoder"], ["head", "auxiliary"])

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        skips = [self.encoder[0](x)]
        for pool, block in zip(self.pools, self.encoder[1:], strict=True):
            skips.append(block(pool(skips[-1])))
        decoded = [skips.pop()]
        for level in reversed(range(len(skips))):
            up = crop_to(self.ups[level](decoded[-1]), skips[level].shape[2:])
            decoded.append(self.decoder[level](concatenate([skips[level], up])))
        decoded.reverse()
        return self.arrange(
            self.head(decoded[0]),
            lambda: [head(y) for head, y in zip(self.auxiliary, decoded[1:], strict=False)],
        )


NETWORK = UNet


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan: its strides and kernels, on at most five levels.

    Raises:
        PlanError: for an option that there is not.
    """
    require_dimensions("unet", topology, DIMENSIONS)
    chosen = choose("unet", OPTIONS, options)
    return {**level_kwargs("unet", topology, chosen), **chosen}
