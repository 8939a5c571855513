"""The parts of a network that can be frozen or trained apart: encoder, decoder blocks, head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from autoseg.architectures._blocks import _ADVICE
from autoseg.errors import PlanError

Parts = Mapping[str, Sequence[str]]


def parts_of(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Names of all parameters, by part: "encoder", "decoder1" (next to the bottleneck) and on, "head".

    Every parameter is in exactly one part. nnU-Net's decoders hold their encoder, so its parameters are
    told apart by name and not by module.

    Raises:
        PlanError: for a network whose parts are not known.
    """
    prefixes = _prefixes(network)
    found: dict[str, list[str]] = {part: [] for part in prefixes}
    for name, _ in network.named_parameters():
        owners = [part for part, starts in prefixes.items() if any(_within(name, start) for start in starts)]
        if len(owners) != 1:
            raise PlanError(
                f"The parameter {name} of {type(network).__name__} is in {owners or 'none'} of its parts; "
                "expected exactly one. A network of your own names them in `parts`."
            )
        found[owners[0]].append(name)
    return {part: tuple(names) for part, names in found.items()}


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _prefixes(network: nn.Module) -> Parts:
    own = getattr(network, "parts", None)
    if isinstance(own, Mapping):
        return own
    decoder = getattr(network, "decoder", None)
    if decoder is not None and hasattr(decoder, "seg_layers"):  # nnU-Net's
        blocks = {
            f"decoder{number}": (f"decoder.transpconvs.{number - 1}", f"decoder.stages.{number - 1}")
            for number in range(1, len(decoder.stages) + 1)
        }
        return {"encoder": ("encoder",), **blocks, "head": ("decoder.seg_layers",)}
    raise PlanError(f"The parts of {type(network).__name__} are not known. {_ADVICE}")
