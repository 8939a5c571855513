"""Fingerprints, plans and evaluations in words, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.dataset import Dataset, Labels, labels_from_json
from autoseg.errors import UsageError
from autoseg.files import read_json
from autoseg.fingerprint import Fingerprint
from autoseg.plan import Configuration, Decision, Plan

if TYPE_CHECKING:
    from rich.table import Table

    from autoseg.evaluate import Evaluation


def describe_fingerprint(dataset: Dataset, fingerprint: Fingerprint) -> str:
    """What a data set is like, in a few lines."""
    shapes, spacings = np.array(fingerprint.shapes_after_crop), np.array(fingerprint.spacings)
    lines = [
        f"{dataset.name}: {len(dataset.cases)} cases, channels {', '.join(dataset.channels)}",
        f"shape     {_spread(shapes)} (kept by the crop: {fingerprint.relative_size_after_crop:.0%})",
        f"spacing   {_spread(spacings)}",
    ]
    for channel, values in fingerprint.intensities.items():
        name = dataset.channels[int(channel)]
        lines.append(
            f"intensity {name}: mean {values['mean']:.4g}, sd {values['std']:.4g}, "
            f"0.5 to 99.5 % {values['percentile_00_5']:.4g} to {values['percentile_99_5']:.4g} (foreground)"
        )
    sizes = fingerprint.class_sizes
    for name, size in sizes.get("structures", {}).items():
        lines.append(
            f"structure {name}: in {size['cases']} cases, median {size['median']:.4g} {sizes['unit']} "
            f"({size['min']:.4g} to {size['max']:.4g})"
        )
    return "\n".join(lines)


def describe_plan(plan: Plan, explain: bool = False) -> str:
    """What was decided, and on request by which rule from which numbers."""
    lines = [f"{plan.name} for {plan.dataset}"]
    for configuration in plan.configurations.values():
        lines += ["", *_configuration_lines(configuration)]
    if explain:
        lines += ["", "Decisions"]
        for decision in plan.decisions:
            lines += ["", *_decision_lines(decision)]
    return "\n".join(lines)


def _configuration_lines(configuration: Configuration) -> list[str]:
    kwargs = configuration.architecture.kwargs
    network = configuration.architecture.class_path.rsplit(".", 1)[-1]
    features = kwargs.get("features_per_stage") or kwargs.get("features")
    return [
        configuration.name,
        f"  spacing {_row(configuration.spacing)} mm, median shape {_row(configuration.median_shape)}",
        f"  patch {_row(configuration.patch_size)}, batch {configuration.batch_size}",
        f"  {network}" + (f", features {', '.join(map(str, features))}" if features else ""),
        f"  normalisation {', '.join(configuration.normalization)}",
    ]


def _decision_lines(decision: Decision) -> list[str]:
    lines = [f"{decision.name} = {_text(decision.value)}", f"  rule:   {decision.rule}"]
    lines += [f"  {name}: {_text(value)}" for name, value in decision.inputs.items()]
    return [*lines, f"  source: {decision.source}"]


def describe_evaluation(evaluation: Evaluation) -> Table:
    """Means per structure and metric, as a table."""
    from rich.table import Table

    metrics = list(dict.fromkeys(score.metric for score in evaluation.scores))
    structures = list(dict.fromkeys(score.structure for score in evaluation.scores))
    table = Table(title=f"{len(evaluation.cases)} cases, {len(evaluation.missing)} missing")
    table.add_column("structure")
    for metric in metrics:
        table.add_column(metric, justify="right")
    for structure in structures:
        cells = []
        for metric in metrics:
            values = [
                s.value
                for s in evaluation.scores
                if (s.structure, s.metric) == (structure, metric) and s.value is not None
            ]
            cells.append(f"{np.mean(values):.4g}" if values else "")
        table.add_row(structure, *cells)
    return table


def labels_of(dataset_json: Path | None, references: Path) -> Labels:
    """The labels of a dataset.json: the one given, or the one beside or in the references' folder.

    Raises:
        UsageError: if there is none.
    """
    places = (
        [dataset_json] if dataset_json else [references / "dataset.json", references.parent / "dataset.json"]
    )
    for place in places:
        if place.is_file():
            return labels_from_json(read_json(place))
    raise UsageError(
        f"There is no dataset.json in {', '.join(str(place.parent) for place in places)}. "
        f"Name it: --dataset-json FILE."
    )


def _spread(rows: np.ndarray[Any, Any]) -> str:
    return f"median {_row(np.median(rows, 0))}, from {_row(rows.min(0))} to {_row(rows.max(0))}"


def _row(values: Sequence[float] | Any) -> str:
    return " x ".join(f"{float(value):.4g}" for value in values)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(value)
