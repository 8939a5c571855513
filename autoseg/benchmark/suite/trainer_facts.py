"""Groups of trainers that a suite may name, resolved without importing any of them."""

from __future__ import annotations

from autoseg import plugins
from autoseg.planner.trainer_facts import TrainerFacts, facts

__all__ = ["GROUPS", "TrainerFacts", "facts", "in_group"]

GROUPS = ("auto", "documented", "baselines", "all")


def in_group(group: str) -> tuple[str, ...]:
    """The trainers of a group.

    ``auto`` and ``all`` are every trainer; those that cannot train a data set become rows that say so.
    """
    names = plugins.available("trainers")
    if group in ("auto", "all"):
        return names
    return tuple(name for name in names if facts(name).documented == (group == "documented"))
