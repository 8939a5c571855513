"""Fingerprints, plans and evaluations in words, for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg.data.dataset import Dataset, Labels, labels_from_json
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import UsageError
from autoseg.metrics import COUNTS
from autoseg.metrics import known as find_known
from autoseg.planner.plan import Configuration, Plan
from autoseg.system.files import read_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from autoseg.evaluation.scoring import Evaluation

HEADLINES = ("dice", "iou", "nsd", "hd95", "hc_absolute_error")
MOST_CASES, FEW_CASES, MOST_STRUCTURES = 40, 10, 6


def describe_fingerprint(dataset: Dataset, fingerprint: Fingerprint) -> str:
    """What a data set is like, in a few lines."""
    shapes, spacings = np.array(fingerprint.shapes_after_crop), np.array(fingerprint.spacings)
    lines = [
        f"{dataset.name}: {len(dataset.cases)} cases, channels {', '.join(dataset.channels)}",
        f"shape     {_spread(shapes)} (part left by the crop: {fingerprint.relative_size_after_crop:.0%})",
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
            f"({size['min']:.4g} to {size['max']:.4g})" + _components(size.get("components"), sizes["unit"])
        )
    return "\n".join(lines)


def _components(found: Mapping[str, Any] | None, unit: str) -> str:
    """How many objects make up a structure in a case, where they are several."""
    if found is None or found["per_case"] <= 1:
        return ""
    return f", in {found['per_case']:g} components of {found['median']:.4g} {unit}"


def describe_plan(plan: Plan) -> str:
    """The configurations of a plan, in words."""
    lines = [f"{plan.name} for {plan.dataset}"]
    for configuration in plan.configurations.values():
        lines += ["", *_configuration_lines(configuration)]
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


def describe_evaluation(evaluation: Evaluation) -> RenderableType:
    """Headline scores of each case, or of the worst where there are many, and means of everything."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_case_table(evaluation), _structure_table(evaluation)]
    whole = evaluation.summary()["case"]
    if whole:
        listed = ", ".join(f"{name} {entry['mean']:.4g}" for name, entry in whole.items())
        parts.append(Text(f"Of whole cases: {listed}."))
    parts.append(Text(_tolerance_words(evaluation)))
    if evaluation.missing:
        names = ", ".join(evaluation.missing[:MOST_CASES])
        parts.append(Text(f"Without a prediction, with the worst scores: {names}."))
    return Group(*parts)


def _tolerance_words(evaluation: Evaluation) -> str:
    tolerances = evaluation.settings.get("tolerance_mm", {})
    unit = evaluation.settings.get("length_unit", "mm")
    listed = ", ".join(f"{value:g} {unit} ({name})" for name, value in tolerances.items())
    if len(set(tolerances.values())) == 1:
        listed = f"{next(iter(tolerances.values())):g} {unit}"
    default = set(tolerances.values()) == {evaluation.settings.get("default_tolerance_mm")}
    return f"Tolerance of NSD: {listed}{', the default' if default else ''}." if listed else ""


def _case_table(evaluation: Evaluation) -> Table:
    """Means over structures of the headline metrics; with many cases only the worst by the first of them."""
    from rich.table import Table

    there = {score.metric for score in evaluation.scores}
    columns = {name: evaluation.values(name) for name in _headlines(there)}
    cases = list(evaluation.cases)
    title = f"{len(cases)} case{'s' if len(cases) != 1 else ''}, {len(evaluation.missing)} missing"
    if len(cases) > MOST_CASES and columns:
        first = next(iter(columns))
        cases = sorted(cases, key=columns[first].__getitem__)[:FEW_CASES]
        title += f"; the {FEW_CASES} worst by {first} (--json has all)"
    table = Table(title=title, title_justify="left")
    table.add_column("case", overflow="fold")
    for name in columns:
        table.add_column(_with_unit(name, evaluation), justify="right")
    for case in cases:
        table.add_row(case, *(f"{column[case]:.4g}" if case in column else "" for column in columns.values()))
    return table


def _structure_table(evaluation: Evaluation) -> Table:
    """Means over cases: a line per metric, or with many structures a line per structure."""
    from rich.table import Table

    means = evaluation.summary()["structures"]
    names = [name for name in dict.fromkeys(m for row in means.values() for m in row) if name not in COUNTS]
    table = Table(title="Means over cases", title_justify="left")

    def value(structure: str, metric: str) -> str:
        entry = means[structure].get(metric)
        return "" if entry is None else f"{entry['mean']:.4g}"

    if len(means) <= MOST_STRUCTURES:
        for title in ("metric", *means):
            table.add_column(title, overflow="fold", justify="left" if title == "metric" else "right")
        for name in names:
            table.add_row(_with_unit(name, evaluation), *(value(structure, name) for structure in means))
        return table
    chosen = _headlines(names)
    table.add_column("structure", overflow="fold")
    for name in chosen:
        table.add_column(_with_unit(name, evaluation), justify="right")
    for structure in means:
        table.add_row(structure, *(value(structure, name) for name in chosen))
    return table


def _headlines(names: Collection[str]) -> list[str]:
    """Of the metrics that were measured, the usual ones and those from outside."""
    own = [name for name in names if (metric := find_known(name)) and metric.group == "own"]
    return [*(name for name in HEADLINES if name in names), *own]


def _with_unit(name: str, evaluation: Evaluation) -> str:
    known = find_known(name)
    unit = known.unit.replace("mm", evaluation.settings.get("length_unit", "mm")) if known else "1"
    return name if unit == "1" else f"{name} ({unit})"


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
