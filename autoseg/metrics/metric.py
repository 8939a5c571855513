"""A metric that knows its own meaning, and the register of all metrics.

A metric is a formula under `@metric(...)`. Its scale says what its values mean: one that leaves out the
unit, the best and worst value or the direction fails when its module is imported, not in a ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from autoseg.errors import UsageError

Direction = Literal["higher", "lower", "zero", "none"]
Group = Literal["counts", "overlap", "surface", "volume", "lesions", "head", "secondary", "probabilities"]
Needs = Literal["nothing", "2d", "3d", "probabilities", "all structures", "all cases"]
Formula = TypeVar("Formula", bound=Callable[..., float | None])

# The worst distance is no number but the diagonal of the image at hand.
DIAGONAL: Literal["image diagonal"] = "image diagonal"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What values mean.

    Attributes:
        unit: 1 for a ratio. Lengths are in pixels where an image has no physical size.
        best: the value of a perfect prediction; None if there is none.
        worst: what a missed structure is given; None where the formula itself has a value for it.
        direction: which way is better; `zero` for signed errors.
    """

    unit: str
    best: float | None
    worst: float | Literal["image diagonal"] | None
    direction: Direction


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One definition of a metric.

    Attributes:
        name: what the metric is called.
        definition: id of the formula, `stem[.variant].version`; it changes whenever a value would.
        unit, best, worst, direction: see `Scale`.
        ranked: whether models may be ranked on it.
        group: which metrics it is listed with.
        needs: what it cannot be computed without.
        description: one line.
        formula: from a `Comparison` to the value, None where it is undefined. One that needs all structures
            takes `CaseCounts`; one that needs all cases takes their summed `Counts`.
    """

    name: str
    definition: str
    unit: str
    best: float | None
    worst: float | Literal["image diagonal"] | None
    direction: Direction
    ranked: bool
    group: Group
    needs: Needs
    description: str
    formula: Callable[[Any], float | None]


METRICS: dict[str, Metric] = {}


def metric(
    definition: str,
    scale: Scale,
    *,
    name: str | None = None,
    group: Group,
    ranked: bool,
    needs: Needs = "nothing",
) -> Callable[[Formula], Formula]:
    """Register a formula; its name is what stands before the first dot of the id, unless another is given.

    Raises:
        ValueError: if name or id are taken, if the id has no version or the formula no description, or if
            models may be ranked on it without a direction.
    """
    called = name or definition.partition(".")[0]
    if any(called == each.name or definition == each.definition for each in METRICS.values()):
        raise ValueError(f"The metric {called!r} or the definition {definition!r} exists already.")
    if not definition.rpartition(".v")[2].isdigit():
        raise ValueError(f"The definition {definition!r} has no version. Name it like 'dice.v1'.")
    if ranked and (scale.direction not in ("higher", "lower") or scale.best is None):
        raise ValueError(f"{definition} cannot be ranked on without a direction and a best value.")

    def register(formula: Formula) -> Formula:
        description = (formula.__doc__ or "").strip().partition("\n")[0]
        if not description:
            raise ValueError(f"{definition} has no description. Say in its docstring what it measures.")
        METRICS[called] = Metric(
            name=called,
            definition=definition,
            unit=scale.unit,
            best=scale.best,
            worst=scale.worst,
            direction=scale.direction,
            ranked=ranked,
            group=group,
            needs=needs,
            description=description,
            formula=formula,
        )
        return formula

    return register


def find(name: str) -> Metric:
    """The metric of this name or definition id.

    Raises:
        UsageError: if there is none; the message lists what there is.
    """
    for each in METRICS.values():
        if name in (each.name, each.definition):
            return each
    raise UsageError(
        f"There is no metric {name!r}. Choose from {', '.join(METRICS)}, or give a definition id."
    )


def select(names: Sequence[str] | None) -> tuple[Metric, ...]:
    """The metrics of these names or ids in the register's order; all for None.

    Raises:
        UsageError: for an unknown name.
    """
    wanted = set(METRICS) if names is None else {find(name).name for name in names}
    return tuple(each for each in METRICS.values() if each.name in wanted)
