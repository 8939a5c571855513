"""A record: one immutable line per run and evaluation. Who, how good, at what cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from autoseg import statistics
from autoseg.errors import DataError
from autoseg.files import atomic_path
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.scores import ScoreTable

SCHEMA = 1
FILE_NAME = "record.jsonl"
UNKNOWN_FOLD = "unknown"
Status = Literal["ok", "partial", "failed", "impossible", "foreign"]


@dataclass(frozen=True)
class Cost:
    """What a run cost; None: not measured.

    Attributes:
        parameters: of the network.
        trainable_parameters: of these, how many were trained.
        checkpoint_mb: size of the weights' file, 10^6 bytes.
        flops_per_patch: floating point operations of one forward pass.
        flops_per_case: the same for a whole case, median.
        peak_memory_mb: largest memory in training, 10^6 bytes, on the device or, on the CPU, of the process.
        train_s: wall clock from the first training step to the out-of-fold predictions.
        budget_s: what it was given.
        inference_s_per_case: median, the first case excluded.
        inference_s_per_case_p95: 95th percentile.
        training_steps: optimiser steps.
        epochs: trained.
    """

    parameters: int | None = None
    trainable_parameters: int | None = None
    checkpoint_mb: float | None = None
    flops_per_patch: float | None = None
    flops_per_case: float | None = None
    peak_memory_mb: float | None = None
    train_s: float | None = None
    budget_s: float | None = None
    inference_s_per_case: float | None = None
    inference_s_per_case_p95: float | None = None
    training_steps: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Quality:
    """One metric of a record, over its cases.

    Attributes:
        value: mean over cases of the mean over structures; None without a case.
        interval: its 95 % BCa interval; None with fewer than two cases, and where neither way is better.
        n_cases: cases that were to be predicted.
        n_missing: of these, without a prediction (they count with the worst value).
        n_empty: cases in which some structure is rightly absent.
    """

    value: float | None
    interval: tuple[float, float] | None
    n_cases: int
    n_missing: int
    n_empty: int


@dataclass(frozen=True)
class Record:
    """One run of one trainer on one fold and what its evaluation found.

    Attributes:
        run_id: a name that no other run has.
        dataset: the data set's name.
        trainer: the trainer's name, without options.
        configuration: ``2d``, ``3d_fullres``, ...
        fold: index, ``all``, or ``unknown`` where a foreign table does not say.
        seed: of initialisation, sampling and augmentation.
        status: ``ok``; ``partial`` (ended before its budget or epochs); ``failed``; ``impossible`` (cannot
            run on this data set or device); ``foreign`` (made elsewhere).
        reason: why the status is not ``ok``, in a sentence.
        options: of the trainer, where they differ from its defaults.
        plan: the plan's name; `plan_hash` its content.
        fingerprint_hash: of the data set's fingerprint.
        split_hash: of all folds of the split.
        grid: where the scores were computed: ``original`` or the spacing that images were resampled to.
        selection: whether these cases also served to choose among models, which flatters the chosen one.
        changes: what the budget changed in the published system, for example ``"width 32 -> 16"``.
        initialisation: ``random``, ``imagenet`` or a checkpoint.
        checkpoint_sha256: of the weights that predicted.
        settings: of the evaluation, for example tolerances.
        code_version, code_dirty: of autoseg; dirty: with changes that no version has.
        environment: versions of Python and of the libraries that matter.
        device: the hardware in words.
        created: ISO 8601 time.
        cost: what it cost.
        scores: every case's scores.
        source: the file it was read from; not part of the record's content.
    """

    run_id: str
    dataset: str
    trainer: str
    configuration: str
    fold: int | str
    seed: int = 0
    status: Status = "ok"
    reason: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: str = ""
    plan_hash: str | None = None
    fingerprint_hash: str | None = None
    split_hash: str | None = None
    grid: str = "original"
    selection: bool = False
    changes: tuple[str, ...] = ()
    initialisation: str = "random"
    checkpoint_sha256: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = ""
    code_dirty: bool | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    created: str = ""
    cost: Cost = field(default_factory=Cost)
    scores: ScoreTable = field(default_factory=ScoreTable)
    source: Path | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The trainer with its options, as the command line takes it: ``deepmrseg:down_kernel=2``."""
        options = ",".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.trainer}:{options}" if options else self.trainer

    @property
    def quality(self) -> dict[str, Quality]:
        """Each metric over this record's cases."""
        return {metric: self._quality(metric) for metric in self.scores.metrics}

    def _quality(self, metric: str) -> Quality:
        table, counts = (
            self.scores,
            (len(self.scores.cases), len(self.scores.missing), len(self.scores.empty)),
        )
        values = table.case_scores(metric)
        known = np.isfinite(values)
        if not known.any():
            return Quality(None, None, *counts)
        mean, values = _short(values[known].mean()), values[known][None]
        if len(values[0]) < 2 or quantity(metric).higher_is_better is None:
            return Quality(mean, None, *counts)
        groups = (
            [group for group, used in zip(table.groups, known, strict=True) if used] if table.groups else None
        )
        weights = statistics.resample(values.shape[1], groups)
        (found,) = statistics.mean_intervals(values, weights, groups)
        return Quality(mean, (_short(found.low, 6), _short(found.high, 6)), *counts)

    def to_json(self) -> dict[str, Any]:
        """The record as one JSON object; ``quality`` is derived, for whoever reads the file without us."""
        content = asdict(self)
        del content["source"]
        scores = content.pop("scores")
        quality = {metric: asdict(value) for metric, value in self.quality.items()}
        return {"schema": SCHEMA, **content, "quality": quality, "scores": scores}


