"""A machine in numbers: read from a file, corrected by what was trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from given_machines import NAMES, file_of, hardware_of

from autoseg.errors import UsageError
from autoseg.system.machine_model import KEPT_RATIOS, LARGEST_RATIO, MachineModel


@pytest.mark.parametrize("name", NAMES)
def test_a_model_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    found = MachineModel.load(file_of(name)).having_seen("nnunet 3D", 1.0, 1.3)
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(found.to_json()))
    assert MachineModel.load(path) == found


def test_the_median_of_the_latest_trainings_corrects_a_prediction() -> None:
    model = MachineModel.load(file_of("slow"))
    assert model.correction("nnunet 3D") == 1.0
    for made in (9.0, 1.2, 1.3, 1.2, 1.1, 1.2):
        model = model.having_seen("nnunet 3D", 1.0, made)
    assert model.correction("nnunet 3D") == pytest.approx(1.2)
    assert len(model.ratios["nnunet 3D"]) == KEPT_RATIOS, "the oldest, a machine that slept, is forgotten"
    assert model.correction("nnunet 2D") == 1.0
    assert model.having_seen("mine", 1.0, 100.0).correction("mine") == LARGEST_RATIO


def test_two_dimensions_have_speeds_of_their_own() -> None:
    hardware = hardware_of("fast_bf16")
    assert hardware.step_seconds(1.3e11, 3) == pytest.approx(1.0)
    assert hardware.step_seconds(1.3e11, 2) == pytest.approx(1.3e11 / 6.6e10)
    assert hardware.step_seconds(0.0, 3, 1e6) == pytest.approx(1.7e-3)
    assert hardware_of("laptop").macs_per_second == pytest.approx(2.8 * 4.0e10)


@pytest.mark.parametrize("text", ["[]", "{}", '{"machine": {"device": "cpu"}}', "no JSON"])
def test_a_file_that_is_no_machine_is_named_with_the_next_step(text: str, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="autoseg list machine --json"):
        MachineModel.load(path)
    with pytest.raises(UsageError, match="cannot be read"):
        MachineModel.load(tmp_path / "none.json")


def test_a_speed_of_nothing_is_refused(tmp_path: Path) -> None:
    document = json.loads(file_of("slow").read_text())["machine"]
    document["forward"]["2d"] = 0
    with pytest.raises(UsageError, match="not above 0"):
        MachineModel.from_json(document)
