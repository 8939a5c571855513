"""Tiny raw data sets and a suite of them, jobs that do nothing, and what the tests of engines compare."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from autoseg.benchmark.jobs.board import Board
from autoseg.benchmark.jobs.standings import records
from autoseg.benchmark.schedulers import snakemake as snake
from autoseg.leaderboard.records.scores import ScoreTable

# `autoseg` with stages that do nothing but note that they ran.
PROGRAM = (sys.executable, str(Path(__file__).with_name("pretend_program.py")))
snakemake_is_there = pytest.mark.skipif(
    not os.environ.get(snake.PROGRAM_VARIABLE) and importlib.util.find_spec("snakemake") is None,
    reason="Snakemake is not installed, and AUTOSEG_SNAKEMAKE names none",
)
SUITE = """
datasets: [Dataset001_A, Dataset002_B]
trainers: [nnunet, brainunet, resnet34_mlp]
folds: [0, 1]
budget: {per_run: 60s}
device: cpu
resources: {run: {gpus: 0}, prepare: {cpus: 1}}
"""


def make_raw(raw: Path, name: str, cases: int = 6) -> Path:
    """A raw data set whose images nobody reads."""
    root = raw / name
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(cases):
        (root / "imagesTr" / f"c{index:02d}_0000.nii.gz").touch()
        (root / "labelsTr" / f"c{index:02d}.nii.gz").touch()
    about = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "a": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def ran(log: Path) -> Counter[str]:
    """How often each job of `PROGRAM` ran."""
    return Counter(log.read_text().split()) if log.is_file() else Counter()


def scores_of(board: Board) -> dict[tuple[str, str, int], ScoreTable]:
    """All scores of all cases, by data set, trainer with its options, and fold."""
    found = {}
    for record in records(board):
        assert record.scores.cases, f"{record.run_id} has no scores: {record.reason}"
        found[record.dataset, f"{record.trainer} {dict(record.options)}", record.fold] = record.scores
    return found
