"""Baselines of segmentation_models_pytorch under this project's convention: 2D, any input size.

The parameter names are the library's, so its checkpoints load.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from autoseg.architectures._blocks import SegmentationNetwork, crop_to, pad_to_multiple
from autoseg.architectures._topology import Option, Topology, choose, require_dimensions

ENCODERS = ("resnet18", "resnet34", "resnet50", "mobilenet_v2")

OPTIONS = {"encoder": Option("resnet34", "the classifier at its front", ENCODERS)}


def library() -> Any:
    """segmentation_models_pytorch."""
    with warnings.catch_warnings():
        # A package it imports uses what torch 2.15 calls deprecated; nobody who trains can do anything there.
        warnings.simplefilter("ignore", FutureWarning)
        import segmentation_models_pytorch
    return segmentation_models_pytorch


class LibraryNetwork(SegmentationNetwork):
    """A network of the library; the input is padded to what it can take and the logits are cropped.

    Args:
        input_channels: channels of the image.
        num_classes: logits per pixel.
        deep_supervision: whether `forward` gives a list, here of one.
        encoder: a name of the library.
        multiple: what the input size is padded to a multiple of.
        design: the library's class; set by the subclass.
    """

    design: str

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        deep_supervision: bool = False,
        *,
        encoder: str = "resnet34",
        multiple: int = 32,
    ) -> None:
        super().__init__(deep_supervision, [(1, 1)])
        network: Any = getattr(library(), self.design)(
            encoder, encoder_weights=None, in_channels=input_channels, classes=num_classes
        )
        self.encoder = network.encoder
        self.decoder = network.decoder
        self.segmentation_head = network.segmentation_head
        self.multiple = multiple

    @property
    def parts(self) -> Mapping[str, Sequence[str]]:
        return {"encoder": ["encoder"], "decoder1": ["decoder"], "head": ["segmentation_head"]}

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(b, input_channels, y, x) -> (b, num_classes, y, x), or a list of one."""
        padded = pad_to_multiple(x, (self.multiple, self.multiple))
        logits = self.segmentation_head(self.decoder(self.encoder(padded)))
        return self.arrange(crop_to(logits, x.shape[2:]), list)


def library_kwargs(architecture: str, multiple: int, topology: Topology, **options: Any) -> dict[str, Any]:
    """The arguments of a library network.

    Raises:
        PlanError: for a 3D configuration or an option that there is not.
    """
    require_dimensions(architecture, topology, (2,))
    return {**choose(architecture, OPTIONS, options), "multiple": multiple}
