"""nnU-Net's networks for inputs of any size.

They take what their strides divide, which every patch of a plan is. By themselves, outside a plan, they are
to take any image: it is padded, and the logits are cropped. Parameters and state dicts are nnU-Net's, and
an input that needs no padding gives what nnU-Net's class gives.
"""

from __future__ import annotations

from typing import Any

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn

from autoseg.architectures._blocks import crop_to, pad_to_multiple
from autoseg.architectures._topology import cumulative


class _AnySize:
    encoder: Any

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, *s) -> (b, num_classes, *s), or a list of them, largest first."""
        strides = cumulative(self.encoder.strides)
        result: Tensor | list[Tensor] = super().forward(pad_to_multiple(x, strides[-1]))  # type: ignore[misc]
        if isinstance(result, Tensor):
            return crop_to(result, x.shape[2:])
        return [
            crop_to(logits, [-(-n // step) for n, step in zip(x.shape[2:], stride, strict=True)])
            for logits, stride in zip(result, strides, strict=False)
        ]


class AnySizePlainConvUNet(_AnySize, PlainConvUNet):  # type: ignore[misc]
    """nnU-Net's class; pads what its strides do not divide."""


class AnySizeResidualEncoderUNet(_AnySize, ResidualEncoderUNet):  # type: ignore[misc]
    """nnU-Net's class; pads what its strides do not divide."""


_ANY_SIZE: dict[type[nn.Module], type[nn.Module]] = {
    PlainConvUNet: AnySizePlainConvUNet,
    ResidualEncoderUNet: AnySizeResidualEncoderUNet,
}


def accept_any_size(network: nn.Module) -> nn.Module:
    """Let a built network of nnU-Net pad its input; in place."""
    network.__class__ = _ANY_SIZE[type(network)]
    return network
