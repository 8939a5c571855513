"""A metric that knows its own meaning, and the register of all metrics.

A metric is a formula under `@metric(...)`. Its scale says what its values mean: one that leaves out the
unit, the best and worst value or the direction fails when its module is imported, not in a ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from autoseg.errors import UsageError

Direction = Literal["higher", "lower", "zero", "none"]
Group = Literal[
    "counts", "overlap", "surface", "volume", "lesions", "head", "secondary", "probabilities", "own"
]
Needs = Literal["nothing", "2d", "3d", "probabilities", "all structures", "all cases"]
Formula = TypeVar("Formula", bound=Callable[..., float | None])

# The worst distance is not a number but the diagonal of the image at hand.
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
# Metrics from outside that records tell of, where nothing has registered them.
DECLARED: dict[str, Metric] = {}
# Of the metrics that are built in, the order in which they are listed.
ORDER: tuple[Group, ...] = get_args(Group)
# The meaning of a metric, without its formula, as a record keeps it.
_MEANING = ("definition", "unit", "best", "worst", "direction", "ranked", "description")


def metric(
    definition: str,
    scale: Scale,
    *,
    name: str | None = None,
    group: Group = "own",
    ranked: bool,
    needs: Needs = "nothing",
) -> Callable[[Formula], Formula]:
    """Register a formula; its name is what stands before the first dot of the id, unless another is given.

    Args:
        definition: id of the formula, such as ``dice.v1``; count up the version when a value changes.
        scale: what its values mean.
        name: instead of the id's first part.
        group: which metrics it is listed with. Those of the group ``own`` are measured on request alone.
        ranked: whether models may be ranked on it.
        needs: what it cannot be computed without.

    Raises:
        ValueError: if name or id are taken, if the id has no version or the formula no description, or if
            models may be ranked on it without a direction.
    """
    called = name or definition.partition(".")[0]
    taken = [each for each in METRICS.values() if called == each.name or definition == each.definition]
    if any(each.group != "own" for each in taken):
        raise ValueError(f"The metric {called!r} or the definition {definition!r} exists already.")
    if not definition.rpartition(".v")[2].isdigit():
        raise ValueError(f"The definition {definition!r} has no version. Name it like 'dice.v1'.")
    if ranked and (scale.direction not in ("higher", "lower") or scale.best is None):
        raise ValueError(f"{definition} cannot be ranked on without a direction and a best value.")

    def register(formula: Formula) -> Formula:
        description = (formula.__doc__ or "").strip().partition("\n")[0]
        if not description:
            raise ValueError(f"{definition} has no description. Say in its docstring what it measures.")
        for each in taken:
            if not _again(each.formula, formula):
                raise ValueError(
                    f"The metric {called!r} or the definition {definition!r} exists already in "
                    f"{each.formula.__module__}."
                )
            del METRICS[each.name]
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


def _again(before: Callable[..., Any], now: Callable[..., Any]) -> bool:
    """Whether a formula is an earlier one after a change of its file."""
    return (before.__module__, before.__qualname__) == (now.__module__, now.__qualname__)


def in_order() -> None:
    """Bring what is built in into the order of its groups."""
    found = sorted(METRICS.items(), key=lambda item: ORDER.index(item[1].group))
    METRICS.clear()
    METRICS.update(found)


def meanings(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What the metrics from outside among these mean, for whoever has not got their files."""
    own = [METRICS[name] for name in sorted(names) if name in METRICS and METRICS[name].group == "own"]
    return {each.name: {key: getattr(each, key) for key in _MEANING} for each in own}


def declare(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Make the meaning of metrics known that a record tells of; see `meanings`."""
    for name, meaning in found.items():
        if name not in METRICS and set(_MEANING) <= set(meaning):
            meanings = {key: meaning[key] for key in _MEANING}
            DECLARED[name] = Metric(name=name, group="own", needs="nothing", formula=_unknown, **meanings)


def _unknown(_: Any) -> float | None:
    raise UsageError("The formula of this metric is not known here. Name the file that it is in.")


def known(name: str) -> Metric | None:
    """The metric of this name, registered or declared by a record; None if nobody knows it."""
    return METRICS.get(name) or DECLARED.get(name)


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
