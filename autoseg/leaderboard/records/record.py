"""A record: one immutable line per run and evaluation. Who, how good, at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autoseg.leaderboard import statistics
from autoseg.leaderboard.quantities import quantity
from autoseg.leaderboard.records.scores import ScoreTable

SCHEMA = 1
UNKNOWN_FOLD = "unknown"
Status = Literal["ok", "partial", "collapsed", "failed", "impossible", "foreign"]


@dataclass(frozen=True)
class Cost:
    """What a run cost; None: not measured.

    Attributes:
        parameters: number of the network's weights.
        trainable_parameters: number of these that were trained.
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
        energy_kwh: energy of the training.
        g_co2: grams of CO2 equivalent that it stands for.
        energy_how: ``measured`` by counters, or ``estimated`` from the processor's nominal power.
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
    energy_kwh: float | None = None
    g_co2: float | None = None
    energy_how: Literal["measured", "estimated"] | None = None


@dataclass(frozen=True)
class Quality:
    """One metric of a record, over its cases.

    Attributes:
        value: mean over cases of the mean over structures; None without a case.
        interval: its 95 % BCa interval; None for a single case or group, and where neither way is better.
        n_cases: cases that were to be predicted.
        n_missing: number of these without a prediction (they count with the worst value).
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
        seed: seed of initialisation, sampling and augmentation.
        status: ``ok``; ``partial`` (ended before its budget or epochs); ``collapsed`` (predicts only
            background); ``failed``; ``impossible`` (cannot run on this data set or device); ``foreign`` (made
            elsewhere).
        reason: why the status is not ``ok``, in a sentence.
        options: the trainer's options, where they differ from its defaults.
        plan: the plan's name; `plan_hash` its content.
        fingerprint_hash: hash of the data set's fingerprint.
        split_hash: hash of all folds of the split.
        grid: where the scores were computed: ``original`` or the spacing that images were resampled to.
        selection: whether these cases also served to choose among models, which flatters the chosen one.
        changes: what the budget changed in the published system, for example ``"width 32 -> 16"``.
        initialisation: ``random``, ``imagenet`` or a checkpoint.
        checkpoint_sha256: SHA-256 of the weights that predicted.
        settings: settings of the evaluation, for example tolerances.
        code_version, code_dirty: autoseg's version; dirty: with changes that no version has.
        environment: versions of Python and of the libraries that matter.
        device: the hardware in words.
        created: ISO 8601 time.
        cost: what it cost.
        scores: every case's scores.
        training_cases: how many cases it was trained on; None: not known.
        data_warnings: what verification found in the data that may spoil a model, a line a kind.
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
    training_cases: int | None = None
    data_warnings: tuple[str, ...] = ()
    source: Path | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The trainer with its options, as the command line takes it: ``deepmrseg:down_kernel=2``."""
        options = (f"{name}={_word(value)}" for name, value in sorted(self.options.items()))
        return ":".join((self.trainer, *options))

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
        groups = (
            [group for group, used in zip(table.groups, known, strict=True) if used] if table.groups else None
        )
        units = len(set(groups)) if groups else values.shape[1]
        if units < 2 or quantity(metric).higher_is_better is None:
            return Quality(mean, None, *counts)
        weights = statistics.resample(values.shape[1], groups)
        (found,) = statistics.mean_intervals(values, weights, groups)
        return Quality(mean, (_short(found.low, 6), _short(found.high, 6)), *counts)

    def to_json(self) -> dict[str, Any]:
        """The record as one JSON object; ``quality`` is derived, for whoever reads the file without us."""
        content = asdict(self)
        del content["source"]
        if self.training_cases is None:  # as in records from before there was such a number
            del content["training_cases"]
        if not self.data_warnings:  # likewise
            del content["data_warnings"]
        if self.cost.energy_kwh is None:
            for name in ("energy_kwh", "g_co2", "energy_how"):
                del content["cost"][name]
        scores = content.pop("scores")
        quality = {metric: asdict(value) for metric, value in self.quality.items()}
        return {"schema": SCHEMA, **content, "quality": quality, "scores": scores}


def _short(value: float, digits: int = 9) -> float:
    return float(f"{value:.{digits}g}")


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
