"""The ways to fine-tune, by name: which parts of a network each of them trains.

`a` to `i` are the nine strategies of Wang, Silvestre and Curran (arXiv 2407.20086) for the fetal head, which
hold for every encoder and decoder. `gradual` opens one part after the other, the head first (Howard and Ruder
2018, arXiv 1801.06146). Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoseg.errors import UsageError


@dataclass(frozen=True)
class Strategy:
    """Which parts are trained.

    Attributes:
        meaning: its meaning in words.
        encoder: whether the encoder is trained.
        blocks: how many decoder blocks: from the bottleneck on, or, if negative, up to full resolution;
            None: all of them.
        head: whether the head is trained, where nobody says otherwise.
        pretrained: whether the encoder is meant to come from elsewhere.
        gradual: whether parts open one after the other, the head first.
    """

    meaning: str
    encoder: bool
    blocks: int | None
    head: bool = False
    pretrained: bool = True
    gradual: bool = False


STRATEGIES: Mapping[str, Strategy] = {
    "a": Strategy("decoder and head, on a random encoder", False, None, head=True, pretrained=False),
    "b": Strategy("encoder, from random weights", True, 0, pretrained=False),
    "c": Strategy("encoder, pretrained", True, 0),
    "d": Strategy("the decoder block next to the bottleneck", False, 1),
    "e": Strategy("the first two decoder blocks", False, 2),
    "f": Strategy("the first three decoder blocks", False, 3),
    "g": Strategy("the last three decoder blocks", False, -3),
    "h": Strategy("the last decoder block", False, -1),
    "i": Strategy("decoder and head, on a pretrained encoder", False, None, head=True),
    "head": Strategy("the head", False, 0, head=True),
    "all": Strategy("everything", True, None, head=True),
    "gradual": Strategy("everything, from the head down to the encoder", True, None, head=True, gradual=True),
}
ALIASES = {"ft_encoder": "c", "ft_decoder": "i"}

# Gradual unfreezing has opened everything by then.
ALL_OPEN_AT = 0.5


def strategy_named(name: str) -> Strategy:
    """A strategy by its name or alias.

    Raises:
        UsageError: if there is none; the message lists what there is.
    """
    if (known := ALIASES.get(name, name)) not in STRATEGIES:
        raise UsageError(
            f"There is no fine-tuning strategy {name!r}. Choose one of {', '.join([*STRATEGIES, *ALIASES])}."
        )
    return STRATEGIES[known]


def trained_parts(strategy: Strategy, parts: Sequence[str], train_head: bool | None = None) -> list[str]:
    """The parts of a network that a strategy trains, from the encoder to the head.

    Args:
        strategy: the strategy.
        parts: the network's parts: encoder, decoder1 (next to the bottleneck) and on, head.
        train_head: None is the strategy's own way.

    Raises:
        UsageError: if the network's decoder has fewer blocks than the strategy trains.
    """
    blocks = sorted(
        (part for part in parts if part.startswith("decoder")),
        key=lambda part: int(part.removeprefix("decoder")),
    )
    wanted = len(blocks) if strategy.blocks is None else strategy.blocks
    if abs(wanted) > len(blocks):
        raise UsageError(
            f"This strategy trains {strategy.meaning}, and the network's decoder has {len(blocks)}. Choose "
            "one of a, b, c, i, head, all and gradual."
        )
    chosen = blocks[wanted:] if wanted < 0 else blocks[:wanted]
    head = strategy.head if train_head is None else train_head
    return [*(["encoder"] if strategy.encoder else []), *chosen, *(["head"] if head else [])]


def opening_times(
    strategy: Strategy, trained: Sequence[str], requested: Mapping[str, float]
) -> dict[str, float]:
    """For each trained part, the part of the training (0 to 1) at which it opens.

    Gradual unfreezing spreads the openings evenly over the first half, from the head to the encoder.

    Raises:
        UsageError: if nothing is open at the start.
    """
    step = ALL_OPEN_AT / max(len(trained) - 1, 1) if strategy.gradual else 0.0
    times = {part: step * place for place, part in enumerate(reversed(trained))}
    times = {part: of_part(requested, part, times[part]) for part in trained}
    if min(times.values(), default=1.0) > 0:
        raise UsageError("Nothing is trained at the start. Let a part that is trained open at 0.")
    return times


def of_part(values: Mapping[str, float], part: str, default: float) -> float:
    """What is said of a part, or of all decoder blocks together, or of neither."""
    family = "decoder" if part.startswith("decoder") else part
    return values.get(part, values.get(family, default))


def read_option(
    key: str, value: Any, rates: Mapping[str, float], opens: Mapping[str, float]
) -> dict[str, Any]:
    """The field of a policy that an option changes, with its new value.

    Args:
        key: train_head, frozen_norm, PART_rate or PART_opens.
        value: as text or as itself.
        rates: what is said of parts so far.
        opens: likewise.

    Raises:
        UsageError: for any other option, or a value that makes no sense.
    """
    part, _, what = key.rpartition("_")
    if key == "train_head":
        choices = {"auto": None, "none": None, "true": True, "false": False}
        if str(value).lower() not in choices:
            raise UsageError(f"train_head is {value!r}; expected true, false or auto.")
        return {key: choices[str(value).lower()]}
    if key == "frozen_norm":
        return {key: value}
    if not part or what not in ("rate", "opens"):
        raise UsageError(
            f"Fine-tuning has no option {key!r}. There are train_head, frozen_norm, PART_rate, PART_opens; "
            "PART is encoder, decoder, decoder1 and on, or head."
        )
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"{key} is {value!r}; expected a number.") from None
    return {"rates": {**rates, part: number}} if what == "rate" else {"opens": {**opens, part: number}}
