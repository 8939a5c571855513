"""Public weights that an encoder can start from. Nothing here is loaded by itself."""

from __future__ import annotations

from dataclasses import dataclass

# torchvision's README: its models may be subject to the terms of the data that they were trained on.
IMAGENET_TERMS = "none stated by torchvision; ImageNet's: non-commercial research"


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights that the 2D encoder of an architecture takes as they are, but for the classifier's layers.

    Attributes:
        name: of the weights.
        source: where they lie.
        licence: what their publisher says about their use.
    """

    name: str
    source: str
    licence: str


def _imagenet(name: str, file: str) -> PretrainedWeights:
    source = f"https://download.pytorch.org/models/{file}"
    return PretrainedWeights(f"ImageNet, torchvision {name}", source, IMAGENET_TERMS)


RESNET34 = _imagenet("ResNet34_Weights.IMAGENET1K_V1", "resnet34-b627a593.pth")
RESNET50 = _imagenet("ResNet50_Weights.IMAGENET1K_V1", "resnet50-0676ba61.pth")
MOBILENET_V2 = _imagenet("MobileNet_V2_Weights.IMAGENET1K_V1", "mobilenet_v2-b0353104.pth")
