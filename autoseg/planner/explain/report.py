"""The whole explanation of a plan: with dimension and trainers, on disk as a page, JSON and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import choose_dimension, requested_dimension
from autoseg.planner.explain.explain import Explanation, explain, to_json, to_markdown
from autoseg.planner.networks import Hardware, NetworkFacts
from autoseg.planner.situation import Situation
from autoseg.planner.suitability import Suitability, suitable_trainers
from autoseg.system.files import write_json, write_text

if TYPE_CHECKING:
    from autoseg.data.dataset import Dataset
    from autoseg.data.fingerprint import Fingerprint
    from autoseg.planner.plan import Plan


def suitability(
    base: Plan,
    fingerprint: Fingerprint,
    hardware: Hardware,
    total_s: float | None = None,
    runs_each: int = 1,
    names: Sequence[str] | None = None,
    pretrained: frozenset[str] = frozenset(),
    configuration: str = "auto",
    measured: Mapping[str, NetworkFacts] | None = None,
) -> tuple[Situation, Suitability]:
    """The dimension and the trainers for a data set.

    Args:
        base: nnU-Net's plan, with all its configurations.
        fingerprint: the fingerprint of the same data set.
        hardware: where it will train.
        total_s: wall clock of all runs together; None: as long as it takes.
        runs_each: runs of every trainer: folds times seeds.
        names: the trainers to choose from; all in the table if None.
        pretrained: trainers whose encoder has pretrained weights at hand.
        configuration: the requested one; ``auto``: the data decide.
        measured: facts of trainers that are not in the planner's table.

    Raises:
        PlanError: if there is no such configuration.
    """
    data = DataFacts.of(base, fingerprint)
    seconds = None if total_s is None else total_s / runs_each
    if configuration == "auto":
        choice = choose_dimension(base, data, hardware, seconds)
    else:
        choice = requested_dimension(base, configuration)
    situation = Situation(data, choice, base, hardware, total_s, runs_each, pretrained)
    return situation, suitable_trainers(situation, names, measured)


def explained(
    plan: Plan, base: Plan, fingerprint: Fingerprint, hardware: Hardware, total_s: float | None = None
) -> tuple[Explanation, ...]:
    """All decisions of a plan, those on dimension and trainers first.

    Args:
        plan: the plan to explain; can be fitted to one trainer.
        base: nnU-Net's, with all its configurations.
        fingerprint: the fingerprint of the same data set.
        hardware: where it will train.
        total_s: wall clock of all runs together.
    """
    situation, trainers = suitability(base, fingerprint, hardware, total_s)
    decisions = {each.name: each for each in (situation.dimension.decision, trainers.decision)}
    # What a plan was really made by counts, not what it would be made by now.
    decisions |= {each.name: each for each in plan.decisions if each.name in decisions}
    return explain(plan, decisions.values())


def with_explanation(plan: Plan, explanations: Sequence[Explanation]) -> Plan:
    """The plan with all explained decisions, their alternatives and costs, kept in it."""
    return dataclasses.replace(plan, decisions=tuple(each.kept for each in explanations))


def write_report(
    path: Path,
    plan: Plan,
    explanations: Sequence[Explanation],
    dataset: Dataset | None = None,
    fingerprint: Fingerprint | None = None,
) -> tuple[Path, ...]:
    """Write the explanation as Markdown, the same as JSON beside it and, with the images, a picture.

    Args:
        path: the page to write; JSON and PNG take its name.
        plan: the plan to explain.
        explanations: see `explained`.
        dataset: the data set with its images; None: no picture.
        fingerprint: the fingerprint of the same data set; None: no picture.

    Returns:
        The files.

    Raises:
        DataError: if the median case has no label file or cannot be read.
    """
    picture, document = path.with_suffix(".png"), path.with_suffix(".json")
    files = [path, document]
    if dataset is not None and fingerprint is not None:
        from autoseg.planner.explain.picture import draw_plan

        draw_plan(dataset, fingerprint, plan, picture)
        files.append(picture)
    write_json(document, to_json(plan, explanations))
    write_text(path, to_markdown(plan, explanations, picture.name if picture in files else None))
    return tuple(files)
