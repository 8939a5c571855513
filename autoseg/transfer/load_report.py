"""What became of a network's parameters when weights were loaded, in one line and in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoseg.transfer.weight_fitting import Fitted, known_parts


@dataclass(frozen=True)
class Tensors:
    """Some of a network's parameters.

    Attributes:
        reasons: for each name why it is here; empty where there is nothing to say.
        parameters: how many numbers they hold.
    """

    reasons: Mapping[str, str]
    parameters: int

    def __len__(self) -> int:
        return len(self.reasons)

    def __str__(self) -> str:
        """The reasons with the number of tensors that each holds for."""
        counted = Counter(reason for reason in self.reasons.values() if reason)
        return "; ".join(f"{reason} ({number})" for reason, number in counted.most_common())


@dataclass(frozen=True)
class LoadReport:
    """What became of a network's parameters when weights were loaded.

    Attributes:
        source: where they came from.
        sha256: SHA-256 of the file; None for random weights.
        loaded: taken as they were.
        adapted: changed to fit.
        random: not taken.
        random_parts: the parts of the network, such as "head", of which nothing was taken.
        statistics: running statistics of normalisations that were taken.
        unused: names in the file for which the network has no use.
    """

    source: str
    sha256: str | None
    loaded: Tensors
    adapted: Tensors
    random: Tensors
    random_parts: tuple[str, ...] = ()
    statistics: int = 0
    unused: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        network: nn.Module,
        source: str,
        sha256: str | None,
        fitted: Sequence[Fitted],
        statistics: int = 0,
        unused: Sequence[str] = (),
    ) -> LoadReport:
        """The report on a network of which every parameter is in `fitted`."""
        sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}

        def gathered(chosen: list[Fitted]) -> Tensors:
            return Tensors({each.name: each.how for each in chosen}, sum(sizes[each.name] for each in chosen))

        random = gathered([each for each in fitted if each.value is None])
        parts = known_parts(network).items()
        return cls(
            source,
            sha256,
            gathered([each for each in fitted if each.value is not None and not each.how]),
            gathered([each for each in fitted if each.value is not None and each.how]),
            random,
            tuple(part for part, names in parts if names and random.reasons.keys() >= set(names)),
            statistics,
            tuple(unused),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that are not random: what `FineTunePolicy.apply` asks for."""
        return (*self.loaded.reasons, *self.adapted.reasons)

    def __str__(self) -> str:
        """One line."""
        total = len(self.loaded) + len(self.adapted) + len(self.random)
        if not self.names:
            return f"{self.source} weights in all {total} tensors ({self.random.parameters:,})"
        text = f"{self.source}: {len(self.loaded)} of {total} tensors loaded"
        text += f" ({self.loaded.parameters:,} weights)"
        if self.adapted.reasons:
            text += f", {len(self.adapted)} adapted ({self.adapted.parameters:,}): {self.adapted}"
        if self.random.reasons:
            parts = f" in all of {', '.join(self.random_parts)}" if self.random_parts else ""
            text += f", {len(self.random)} left random ({self.random.parameters:,}){parts}: {self.random}"
        return text + (f", {len(self.unused)} of the file unused" if self.unused else "")

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            **{
                name: {"tensors": len(found), "parameters": found.parameters, "reasons": dict(found.reasons)}
                for name, found in (
                    ("loaded", self.loaded),
                    ("adapted", self.adapted),
                    ("random", self.random),
                )
            },
            "random_parts": list(self.random_parts),
            "statistics": self.statistics,
            "unused": list(self.unused),
        }
