"""The card of a bundle: what a model learnt from, how good it was found, where it fails, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.bundle.description import Description
from autoseg.data.formats import WITHOUT_SPACING
from autoseg.decoding.rules import Decoding
from autoseg.leaderboard import statistics
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.records.files import FILE_NAME, Record, load_records
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.metrics import ALL_STRUCTURES

CARD = "card.md"
_TO_FILL = "*To be filled in by whoever gives this model away.*"
_WORST = 5
_FEW = 10  # cases, below which a bootstrap interval is too narrow to rest on
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
        _data(description, dataset_json, records),
        _scores(records),
        _structures(records),
        _after_the_network(description),
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
    networks = sum(len(stage.networks) for stage in description.stages)
    first = sum(len(member.previous.networks) for member in description.members if member.previous)
    of_first = f" ({first} of a cascade's first stage)" if first else ""
    yield (
        f"Segments {structures} in {', '.join(description.channels)}. Trainer `{about['trainer']}`, "
        f"configuration `{about['configuration']}`, {networks} network{'s' * (networks > 1)}{of_first}, "
        f"exported by autoseg {about['version']} on {about['exported']}. Research software, no medical "
        f"device."
    )


def _data(
    description: Description, dataset_json: Mapping[str, Any], records: Sequence[Record]
) -> Iterator[str]:
    member = description.members[0]
    fingerprint = description.about.get("fingerprint", {})
    yield "## Data"
    yield ""
    count = dataset_json.get("numTraining", "an unknown number of")
    yield f"- Data set: {description.about['dataset']}, {count} cases"
    for record in records:
        if record.training_cases is not None:
            yield f"- Fold {record.fold} learnt from {record.training_cases} cases"
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
    for warning in dict.fromkeys(each for record in records for each in record.data_warnings):
        yield f"- **May have spoilt the model**: {warning}"


def _scores(records: Sequence[Record]) -> Iterator[str]:
    yield "## Scores on held-out cases"
    yield ""
    scored = [record for record in records if record.scores.cases]
    if not scored:
        yield "None: the model has no record of an evaluation."
        return
    yield (
        "Mean over cases with its 95 % interval; a structure that was missed counts as missed. The cases are "
        "of the same data set: on those of other scanners and hospitals it can be worse (`autoseg validate` "
        "tells). Scores are those of the networks alone, before postprocessing and decoding."
    )
    if any(len(record.scores.cases) < _FEW for record in scored):
        yield f"Of fewer than {_FEW} cases an interval says little."
    if any(record.selection for record in scored):
        yield "The same cases chose this model among others, which flatters it."
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


def _structures(records: Sequence[Record]) -> Iterator[str]:
    """The Dice of each structure over the held-out cases of all folds: a mean over them hides the worst."""
    every = (name for record in records for name in record.scores.structures)
    names = [name for name in dict.fromkeys(every) if name != ALL_STRUCTURES]
    if len(names) < 2 or any(
        "dice" not in record.scores.metrics for record in records if record.scores.cases
    ):
        return
    yield "A case with the structure in neither reference nor prediction has a Dice of 1, one with it in the "
    yield "prediction alone has 0. Both are among the cases, not among those with it."
    yield ""
    yield "| structure | cases | with it | Dice, mean of all folds | 95 % interval | lowest |"
    yield "|---|---|---|---|---|---|"
    for name in names:
        tables = [record.scores for record in records if name in record.scores.structures]
        values = np.concatenate([table.case_scores("dice", name) for table in tables])
        groups = [str(each) for table in tables for each in table.groups or table.cases]
        known = np.isfinite(values)
        used = [group for group, is_used in zip(groups, known, strict=True) if is_used]
        if not used:
            yield f"| {name} | 0 | | not known | | |"
            continue
        found = values[known][None]
        interval = ""
        if len(set(used)) > 1:
            (each,) = statistics.mean_intervals(found, statistics.resample(found.size, used), used)
            interval = f"{each.low:.4g} to {each.high:.4g}"
        there = _with_it(tables, name)
        yield f"| {name} | {found.size} | {there} | {found.mean():.4g} | {interval} | {found.min():.4g} |"


def _with_it(tables: Sequence[ScoreTable], name: str) -> str:
    """How many references have the structure; nothing where a record does not know."""
    voxels = np.concatenate(
        [table.case_scores("tp", name) + table.case_scores("fn", name) for table in tables]
    )
    return "" if not np.isfinite(voxels).all() else str(int(np.count_nonzero(voxels)))


def _after_the_network(description: Description) -> Iterator[str]:
    """What the program does to the networks' output, and what it says about it."""
    rules, decoding = description.postprocessing, description.decoding
    yield "## What is done to the networks' output"
    yield ""
    for rule in rules.rules:
        yield f"- Postprocessing of {rule.words(rules.unit)}"
    if decoding.changes_segmentations:
        yield f"- Segmentations are decided {decoding.way}, not by each voxel's likeliest label"
    if decoding.calibration != Decoding().calibration:
        yield f"- Probabilities are calibrated, temperature {decoding.calibration.temperature:g}"
    for said in (*rules.evidence.get("in_words", ()), *decoding.evidence.get("in_words", ())):
        yield f"- {said}"
    if not rules.rules and decoding == Decoding():
        yield "- Nothing: each voxel has its likeliest label"
    if description.quality is None:
        yield "- How good a segmentation will be is not said: nothing is known of it"
    else:
        yield "- `quality.json` beside the results says of each case how good it will be"


def _failures(records: Sequence[Record]) -> Iterator[str]:
    """Runs that did not end well, then the cases with the lowest Dice, each once for its worst structure."""
    yield "## Known failures"
    yield ""
    runs = list(_failed_runs(records))
    yield from (*runs, "") if runs else ()
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


def _failed_runs(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        if record.status != "ok":
            yield f"- **Fold {record.fold} is {record.status}**: {record.reason or 'no reason is recorded'}"
        if missing := record.scores.missing:
            named = ", ".join(missing[:_WORST])
            yield f"- Fold {record.fold}, cases without a prediction: {len(missing)} ({named})"


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
        size = "" if cost.parameters is None else f", {cost.parameters:,} parameters"
        case = (
            ""
            if cost.inference_s_per_case is None
            else f", {cost.inference_s_per_case:.3g} s for a held-out case"
        )
        yield f"- Fold {record.fold}: {cost.train_s:.0f} s of training on {record.device}{steps}{size}{case}"
        if cost.energy_kwh is not None:
            co2 = "" if cost.g_co2 is None else f", {cost.g_co2:.3g} g of CO2 equivalent"
            yield f"- Fold {record.fold}, energy ({cost.energy_how}): {cost.energy_kwh:.3g} kWh{co2}"
        for change in record.changes:
            yield f"- Fold {record.fold}, changed in the published system: {change}"
    if known and all(record.cost.energy_kwh is None for record in known):
        yield "- Energy: not measured"


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
