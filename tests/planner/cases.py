"""Situations that several tests of the decisions before training start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan

Triple = tuple[float, float, float]
INTENSITIES = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}
PERCENTILES = {"percentile_99_5": 1.0, "percentile_00_5": 0.0}


def fingerprint(
    shape: tuple[int, int, int],
    spacing: Triple,
    cases: int = 30,
    structures: Mapping[str, float] | None = None,
    channels: int = 1,
) -> Fingerprint:
    """Equal cases, with the median size in mm^3 of each structure, or as nnU-Net writes it if None."""
    sizes: dict[str, Any] = {}
    if structures is not None:
        sizes = {"unit": "mm^3", "structures": {name: {"median": n} for name, n in structures.items()}}
    return Fingerprint(
        (spacing,) * cases,
        (shape,) * cases,
        {channel: INTENSITIES | PERCENTILES for channel in range(channels)},
        1.0,
        sizes,
    )


def planned(found: Fingerprint, file_ending: str = ".nii.gz") -> Plan:
    """nnU-Net's plan for a fingerprint."""
    about = {
        "channel_names": {str(channel): f"MR{channel}" for channel in found.intensities},
        "labels": {"background": 0, "organ": 1},
        "numTraining": len(found.spacings),
        "file_ending": file_ending,
    }
    return plan_experiment(about, found, dataset_name="Dataset900_Test")
