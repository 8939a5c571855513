"""The card of a bundle: what a model learnt from, how good it was found, where it fails, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.bundle.description import Description
from autoseg.data.formats import WITHOUT_SPACING
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.records.files import FILE_NAME, Record, load_records

_TO_FILL = "*To be filled in by whoever gives this model away.*"
_WORST = 5
# What a reader of a card looks for; the run's record has all.
_SHOWN = ("dice", "iou", "sensitivity", "precision", "nsd", "hd95", "assd", "lesion_f1")


def write_card(path: Path, description: Description, dataset_json: Mapping[str, Any], model: Path) -> None:
    """Write card.md.

    Args:
        path: the file to write.
        description: the bundle's description.
        dataset_json: dataset.json of the data that the model learnt from.
        model: the model's folder, with the records of its folds.
    """
    records = load_records(model) if any(model.rglob(FILE_NAME)) else ()
    parts = [
        _identity(description),
        ["## Intended use", "", _TO_FILL],
        _data(description, dataset_json),
        _scores(records),
        _failures(records),
        _cost(records),
        _licence(dataset_json),
        _use(description),
    ]
    path.write_text("\n".join(line for part in parts for line in (*part, "")), encoding="utf-8")


def _identity(description: Description) -> Iterator[str]:
    about = description.about
    yield f"# {description.name}"
    yield ""
    structures = ", ".join(description.labels.structures)
    networks = sum(len(member.networks) for member in description.members)
    yield (
        f"Segments {structures} in {', '.join(description.channels)}. Trainer `{about['trainer']}`, "
        f"configuration `{about['configuration']}`, {networks} network{'s' * (networks > 1)}, exported by "
        f"autoseg {about['version']} on {about['exported']}. Research software, no medical device."
    )


def _data(description: Description, dataset_json: Mapping[str, Any]) -> Iterator[str]:
    member = description.members[0]
    fingerprint = description.about.get("fingerprint", {})
    yield "## Data"
    yield ""
    count = dataset_json.get("numTraining", "an unknown number of")
    yield f"- Data set: {description.about['dataset']}, {count} cases"
    flat = description.reader == WITHOUT_SPACING  # pictures have pixels, no millimetres
    for name, key in (("Median spacing (mm)", "spacing"), ("Median shape (voxels)", "shape")):
        if fingerprint.get(key) and not (flat and key == "spacing"):
            yield f"- {name}: {' x '.join(f'{value:g}' for value in fingerprint[key])}"
    for number, channel in enumerate(description.channels):
        found = member.plan.intensities.get(str(number), {})
        values = ", ".join(f"{key} {found[key]:.4g}" for key in sorted(found))
        yield f"- Foreground intensities of {channel}: {values}"
    if description.orientation:
        codes = ", ".join(f"{count} {code}" for code, count in description.orientation["codes"].items())
        yield f"- Stored along the axes: {codes}"


def _scores(records: Sequence[Record]) -> Iterator[str]:
    yield "## Scores on held-out cases"
    yield ""
    scored = [record for record in records if record.scores.cases]
    if not scored:
        yield "None: the model has no record of an evaluation."
        return
    yield "Mean over cases with its 95 % interval; a structure that was missed counts as missed."
    yield ""
    yield "| fold | cases | metric | mean | 95 % interval |"
    yield "|---|---|---|---|---|"
    for record in scored:
        for metric, found in record.quality.items():
            if found.value is None or metric not in _SHOWN:
                continue
            interval = "" if found.interval is None else f"{found.interval[0]:.4g} to {found.interval[1]:.4g}"
            name = quantity(metric).title
            yield f"| {record.fold} | {found.n_cases} | {name} | {found.value:.4g} | {interval} |"


def _failures(records: Sequence[Record]) -> Iterator[str]:
    """The cases with the lowest Dice, each once for its worst structure."""
    yield "## Known failures"
    yield ""
    worst = sorted(_case_scores(records))[:_WORST]
    if not worst:
        yield "None known: no case was evaluated."
        return
    yield "The held-out cases with the lowest Dice, each with its worst structure."
    yield ""
    yield "| case | structure | Dice |"
    yield "|---|---|---|"
    for value, case, structure in worst:
        yield f"| {case} | {structure} | {value:.4g} |"


def _case_scores(records: Sequence[Record]) -> Iterator[tuple[float, str, str]]:
    for record in records:
        structures = record.scores.structures
        if not structures or "dice" not in record.scores.metrics:
            continue
        table = np.stack([record.scores.case_scores("dice", structure) for structure in structures])
        for case, values in zip(record.scores.cases, table.T, strict=True):
            if np.isfinite(values).any():
                lowest = int(np.nanargmin(values))
                yield float(values[lowest]), case, structures[lowest]


def _cost(records: Sequence[Record]) -> Iterator[str]:
    yield "## Cost"
    yield ""
    known = [record for record in records if record.cost.train_s is not None]
    if not known:
        yield "Not recorded."
    for record in known:
        cost = record.cost
        steps = "" if cost.training_steps is None else f", {cost.training_steps} steps"
        size = "" if cost.parameters is None else f", {cost.parameters / 1e6:.1f} million parameters"
        case = (
            ""
            if cost.inference_s_per_case is None
            else f", {cost.inference_s_per_case:.3g} s for a held-out case"
        )
        yield f"- Fold {record.fold}: {cost.train_s:.0f} s of training on {record.device}{steps}{size}{case}"


def _licence(dataset_json: Mapping[str, Any]) -> Iterator[str]:
    stated = dataset_json.get("licence") or dataset_json.get("license")
    yield "## Licence"
    yield ""
    yield f"- Data: {stated or 'not stated in dataset.json'}"
    yield f"- Weights: {_TO_FILL}"
    yield "- The program in `runner/`: Apache-2.0"


def _use(description: Description) -> Iterator[str]:
    files = " ".join(
        f"`CASE_{number:04d}{description.file_ending}`" for number in range(len(description.channels))
    )
    yield "## Use"
    yield ""
    yield "`pip install onnxruntime numpy scipy SimpleITK`, then `python run.py INPUT OUTPUT`. INPUT is a"
    yield f"folder with {files} for each case ({', '.join(description.channels)}). Segmentations lie on the"
    yield "images' grids."
    yield ""
    labels = ", ".join(f"{label} {name}" for name, label in description.labels.names.items())
    yield f"Labels: {labels}."
