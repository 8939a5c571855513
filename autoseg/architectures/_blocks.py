"""What networks share: operators by dimension, resizing, and the convention of their outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from autoseg.architectures._convolution import Conv2d, Conv3d
from autoseg.architectures._cpu import InstanceNorm2d, InstanceNorm3d, TransposedConv2d, TransposedConv3d
from autoseg.errors import PlanError, UsageError

Sizes = Sequence[int]


@dataclass(frozen=True)
class Operators:
    """The layers of one dimension, so that a network is written once for 2D and 3D."""

    conv: Callable[..., nn.Module]
    transposed: Callable[..., nn.Module]
    max_pool: Callable[..., nn.Module]
    dropout: Callable[..., nn.Module]
    batch: Callable[..., nn.Module]
    instance: Callable[..., nn.Module]
    linear_mode: str

    def norm(self, name: str, channels: int, **kwargs: Any) -> nn.Module:
        """A normalisation layer with learnt scale and shift.

        Raises:
            PlanError: if `name` is neither "batch" nor "instance".
        """
        if name == "batch":
            return self.batch(channels, **kwargs)
        if name == "instance":
            return self.instance(channels, eps=1e-5, affine=True)
        raise PlanError(f"There is no normalisation {name!r}; expected 'batch' or 'instance'.")


_OPERATORS = {
    2: Operators(
        conv=Conv2d,
        transposed=TransposedConv2d,
        max_pool=nn.MaxPool2d,
        dropout=nn.Dropout2d,
        batch=nn.BatchNorm2d,
        instance=InstanceNorm2d,
        linear_mode="bilinear",
    ),
    3: Operators(
        conv=Conv3d,
        transposed=TransposedConv3d,
        max_pool=nn.MaxPool3d,
        dropout=nn.Dropout3d,
        batch=nn.BatchNorm3d,
        instance=InstanceNorm3d,
        linear_mode="trilinear",
    ),
}


def operators(dimensions: int) -> Operators:
    """The layers for 2 or 3 dimensions.

    Raises:
        PlanError: for any other number.
    """
    if dimensions not in _OPERATORS:
        raise PlanError(f"There are no networks in {dimensions} dimensions; expected 2 or 3.")
    return _OPERATORS[dimensions]


def same_padding(kernel: Sizes) -> tuple[int, ...]:
    """The padding that keeps the size under an odd kernel and stride 1."""
    return tuple(k // 2 for k in kernel)


def resize(x: Tensor, size: Sizes, mode: str) -> Tensor:
    """Interpolate (b, c, *spatial) to `size`; half-pixel centres, as everywhere in this project."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if mode == "nearest":
        return functional.interpolate(x, size=tuple(size), mode=mode)
    return functional.interpolate(x, size=tuple(size), mode=mode, align_corners=False)


def crop_to(x: Tensor, size: Sizes) -> Tensor:
    """Drop what lies beyond `size` at the far end of each spatial axis."""
    for axis, length in enumerate(size, start=2):
        if x.shape[axis] != length:
            x = x.narrow(axis, 0, length)
    return x


def pad_to_multiple(x: Tensor, divisor: Sizes) -> Tensor:
    """Append edge-replicated voxels until every axis is a multiple of `divisor`; crop_to undoes it."""
    missing = [-n % d for n, d in zip(x.shape[2:], divisor, strict=True)]
    if not any(missing):
        return x
    pairs = [side for n in reversed(missing) for side in (0, n)]
    return functional.pad(x, pairs, mode="replicate")


_ADVICE = (
    "Give it a property `parts`, so that they can be frozen or trained apart: a dictionary of 'encoder', "
    "'decoder1' (next to the bottleneck) and on, and 'head', each with names of submodules in a list."
)


class SegmentationNetwork(nn.Module):
    """The convention that all networks of autoseg follow.

    `forward` takes an image, ``(b, input_channels, *spatial)``, and gives logits of the same size,
    ``(b, num_classes, *spatial)``. While `deep_supervision` is true it gives a list of logits, largest
    first, one per entry of `output_strides`. Heads exist whether or not they are used, so a
    state dict loads either way.
    """

    deep_supervision: bool

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.forward is not nn.Module.forward and cls.parts is SegmentationNetwork.parts:
            raise UsageError(f"The network {cls.__name__} does not name its parts. {_ADVICE}")

    def __init__(self, deep_supervision: bool, output_strides: Sequence[Sizes]) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self._output_strides = tuple(tuple(row) for row in output_strides)

    @property
    def output_strides(self) -> list[tuple[int, ...]]:
        """Per-axis total strides of the outputs under deep supervision, largest output first."""
        return list(self._output_strides)

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        """Submodules of "encoder", "decoder1" (next to the bottleneck) and on, and "head"."""
        raise PlanError(f"The network {type(self).__name__} does not name its parts. {_ADVICE}")

    def arrange(self, logits: Tensor, auxiliary: Callable[[], Sequence[Tensor]]) -> Tensor | list[Tensor]:
        """The forward result; `auxiliary` (largest first) is only called under deep supervision."""
        return [logits, *auxiliary()] if self.deep_supervision else logits


def level_parts(
    encoder: Sequence[str], levels: int, lists: Sequence[str], head: Sequence[str]
) -> dict[str, Sequence[str]]:
    """The parts of a U-Net whose decoder lies in lists of modules, full resolution first."""
    blocks = {
        f"decoder{number}": [f"{name}.{levels - number}" for name in lists] for number in range(1, levels + 1)
    }
    return {"encoder": encoder, **blocks, "head": head}


def he_normal(negative_slope: float) -> Callable[[nn.Module], None]:
    """Initialise convolutions as He et al. 2015 (arXiv 1502.01852) for a leaky ReLU, biases to zero."""

    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=negative_slope)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    return initialise
