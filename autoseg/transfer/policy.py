"""Which parts of a network are trained: freezing for every network whose parts are known.

Frozen parameters get no gradient and no place in the optimiser. Frozen normalisations are another matter: as
published, their running statistics go on following the data; `frozen_norm="eval"` keeps them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from autoseg.architectures import parts_of
from autoseg.errors import RunError, UsageError
from autoseg.transfer.strategies import (
    Strategy,
    of_part,
    opening_times,
    read_option,
    strategy_named,
    trained_parts,
)

log = logging.getLogger(__name__)


def bare(network: nn.Module) -> nn.Module:
    """The network inside what torch.compile and data parallelism wrap around it."""
    while True:
        wrapped = isinstance(network, DistributedDataParallel | nn.DataParallel)
        inner = network.module if wrapped else getattr(network, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


@dataclass(frozen=True)
class FineTunePolicy:
    """What is trained, from when on, and how fast.

    Attributes:
        name: the strategy's name, or an alias; see `autoseg.transfer.strategies`.
        train_head: None is the strategy's own way (as published, `b` to `h` leave the head as it is).
        frozen_norm: whether frozen normalisations go on following the data ("train", as published) or keep
            their running statistics ("eval").
        rates: factors of the learning rate by part, 1 where nothing is said; "decoder" means all its blocks.
        opens: part of the training (0 to 1) at which a part begins to be trained.
    """

    name: str
    train_head: bool | None = None
    frozen_norm: Literal["train", "eval"] = "train"
    rates: Mapping[str, float] = field(default_factory=dict)
    opens: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strategy_named(self.name)
        if self.frozen_norm not in ("train", "eval"):
            raise UsageError(f"frozen_norm is {self.frozen_norm!r}; expected 'train' or 'eval'.")
        if wrong := [value for value in self.rates.values() if not value > 0]:
            raise UsageError(f"A rate is {wrong[0]}; expected a factor above 0, or a strategy that freezes.")
        if wrong := [value for value in self.opens.values() if not 0 <= value < 1]:
            raise UsageError(f"A part opens at {wrong[0]}; expected 0 to below 1, a part of the training.")

    @classmethod
    def named(cls, name: str, **options: Any) -> FineTunePolicy:
        """A policy by its strategy's name.

        Args:
            name: the strategy's name.
            options: `train_head` (true, false or "auto"), `frozen_norm`, `PART_rate` and `PART_opens`, where
                PART is encoder, decoder, decoder1 (next to the bottleneck) and on, or head.

        Raises:
            UsageError: for an unknown strategy or option, or a value that makes no sense.
        """
        policy = cls(name)
        for key, value in options.items():
            policy = replace(policy, **read_option(key, value, policy.rates, policy.opens))
        return policy

    @classmethod
    def parse(cls, text: str) -> FineTunePolicy:
        """Read ``STRATEGY`` or ``STRATEGY:option=value:option=value``, as ``ft_decoder:frozen_norm=eval``.

        Raises:
            UsageError: as `named`, or if an option has no value.
        """
        name, *entries = text.split(":")
        pairs = [entry.partition("=") for entry in entries]
        if lonely := next((key for key, equals, _ in pairs if not equals), None):
            raise UsageError(f"{text!r}: the option {lonely!r} has no value. Write {name}:option=value.")
        return cls.named(name.strip(), **{key.strip(): value.strip() for key, _, value in pairs})

    def __str__(self) -> str:
        """The text that `parse` reads."""
        entries = [] if self.train_head is None else [f"train_head={str(self.train_head).lower()}"]
        entries += [] if self.frozen_norm == "train" else [f"frozen_norm={self.frozen_norm}"]
        entries += [f"{part}_rate={value!r}" for part, value in sorted(self.rates.items())]
        entries += [f"{part}_opens={value!r}" for part, value in sorted(self.opens.items())]
        return ":".join([self.name, *entries])

    @property
    def strategy(self) -> Strategy:
        """What the name stands for."""
        return strategy_named(self.name)

    def schedule(self, network: nn.Module) -> dict[str, float]:
        """The parts that are trained, each with the part of the training (0 to 1) at which it opens.

        Raises:
            UsageError: if the network's decoder has fewer blocks than the strategy trains, a rate or a time
                is of a part that is not trained, or nothing is open at the start.
        """
        parts = list(parts_of(bare(network)))
        trained = trained_parts(self.strategy, parts, self.train_head)
        families = {"decoder"} if any(part.startswith("decoder") for part in trained) else set()
        if unknown := sorted({*self.rates, *self.opens} - {*trained, *families}):
            raise UsageError(
                f"{self}: {unknown[0]} is not trained. Of {type(bare(network)).__name__} these parts are: "
                f"{', '.join(trained)}."
            )
        return opening_times(self.strategy, trained, self.opens)

    def apply(self, network: nn.Module, loaded: Collection[str] = ()) -> list[nn.Parameter]:
        """Freeze what is not trained, before the network is wrapped for distributed training.

        Args:
            network: any network whose parts are known; compiled or not.
            loaded: names of the parameters whose weights came from elsewhere. The others are random, and
                random weights that are to stay so give rise to a warning.

        Returns:
            The trained parameters: what belongs into an optimiser.

        Raises:
            RunError: if the network is wrapped already and other parameters were trained.
            UsageError: as `schedule`.
        """
        owner, trained = _owners(network), self.schedule(network)
        named = dict(bare(network).named_parameters())
        changes = [name for name, p in named.items() if p.requires_grad != (owner[name] in trained)]
        if changes and isinstance(network, DistributedDataParallel):
            raise RunError("A policy comes before DistributedDataParallel, which counts on every gradient.")
        for name in changes:
            named[name].requires_grad_(owner[name] in trained)
        self._warn_of_random(owner, trained, loaded)
        log.info("%s", self.describe(network))
        return [parameter for name, parameter in named.items() if owner[name] in trained]

    def _warn_of_random(
        self, owner: Mapping[str, str], trained: Collection[str], loaded: Collection[str]
    ) -> None:
        known = {*trained, *(owner[name] for name in loaded if name in owner)}
        # A random encoder is what some of the strategies are about.
        known |= set() if self.strategy.pretrained else {"encoder"}
        if random := [part for part in dict.fromkeys(owner.values()) if part not in known]:
            head = " train the head as well (train_head=true)," if "head" in random else ""
            log.warning(
                "%s leaves random weights untrained in %s. If that is not intended,%s start from a "
                "checkpoint, or choose another strategy.",
                self,
                ", ".join(random),
                head,
            )

    def groups(self, network: nn.Module, learning_rate: float) -> list[dict[str, Any]]:
        """The trained parameters as an optimiser's groups, one for each part.

        Each group has, beside its parameters and its learning rate, the part's `name`, the factor `rate` and
        the time `opens`, which `set_learning_rates` reads.
        """
        inner = bare(network)
        named, parts = dict(inner.named_parameters()), parts_of(inner)
        return [
            {
                "params": [named[name] for name in parts[part]],
                "lr": learning_rate * of_part(self.rates, part, 1.0) if time == 0 else 0.0,
                "name": part,
                "rate": of_part(self.rates, part, 1.0),
                "opens": time,
            }
            for part, time in self.schedule(network).items()
        ]

    def open_parts(self, network: nn.Module, progress: float) -> tuple[str, ...]:
        """The parts that are trained at `progress` (0 to 1) of the training."""
        return tuple(part for part, time in self.schedule(network).items() if progress >= time)

    def follow(self, network: nn.Module, progress: float) -> None:
        """Open what is open at `progress`, so that no gradients are computed for the rest.

        Distributed training fixes the gradients when it wraps a network, so nothing is changed there: the
        learning rate of a closed part is zero either way.
        """
        if isinstance(network, DistributedDataParallel):
            return
        now, owner = self.open_parts(network, progress), _owners(network)
        for name, parameter in bare(network).named_parameters():
            if parameter.requires_grad != (owner[name] in now):
                parameter.requires_grad_(owner[name] in now)

    def frozen_norms(self, network: nn.Module, progress: float = 1.0) -> list[nn.Module]:
        """The normalisations that are to keep their running statistics: none with `frozen_norm="train"`."""
        if self.frozen_norm == "train":
            return []
        now, owner, inner = self.open_parts(network, progress), _owners(network), bare(network)
        return [
            module
            for name, module in inner.named_modules()
            if getattr(module, "running_mean", None) is not None
            and not _parts_within(inner, name, owner).intersection(now)
        ]

    def keep_frozen_norm(self, network: nn.Module, progress: float = 1.0) -> int:
        """Put them in evaluation mode, and count them; to be called after every `network.train()`."""
        norms = self.frozen_norms(network, progress)
        for module in norms:
            module.eval()
        return len(norms)

    def describe(self, network: nn.Module) -> str:
        """What is trained, in numbers of parameters and tensors."""
        owner, trained = _owners(network), self.schedule(network)
        sizes = {name: parameter.numel() for name, parameter in bare(network).named_parameters()}
        chosen = [size for name, size in sizes.items() if owner[name] in trained]
        return (
            f"{self} trains {', '.join(trained)}: {sum(chosen):,} of {sum(sizes.values()):,} parameters, "
            f"in {len(chosen)} tensors"
        )


def set_learning_rates(optimizer: Optimizer, learning_rate: float, progress: float) -> None:
    """Set the rate of every group: times its factor, zero before it opens; other groups get it plain."""
    for group in optimizer.param_groups:
        is_open = progress >= group.get("opens", 0.0)
        group["lr"] = learning_rate * group.get("rate", 1.0) if is_open else 0.0


def _owners(network: nn.Module) -> dict[str, str]:
    """The part of every parameter."""
    return {name: part for part, names in parts_of(bare(network)).items() for name in names}


def _parts_within(network: nn.Module, name: str, owner: Mapping[str, str]) -> set[str]:
    """The parts that a module's parameters are in; for a module without any, those of its parent."""
    while True:
        own = network.get_submodule(name).named_parameters(name)
        if (found := {owner[key] for key, _ in own if key in owner}) or not name:
            return found
        name = name.rpartition(".")[0]
