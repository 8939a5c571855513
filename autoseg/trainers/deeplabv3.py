"""DeepLabV3, a 2D baseline."""

from __future__ import annotations

from autoseg.trainers.resnet34_mlp import resnet34_mlp


class deeplabv3(resnet34_mlp):
    """DeepLabV3, trained exactly as `resnet34_mlp`, whose paper compares with it.

    The network of segmentation_models_pytorch with a ResNet-34 encoder, from scratch. 2D only.
    """

    architecture = "deeplabv3"
    dimensions = (2,)
    documented = False
    paper = "Chen et al., 2017, arXiv 1706.05587"
    kind = "DeepLab"
