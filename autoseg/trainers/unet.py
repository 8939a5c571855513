"""U-Net, a 2D baseline."""

from __future__ import annotations

from autoseg.trainers.resnet34_mlp import resnet34_mlp


class unet(resnet34_mlp):
    """U-Net, trained exactly as `resnet34_mlp`, whose paper compares with it.

    The plain network of 64 to 1024 features, from scratch. 2D only.
    """

    architecture = "unet"
    dimensions = (2,)
    documented = False
    paper = "Ronneberger et al., MICCAI 2015, arXiv 1505.04597"
    kind = "2D U-Net baselines"
    pretrained_encoder = False
