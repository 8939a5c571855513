"""A U-Net around an image classifier: ResNet-34, ResNet-50 or MobileNetV2.

In 2D it is the network of segmentation_models_pytorch, parameter names included, so that checkpoints and
ImageNet encoders of that library load. In 3D it is its twin with cubic kernels and the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from autoseg.architectures._blocks import Operators, SegmentationNetwork, Sizes, operators, resize
from autoseg.architectures._cases import concatenate
from autoseg.architectures._library import library
from autoseg.architectures._mobilenet import MobileNetV2Encoder
from autoseg.architectures._resnet import LEVELS, ResNetEncoder
from autoseg.architectures._topology import Option, Topology, as_lists, choose, cumulative, require_dimensions
from autoseg.errors import PlanError

DIMENSIONS = (2, 3)
# Features of the decoder stages, deepest first, in the published systems and the library.
DECODER = (256, 128, 64, 32, 16)

OPTIONS = {
    "auxiliary_heads": Option(0, "decoder stages below full resolution with a head, at most 3"),
}


def _unit(ops: Operators, inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        ops.conv(inputs, outputs, 3, padding=1, bias=False), ops.norm("batch", outputs), nn.ReLU(inplace=True)
    )


class DecoderBlock(nn.Module):
    """Nearest-neighbour upsampling, concatenation, two 3x3 convolutions."""

    def __init__(self, ops: Operators, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _unit(ops, inputs + skip, outputs)
        self.conv2 = _unit(ops, outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None, size: Sizes) -> Tensor:
        x = resize(x, size, "nearest")
        if skip is not None:
            x = concatenate([x, skip])
        result: Tensor = self.conv2(self.conv1(x))
        return result


class Decoder(nn.Module):
    """Five blocks up to full resolution."""

    def __init__(self, ops: Operators, encoder: Sequence[int]) -> None:
        super().__init__()
        skips = [*reversed(encoder[:-1]), 0]
        inputs = [encoder[-1], *DECODER]
        self.blocks = nn.ModuleList(
            DecoderBlock(ops, i, s, o) for i, s, o in zip(inputs, skips, DECODER, strict=False)
        )


def _library_network(encoder: str, input_channels: int, num_classes: int) -> Any:
    return library().Unet(
        encoder,
        encoder_weights=None,
        decoder_channels=DECODER,
        in_channels=input_channels,
        classes=num_classes,
    )


class EncoderUNet(SegmentationNetwork):
    """U-Net with a classifier as its encoder; any input size.

    Args:
        input_channels: channels of the image.
        num_classes: logits per voxel.
        deep_supervision: whether `forward` gives a list; see `SegmentationNetwork`.
        encoder: "resnet34", "resnet50" or "mobilenet_v2".
        strides: five rows, one per downsampling step of the encoder; in 2D all 2.
        auxiliary_heads: decoder stages below full resolution with a head.
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        *,
        encoder: str,
        strides: Sequence[Sizes],
        auxiliary_heads: int = 0,
    ) -> None:
        axes = len(strides[0])
        super().__init__(deep_supervision, cumulative([(1,) * axes, *strides])[: auxiliary_heads + 1])
        ops = operators(axes)
        if axes == 2:
            library = _library_network(encoder, input_channels, num_classes)
            self.encoder, self.decoder = library.encoder, library.decoder
            self.segmentation_head = library.segmentation_head
        else:
            self.encoder = _volume_encoder(encoder, input_channels, strides)
            self.decoder = Decoder(ops, self.encoder.widths)
            self.segmentation_head = nn.Sequential(ops.conv(DECODER[-1], num_classes, 3, padding=1))
            self.decoder.apply(_initialise)
            nn.init.xavier_uniform_(self.segmentation_head[0].weight)
            nn.init.zeros_(self.segmentation_head[0].bias)
        widths = DECODER[-2 : -2 - auxiliary_heads : -1]
        self.auxiliary = nn.ModuleList(ops.conv(width, num_classes, 1) for width in widths)

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        blocks = {f"decoder{n + 1}": [f"decoder.blocks.{n}"] for n in range(LEVELS)}
        return {"encoder": ["encoder"], **blocks, "head": ["segmentation_head", "auxiliary"]}

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them."""
        maps = self.encoder(x)[-LEVELS:]
        decoded: list[Tensor] = [maps[-1]]
        for number, block in enumerate(self.decoder.blocks, start=2):
            skip = maps[-number] if number <= LEVELS else None
            size = x.shape[2:] if skip is None else skip.shape[2:]
            decoded.append(_decode(block, decoded[-1], skip, size))
        decoded.reverse()
        return self.arrange(
            self.segmentation_head(decoded[0]),
            lambda: [head(y) for head, y in zip(self.auxiliary, decoded[1:], strict=False)],
        )


def _decode(block: Any, x: Tensor, skip: Tensor | None, size: Sizes) -> Tensor:
    if isinstance(block, DecoderBlock):
        result: Tensor = block(x, skip, size)
    else:  # the library's
        result = block(x, *size, skip_connection=skip)
    return result


def _volume_encoder(name: str, input_channels: int, strides: Sequence[Sizes]) -> Any:
    if name == "mobilenet_v2":
        return MobileNetV2Encoder(input_channels, strides)
    return ResNetEncoder(name, input_channels, strides)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")


def encoder_unet_kwargs(
    architecture: str, encoder: str, topology: Topology, **options: Any
) -> dict[str, Any]:
    """The arguments of `EncoderUNet` for a plan; in 3D an axis that the plan does not pool stays.

    Raises:
        PlanError: for an option that there is not.
    """
    require_dimensions(architecture, topology, DIMENSIONS)
    chosen = choose(architecture, OPTIONS, options)
    if chosen["auxiliary_heads"] > 3:
        raise PlanError(f"{architecture} takes at most 3 auxiliary heads, found {chosen['auxiliary_heads']}.")
    flat = topology.dimensions == 2
    strides = ((2, 2),) * LEVELS if flat else topology.level_strides(LEVELS)
    return {"encoder": encoder, "strides": as_lists(strides), **chosen}
