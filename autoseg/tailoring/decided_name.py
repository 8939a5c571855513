"""Names of plans that a budget decided on: they carry the decision, so that no two lie in one folder.

A request alone does not make such a plan: what the machine could do when it was planned does as well. A plan
that is made again, because its file is gone or another machine shares the results, may be another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from autoseg.planner.plan import Plan
from autoseg.system.files import digest
from autoseg.tailoring.fit_to_resources import budget_of

_RACE = "_race"


def decided_name(plan: Plan) -> str:
    """What a request calls a plan, with batch, patch and a hash of the rest; without a budget as it is.

    Args:
        plan: with the name that its request gives it.
    """
    if budget_of(plan) is None:
        return plan.name
    configuration = plan.trained_configuration()
    patch = "x".join(map(str, configuration.patch_size))
    networks = {name: each.to_json() for name, each in plan.configurations.items()}
    key = digest({"configurations": networks, "training": plan.require_training().to_json()})
    return f"{plan.name}_b{configuration.batch_size}p{patch}_{key[:6]}"


def find_plan(folder: Path, name: str) -> Path | None:
    """The file of the plan that was made for a request, the latest if there are several; None: none was.

    Args:
        folder: where a data set's plans lie.
        name: what the request names its plan.
    """
    base, race, key = name.partition(_RACE)
    pattern = re.compile(rf"{re.escape(base)}(_b\d+p[\dx]+_[0-9a-f]{{6}})?{race}{re.escape(key)}\.json")
    found = [path for path in folder.glob(f"{base}*.json") if pattern.fullmatch(path.name)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def row_name(name: str, plans: Sequence[Plan]) -> str:
    """What stands for the plan of a row of several trainings, which has no plan of its own.

    Args:
        name: what the request names it.
        plans: of its trainings.
    """
    if all(budget_of(plan) is None for plan in plans):
        return name
    base, race, key = name.partition(_RACE)
    return f"{base}_{digest([plan.name for plan in plans])[:6]}{race}{key}"
