"""Where a network's weights come from: nowhere (random), ImageNet, any checkpoint; and what of it fitted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autoseg.errors import RunError, UsageError
from autoseg.transfer.imagenet import imagenet_file
from autoseg.transfer.load_report import LoadReport
from autoseg.transfer.policy import bare
from autoseg.transfer.weight_files import (
    WeightFile,
    aliases,
    content_hash,
    is_trained_model,
    read_weights,
    with_blocks,
)
from autoseg.transfer.weight_fitting import Channels, Fitted, Head, Kernels, fit, known_parts

__all__ = ["Initialisation", "LoadReport", "initialise"]

log = logging.getLogger(__name__)

RANDOM, IMAGENET = "random", "imagenet"
_CHOICES = {
    "channels": ("auto", "sum", "cycle", "mean"),
    "kernels": ("trilinear", "zero"),
    "head": ("auto", "replace"),
}


@dataclass(frozen=True)
class Initialisation:
    """Where weights come from and how they are fitted.

    Attributes:
        source: "random", "imagenet", or the path of a file or of a model's folder.
        channels: how a first layer is fitted to other input channels: "sum", "cycle", "mean", or "auto" (sum
            for one channel, else cycle).
        kernels: how depthwise kernels grow (MedNeXt's from 3 to 5): "trilinear" as published, or "zero".
        head: "auto" takes it over where it fits, "replace" leaves it random.
    """

    source: str = RANDOM
    channels: Channels = "auto"
    kernels: Kernels = "trilinear"
    head: Head = "auto"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}.")

    @classmethod
    def parse(cls, text: str) -> Initialisation:
        """Read ``random``, ``imagenet`` or a path, which is made absolute: a plan keeps it.

        Raises:
            RunError: if there are no weights at that path.
        """
        if text in (RANDOM, IMAGENET):
            return cls(text)
        found = cls(str(Path(text).absolute()))
        found.identity()
        return found

    @property
    def is_trained_model(self) -> bool:
        """Whether the weights are a whole segmentation network's that was trained for its task.

        An encoder of ImageNet's, or a network that learnt without labels, leaves parts random.
        """
        return self.source not in (RANDOM, IMAGENET) and is_trained_model(Path(self.source))

    def to_json(self) -> dict[str, str]:
        """All fields."""
        return asdict(self)

    def identity(self) -> dict[str, str]:
        """The same, with a file's content in place of its path: what decides whether two starts are one.

        Raises:
            RunError: if there is no such file.
        """
        if self.source in (RANDOM, IMAGENET):
            return self.to_json()
        return {**self.to_json(), "source": content_hash(Path(self.source))}


def initialise(network: nn.Module, how: Initialisation | str | Path) -> LoadReport:
    """Give a freshly built network its first weights, in place, and log what fitted.

    Args:
        network: compiled or not, before it is wrapped for distributed training or after.
        how: where the weights come from.

    Raises:
        RunError: if the file is missing, is unsafe, holds numbers that are not finite, or nothing in it fits;
            then the network is unchanged.
        UsageError: if there are no ImageNet weights for this network.
    """
    wanted = how if isinstance(how, Initialisation) else Initialisation(str(how))
    inner = bare(network)
    if wanted.source == RANDOM:
        report = LoadReport.of(inner, RANDOM, None, [Fitted(n, None) for n, _ in inner.named_parameters()])
    else:
        path = imagenet_file(inner) if wanted.source == IMAGENET else Path(wanted.source)
        report = _load(inner, read_weights(path), wanted)
    log.log(logging.INFO if report.names else logging.DEBUG, "%s", report)
    return report


def _load(network: nn.Module, file: WeightFile, how: Initialisation) -> LoadReport:
    tensors = _aligned(network, file.tensors)
    fitted = fit(network, tensors, how.channels, how.kernels, how.head)
    values = {each.name: each.value for each in fitted if each.value is not None}
    _check(network, file, values)
    statistics = _statistics(network, tensors, set(values))
    here = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    with torch.no_grad():
        for name, value in {**values, **statistics}.items():
            here[name].copy_(value)
    unused = _unused(file.tensors, [tensors[name] for name in network.state_dict() if name in tensors])
    return LoadReport.of(network, str(file.path), file.sha256, fitted, _counted(statistics), unused)


def _aligned(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under those names of which most are the network's, by shape and then by name alone."""
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}

    def agreement(named: Mapping[str, Tensor]) -> tuple[int, int]:
        common = [name for name in named if name in shapes]
        return sum(named[name].shape == shapes[name] for name in common), len(common)

    blocks = sum(part.startswith("decoder") for part in known_parts(network))
    variants = aliases(tensors)
    return max([*variants, *(with_blocks(each, blocks) for each in variants)], key=agreement)


def _check(network: nn.Module, file: WeightFile, values: Mapping[str, Tensor]) -> None:
    """Refuse a file of another network: single tensors of any two networks may agree, kernels do not."""
    named = dict(network.named_parameters())
    encoder = [n for n in known_parts(network).get("encoder", tuple(named)) if named[n].ndim > 1]
    taken = sum(named[name].numel() for name in encoder if name in values)
    if not taken:
        raise RunError(
            f"Nothing in {file.path} fits the encoder of {type(network).__name__}: the file's first of "
            f"{len(file.tensors)} tensors is {next(iter(file.tensors))}, the encoder's {encoder[0]}. Give a "
            f"checkpoint of the same architecture and width, or weights of its encoder."
        )
    if broken := next((name for name, value in values.items() if not torch.isfinite(value).all()), None):
        raise RunError(
            f"{file.path} holds numbers that are not finite, in {broken}. Choose another checkpoint."
        )
    if (share := taken / sum(named[name].numel() for name in encoder)) < 0.5:
        log.warning("Only %.0f %% of the encoder's weights are in %s.", 100 * share, file.path)


def _statistics(network: nn.Module, tensors: Mapping[str, Tensor], taken: set[str]) -> dict[str, Tensor]:
    """Running statistics of the normalisations whose weights are taken."""
    return {
        name: tensors[name]
        for name, buffer in network.named_buffers()
        if name in tensors
        and tensors[name].shape == buffer.shape
        and f"{name.rpartition('.')[0]}.weight" in taken
    }


def _counted(statistics: Mapping[str, Tensor]) -> int:
    return sum(tensor.ndim > 0 for tensor in statistics.values())


def _unused(tensors: Mapping[str, Tensor], used: Sequence[Tensor]) -> tuple[str, ...]:
    """Names of a file's tensors that the network has no place for, each tensor once.

    nnU-Net's modules hold some tensors under several names.
    """
    seen = {(tensor.data_ptr(), tensor.shape): "" for tensor in used}
    for name, tensor in tensors.items():
        seen.setdefault((tensor.data_ptr(), tensor.shape), name)
    return tuple(name for name in seen.values() if name)
