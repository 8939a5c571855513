"""ResNet-34 with a lightweight decoder of multi-layer perceptrons (arXiv 2606.01293).

The paper states the encoder, pointwise perceptrons, bilinear upsampling instead of transposed convolutions
and a slice-wise (2D) model; widths are not published. Two readings are offered: `decoder="unet"`, where a
perceptron refines each skip on the way up, and `decoder="segformer"`, the all-MLP head of Xie et al. 2021
(arXiv 2105.15203). In 3D the same layers work on volumes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from autoseg.architectures._blocks import Operators, SegmentationNetwork, Sizes, operators, resize
from autoseg.architectures._cases import concatenate
from autoseg.architectures._resnet import LEVELS, ResNetEncoder
from autoseg.architectures._topology import Option, Topology, as_lists, choose, cumulative, require_dimensions
from autoseg.errors import PlanError

DIMENSIONS = (2, 3)

OPTIONS = {
    "decoder": Option(
        "unet", "reading of the decoder: by stages, or all scales at once", ("unet", "segformer")
    ),
    "decoder_features": Option((256, 128, 64, 32, 16), "features of the five decoder stages, deepest first"),
    "expansion": Option(2, "hidden over outer features of a perceptron (unet)"),
    "depthwise": Option(False, "a 3x3 depthwise convolution inside each perceptron (unet)"),
    "embedding": Option(256, "features per scale (segformer)"),
    "norm": Option("batch", "normalisation", ("batch", "instance")),
    "auxiliary_heads": Option(0, "decoder stages below full resolution with a head (unet), at most 3"),
}


class Perceptron(nn.Module):
    """x + W2 GELU(W1 norm(x)), pointwise; optionally with a depthwise convolution before the GELU."""

    def __init__(self, ops: Operators, features: int, expansion: int, depthwise: bool, norm: str) -> None:
        super().__init__()
        hidden = features * expansion
        self.norm = ops.norm(norm, features)
        self.expand = ops.conv(features, hidden, 1)
        self.mix = ops.conv(hidden, hidden, 3, padding=1, groups=hidden) if depthwise else nn.Identity()
        self.activation = nn.GELU()
        self.project = ops.conv(hidden, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.project(self.activation(self.mix(self.expand(self.norm(x)))))
        return result


class DecoderStage(nn.Module):
    """Upsample, join the skip, reduce with a 1x1 convolution, norm and ReLU, refine with a perceptron.

    The 1x1 convolution over the concatenation is written as the sum of one over each part, and the part
    over the coarse features, which commutes with the interpolation, comes before it: the same function
    and the same parameters, without the concatenation and with a quarter of that part's work.
    """

    def __init__(
        self, ops: Operators, inputs: int, skip: int, outputs: int, expansion: int, depthwise: bool, norm: str
    ) -> None:
        super().__init__()
        self.from_coarse = ops.conv(inputs, outputs, 1, bias=False)
        self.from_skip = ops.conv(skip, outputs, 1, bias=False) if skip else None
        self.norm = ops.norm(norm, outputs)
        self.activation = nn.ReLU(inplace=True)
        self.perceptron = Perceptron(ops, outputs, expansion, depthwise, norm)
        self.mode = ops.linear_mode
        for convolution in (self.from_coarse, self.from_skip):
            if convolution is not None:  # He et al. 2015, with the inputs of the whole sum
                nn.init.normal_(convolution.get_parameter("weight"), std=(2 / (inputs + skip)) ** 0.5)

    def forward(self, x: Tensor, skip: Tensor | None, size: Sizes) -> Tensor:
        x = resize(self.from_coarse(x), size, self.mode)
        if self.from_skip is not None:
            x = x + self.from_skip(skip)
        result: Tensor = self.perceptron(self.activation(self.norm(x)))
        return result


class StagewiseDecoder(nn.Module):
    """Five stages up to full resolution; gives their results, largest first."""

    def __init__(
        self,
        ops: Operators,
        encoder: Sequence[int],
        features: Sequence[int],
        expansion: int,
        depthwise: bool,
        norm: str,
    ) -> None:
        super().__init__()
        inputs = [encoder[-1], *features]
        skips = [*reversed(encoder[:-1]), 0]
        self.stages = nn.ModuleList(
            DecoderStage(ops, i, s, o, expansion, depthwise, norm)
            for i, s, o in zip(inputs, skips, features, strict=False)
        )

    def forward(self, maps: Sequence[Tensor], size: Sizes) -> list[Tensor]:
        decoded = [maps[-1]]
        for number, stage in enumerate(self.stages, start=2):
            skip = maps[-number] if number <= len(maps) else None
            decoded.append(stage(decoded[-1], skip, size if skip is None else skip.shape[2:]))
        return decoded[:0:-1]


class AllScalesDecoder(nn.Module):
    """One linear map per scale to a shared width, joined at the second resolution (1/4)."""

    def __init__(self, ops: Operators, encoder: Sequence[int], embedding: int, norm: str) -> None:
        super().__init__()
        self.linear = nn.ModuleList(ops.conv(channels, embedding, 1) for channels in encoder[1:])
        self.fuse = nn.Sequential(
            ops.conv(embedding * len(self.linear), embedding, 1, bias=False),
            ops.norm(norm, embedding),
            nn.ReLU(inplace=True),
        )
        self.mode = ops.linear_mode

    def forward(self, maps: Sequence[Tensor], size: Sizes) -> list[Tensor]:
        joint = maps[1].shape[2:]
        scales = [
            resize(linear(scale), joint, self.mode)
            for linear, scale in zip(self.linear, maps[1:], strict=True)
        ]
        return [self.fuse(concatenate(scales))]


class ResNet34MLP(SegmentationNetwork):
    """ResNet-34 encoder, perceptron decoder; any input size.

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list; see `SegmentationNetwork`.
        strides: five rows: stem, pool and the last three layers of the encoder.
        decoder: "unet" or "segformer".
        decoder_features: per decoder stage, deepest first (unet).
        expansion: hidden over outer features of a perceptron (unet).
        depthwise: a 3x3 depthwise convolution inside each perceptron (unet).
        embedding: features per scale (segformer).
        norm: "batch" or "instance".
        auxiliary_heads: decoder stages below full resolution with a head (unet).
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        *,
        strides: Sequence[Sizes],
        decoder: str = "unet",
        decoder_features: Sequence[int] = (256, 128, 64, 32, 16),
        expansion: int = 2,
        depthwise: bool = False,
        embedding: int = 256,
        norm: str = "batch",
        auxiliary_heads: int = 0,
    ) -> None:
        identity = (1,) * len(strides[0])
        super().__init__(deep_supervision, cumulative([identity, *strides])[: auxiliary_heads + 1])
        ops = operators(len(strides[0]))
        self.encoder = ResNetEncoder("resnet34", input_channels, strides, norm)
        self.decoder: nn.Module
        if decoder == "unet":
            self.decoder = StagewiseDecoder(
                ops, self.encoder.widths, decoder_features, expansion, depthwise, norm
            )
            widths = list(reversed(decoder_features))
        else:
            self.decoder = AllScalesDecoder(ops, self.encoder.widths, embedding, norm)
            widths = [embedding]
        self.head = ops.conv(widths[0], num_classes, 1)
        self.auxiliary = nn.ModuleList(
            ops.conv(width, num_classes, 1) for width in widths[1 : auxiliary_heads + 1]
        )
        self.mode = ops.linear_mode

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        if isinstance(self.decoder, StagewiseDecoder):
            blocks = {f"decoder{n + 1}": [f"decoder.stages.{n}"] for n in range(len(self.decoder.stages))}
        else:
            blocks = {"decoder1": ["decoder"]}
        return {"encoder": ["encoder"], **blocks, "head": ["head", "auxiliary"]}

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        size = x.shape[2:]
        decoded = self.decoder(self.encoder(x), size)
        return self.arrange(
            resize(self.head(decoded[0]), size, self.mode),
            lambda: [head(y) for head, y in zip(self.auxiliary, decoded[1:], strict=False)],
        )


NETWORK = ResNet34MLP


def kwargs_for(topology: Topology, **options: Any) -> dict[str, Any]:
    """The network for a plan: an axis that the plan does not yet pool is not pooled here either.

    Raises:
        PlanError: for an option that there is not, or one that excludes another.
    """
    require_dimensions("resnet34_mlp", topology, DIMENSIONS)
    chosen = choose("resnet34_mlp", OPTIONS, options)
    most = 3 if chosen["decoder"] == "unet" else 0
    if chosen["auxiliary_heads"] > most:
        raise PlanError(
            f"resnet34_mlp with decoder={chosen['decoder']!r} takes at most {most} auxiliary heads, "
            f"found {chosen['auxiliary_heads']}."
        )
    features = chosen["decoder_features"]
    if len(features) != LEVELS or min(features) < 1:
        raise PlanError(f"resnet34_mlp: decoder_features is {features}; expected {LEVELS} positive numbers.")
    return {
        "strides": as_lists(topology.level_strides(LEVELS)),
        **chosen,
        "decoder_features": list(features),
    }
