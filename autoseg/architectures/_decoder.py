"""nnU-Net's decoder with the concatenation of this package; see `autoseg.architectures._cases`."""

from __future__ import annotations

from collections.abc import Sequence

from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor

from autoseg.architectures._cases import concatenate


class Decoder(UNetDecoder):  # type: ignore[misc]
    """nnU-Net's class."""

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Maps of the encoder, largest first, -> logits, or a list of them, largest first."""
        x = skips[-1]
        outputs: list[Tensor] = []
        levels = zip(self.transpconvs, self.stages, self.seg_layers, reversed(skips[:-1]), strict=True)
        for up, stage, head, skip in levels:
            x = stage(concatenate((up(x), skip)))
            if self.deep_supervision:
                outputs.insert(0, head(x))
        if self.deep_supervision:
            return outputs
        result: Tensor = self.seg_layers[-1](x)
        return result
