"""UNet++, a 2D baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.trainers.resnet34_mlp import resnet34_mlp


class unetplusplus(resnet34_mlp):
    """UNet++, trained exactly as `resnet34_mlp`, whose paper compares with it.

    The network of segmentation_models_pytorch with a ResNet-34 encoder, from scratch. 2D only.
    """

    architecture = "unetplusplus"
    dimensions = (2,)
    documented = False
    paper = "Zhou et al., DLMIA 2018, arXiv 1807.10165"
    kind = "2D U-Net baselines"
    auto: ClassVar[Mapping[str, int]] = {"2d": 60}
