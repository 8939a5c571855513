"""Encoders trained on ImageNet, as their publisher (torchvision) distributes them.

A file is downloaded once, checked against the SHA-256 that its name carries, and kept where torch keeps its
models. On a machine without internet the message names the file to bring and where to put it.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from autoseg.errors import RunError, UsageError

log = logging.getLogger(__name__)

# torchvision's names. Where there are two trainings, the one that the documented systems used.
PUBLISHED = {
    "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
    "resnet34": "ResNet34_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
    "mobilenet_v2": "MobileNet_V2_Weights.IMAGENET1K_V1",
}
# A parameter that an encoder has, and one that tells it from a smaller or larger one of its family.
_MARKS = {
    "mobilenet_v2": ("features.18.0.weight", "features.19.0.weight"),
    "resnet50": ("layer1.2.conv3.weight", "layer3.6.conv1.weight"),
    "resnet34": ("layer3.5.conv1.weight", "layer1.0.conv3.weight"),
    "resnet18": ("layer4.1.conv1.weight", "layer1.2.conv1.weight"),
}


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights and where it comes from.

    Attributes:
        url: the publisher's address.
        folder: the folder of the downloaded file.
    """

    url: str
    folder: Path

    @property
    def path(self) -> Path:
        """Where the file lies once it is there."""
        return self.folder / self.url.rpartition("/")[2]

    @property
    def checksum(self) -> str:
        """How its SHA-256 begins: torch's files carry that in their names."""
        found = re.search(r"-([0-9a-f]{8,})\.", self.path.name)
        return found[1] if found else ""


def imagenet_file(network: nn.Module) -> Path:
    """The file of ImageNet weights for a network's encoder, downloaded if it is not there yet.

    Raises:
        RunError: if it cannot be downloaded or is damaged.
        UsageError: if there are none for this encoder.
    """
    return fetch(published_file(encoder_of(network)))


def encoder_of(network: nn.Module) -> str:
    """The name of a network's encoder, as in `PUBLISHED`, from the names of its parameters.

    Raises:
        UsageError: if it is none of these.
    """
    names = {n.removeprefix("encoder.") for n, _ in network.named_parameters() if n.startswith("encoder.")}
    for encoder, (present, absent) in _MARKS.items():
        if present in names and absent not in names:
            return encoder
    raise UsageError(
        f"There are no ImageNet weights for {type(network).__name__}: its encoder is none of "
        f"{', '.join(PUBLISHED)}. Start from random weights, or from a checkpoint: --init FILE."
    )


def published_file(encoder: str) -> PublishedFile:
    """Where the weights of an encoder are published."""
    from torchvision.models import get_weight

    return PublishedFile(get_weight(PUBLISHED[encoder]).url, Path(torch.hub.get_dir()) / "checkpoints")


def fetch(file: PublishedFile) -> Path:
    """The file, downloaded if it is not there yet; whole and unchanged in either case.

    Raises:
        RunError: if it cannot be downloaded or is damaged.
    """
    if file.path.is_file():
        found = _sha256(file.path)
        if found.startswith(file.checksum):
            return file.path
        raise RunError(
            f"{file.path} is damaged: its SHA-256 is {found}, and should begin with {file.checksum}. Delete "
            f"it to have it downloaded again, or bring it from {file.url}"
        )
    log.info("Downloading %s to %s", file.url, file.folder)
    try:
        file.folder.mkdir(parents=True, exist_ok=True)
        # torch writes beside the file, compares the hash and renames.
        torch.hub.download_url_to_file(file.url, str(file.path), file.checksum or None, progress=False)
    except (OSError, RuntimeError) as problem:
        raise RunError(
            f"{file.path.name} could not be downloaded ({problem}). On a machine with internet, fetch "
            f"{file.url} (its SHA-256 begins with {file.checksum}), and put it at {file.path}, or name it: "
            f"--init FILE."
        ) from None
    return file.path


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
