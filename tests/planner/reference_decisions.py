"""The decisions before training for the reference fingerprints; run as a script, it writes the golden files.

python tests/planner/reference_decisions.py        # AUTOSEG_TEST_DATA names the folder of the data
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from given_machines import hardware_of

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import plan_experiment
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import choose_dimension
from autoseg.planner.situation import Situation
from autoseg.planner.suitability import suitable_trainers
from autoseg.system.files import write_json

REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
DATA = Path(os.environ.get("AUTOSEG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PUBLISHED = "msd_reference"
# Machines in files, so that no decision depends on the one that a test runs on: their memory (GB), seconds.
SITUATIONS: dict[str, tuple[str, float, float | None]] = {
    "gpu": ("gpu", 24.0, None),
    "fast_bf16_30_min": ("fast_bf16", 16.0, 1800.0),
    "slow_18_min": ("slow", 16.0, 1080.0),
    "laptop_30_min": ("laptop", 8.0, 1800.0),
}


def golden_files(data: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Golden file, fingerprint and dataset.json of every reference whose data are at hand."""
    for folder in sorted(path for path in REFERENCE.iterdir() if path.is_dir()):
        yield folder / "decisions.json", folder / "fingerprint.json", data / folder.name / "dataset.json"
    for folder in sorted(path for path in (data / PUBLISHED).glob("*") if path.is_dir()):
        golden = REFERENCE / f"msd_{folder.name}_decisions.json"
        yield golden, folder / "dataset_fingerprint.json", folder / "dataset.json"


def decisions(fingerprint: Path, dataset_json: Path) -> dict[str, Any]:
    """Dimension and trainers for each situation."""
    found = Fingerprint.load(fingerprint)
    plan = plan_experiment(json.loads(dataset_json.read_text(encoding="utf-8")), found)
    data = DataFacts.of(plan, found)
    result = {}
    for name, (machine, memory_gb, budget_s) in SITUATIONS.items():
        hardware = hardware_of(machine, memory_gb)
        choice = choose_dimension(plan, data, hardware, budget_s)
        trainers = suitable_trainers(Situation(data, choice, plan, hardware, budget_s))
        result[name] = {"dimension": choice.decision.to_json(), "trainers": trainers.decision.to_json()}
    document: dict[str, Any] = json.loads(json.dumps(result))
    return document


if __name__ == "__main__":
    for golden, fingerprint, dataset_json in golden_files(DATA):
        write_json(golden, decisions(fingerprint, dataset_json))
