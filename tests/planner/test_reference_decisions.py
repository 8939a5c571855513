"""The decisions for real fingerprints stay what they were; reference_decisions.py writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from reference_decisions import PUBLISHED, REFERENCE, decisions

SharedData = Callable[[str], Path]
OWN = sorted(path.name for path in REFERENCE.iterdir() if path.is_dir())
TASKS = sorted(
    path.name.removeprefix("msd_").removesuffix("_decisions.json")
    for path in REFERENCE.glob("msd_*_decisions.json")
)


@pytest.mark.parametrize("name", OWN)
def test_decisions_for_our_data_sets(name: str, shared_data: SharedData) -> None:
    about = shared_data(name) / "dataset.json"
    found = decisions(REFERENCE / name / "fingerprint.json", about)
    assert found == json.loads((REFERENCE / name / "decisions.json").read_text())


@pytest.mark.parametrize("task", TASKS)
def test_decisions_for_published_fingerprints(task: str, shared_data: SharedData) -> None:
    folder = shared_data(PUBLISHED) / task
    found = decisions(folder / "dataset_fingerprint.json", folder / "dataset.json")
    assert found == json.loads((REFERENCE / f"msd_{task}_decisions.json").read_text())


def test_the_golden_decisions_are_sensible() -> None:
    """What whoever knows the data would say."""
    expected = {
        "002_Heart": ("3d_fullres", "clear"),
        "003_Liver": ("3d_fullres", "in doubt"),  # nnU-Net's fingerprint does not tell how large it is
        "004_Hippocampus": ("3d_fullres", "clear"),
        "005_Prostate": ("3d_fullres", "in doubt"),  # 20 slices, 6x thicker than wide
        "009_Spleen": ("3d_fullres", "in doubt"),
    }
    assert set(TASKS) == set(expected)
    for task, (value, confidence) in expected.items():
        golden = json.loads((REFERENCE / f"msd_{task}_decisions.json").read_text())["gpu"]
        assert (golden["dimension"]["value"], golden["dimension"]["inputs"]["confidence"]) == (
            value,
            confidence,
        )
        assert golden["trainers"]["value"][0] == "nnunet"