def _short(value: float, digits: int = 9) -> float:
    return float(f"{value:.{digits}g}")


def write_record(path: Path, record: Record) -> Record:
    """Write a record as one JSON line, whole or not at all.

    Returns:
        The record, which now knows its file.

    Raises:
        ValueError: for NaN or infinity anywhere in it.
    """
    write_records(path, [record])
    return replace(record, source=path)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, whole or not at all."""
    lines = [json.dumps(record.to_json(), allow_nan=False, separators=(",", ":")) for record in records]
    with atomic_path(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def load_records(*places: Path) -> tuple[Record, ...]:
    """Read records from files and folders.

    Args:
        places: a JSON-lines file, or a folder in which every ``record.jsonl`` below is read.

    Raises:
        DataError: if a place does not exist or a line is no record; the message names file, line and field.
    """
    records: list[Record] = []
    for place in places:
        if place.is_dir():
            files = sorted(place.rglob(FILE_NAME))
        elif place.is_file():
            files = [place]
        else:
            raise DataError(f"There is no file or folder {place}. Give a folder of runs or a record file.")
        for file in files:
            records.extend(read_records(file))
    return tuple(records)


def read_records(path: Path) -> list[Record]:
    """Read one file of JSON lines.

    Raises:
        DataError: naming the line and the field at fault.
    """
    records = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise DataError(f"{path} is not a text file in UTF-8: {problem}. Give a file of records.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            records.append(_parse(line, f"{path}, line {number}", path))
    return records


def _parse(line: str, where: str, path: Path) -> Record:
    from pydantic import ValidationError

    try:
        content = json.loads(line, parse_constant=_refuse)
    except ValueError as problem:
        raise DataError(f"{where}: this is no JSON ({problem}). Write the record again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected one JSON object, found {line[:40]!r}.")
    schema = content.pop("schema", None)
    if schema != SCHEMA:
        raise DataError(
            f"{where}: record schema {schema!r}, this version reads {SCHEMA}. "
            f"Update autoseg, or evaluate the run again."
        )
    content.pop("quality", None)
    try:
        record: Record = _adapter().validate_python(content)
    except ValidationError as problem:
        first = problem.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the record"
        raise DataError(f"{where}: {name}: {first['msg']}. Correct this field.") from None
    _check(record, where)
    object.__setattr__(record, "source", path)
    return record


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that JSON has")


_ADAPTER: list[Any] = []


def _adapter() -> Any:
    """pydantic's validator of a record, built once: building takes longer than reading a thousand."""
    if not _ADAPTER:
        from pydantic import TypeAdapter

        _ADAPTER.append(TypeAdapter(Record))
    return _ADAPTER[0]


def _check(record: Record, where: str) -> None:
    table = record.scores
    if len(set(table.cases)) != len(table.cases):
        twice = next(case for case in table.cases if table.cases.count(case) > 1)
        raise DataError(f"{where}: scores.cases: the case {twice!r} is there twice. Keep one of them.")
    for column in table.columns:
        if len(column.values) != len(table.cases):
            raise DataError(
                f"{where}: scores.columns: {len(column.values)} values of {column.metric} of "
                f"{column.structure!r} for {len(table.cases)} cases. Each case needs one value or null."
            )
    if table.groups is not None and len(table.groups) != len(table.cases):
        raise DataError(
            f"{where}: scores.groups: {len(table.groups)} groups for {len(table.cases)} cases. "
            f"Each case needs one."
        )


STATUSES: tuple[str, ...] = get_args(Status)
