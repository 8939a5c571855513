"""DeepLabV3+, a 2D baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from autoseg.trainers.resnet34_mlp import resnet34_mlp


class deeplabv3plus(resnet34_mlp):
    """DeepLabV3+, trained exactly as `resnet34_mlp`, whose paper compares with it.

    The network of segmentation_models_pytorch with a ResNet-34 encoder, from scratch. 2D only.
    """

    architecture = "deeplabv3plus"
    dimensions = (2,)
    documented = False
    paper = "Chen et al., ECCV 2018, arXiv 1802.02611"
    kind = "DeepLab"
    auto: ClassVar[Mapping[str, int]] = {"2d": 40}
