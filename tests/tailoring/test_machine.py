"""The machine model: given, kept, measured, corrected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import file_of
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.errors import UsageError
from autoseg.planner import plan_experiment
from autoseg.system.machine_model import VARIABLE, MachineModel
from autoseg.tailoring.machine import kept
from autoseg.tailoring.machine.layers import LAYERS, block_seconds
from autoseg.tailoring.machine.measure import measured_share
from autoseg.tailoring.request import Request, plan_name
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import dimension_of

CPU = torch.device("cpu")


@pytest.fixture
def measurements(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Measurements that were made; each gives the slow machine."""
    made: list[torch.device] = []

    def measure(device: torch.device) -> MachineModel:
        made.append(device)
        return MachineModel.load(file_of("slow"))

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(kept, "measure", measure)
    return made


def test_a_machine_is_measured_once(measurements: list[torch.device], tmp_path: Path) -> None:
    path = tmp_path / "machines.json"
    first = kept.machine_model(CPU, path)
    assert kept.machine_model(CPU, path) == first and measurements == [CPU]


def test_each_training_corrects_the_next(measurements: list[torch.device], tmp_path: Path) -> None:
    path = tmp_path / "machines.json"
    kept.learn(CPU, "nnunet 3D", predicted_s=1.0, made_s=1.5, path=path)
    assert kept.machine_model(CPU, path).correction("nnunet 3D") == 1.5
    kept.learn(CPU, "nnunet 3D", predicted_s=0.0, made_s=1.5, path=path)
    assert kept.machine_model(CPU, path).ratios["nnunet 3D"] == (1.5,)
    assert measurements == [CPU]


def test_what_is_in_the_cache_and_unreadable_is_measured_again(
    measurements: list[torch.device], tmp_path: Path
) -> None:
    path = tmp_path / "machines.json"
    path.write_text(json.dumps({kept.key_of(CPU): {"device": "cpu"}}))
    kept.machine_model(CPU, path)
    assert measurements == [CPU]


def test_a_given_machine_is_taken_as_it_is(
    measurements: list[torch.device], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, str(file_of("laptop")))
    path = tmp_path / "machines.json"
    found = kept.machine_model(CPU, path)
    kept.learn(CPU, "nnunet 3D", 1.0, 2.0, path)
    assert found.name == "four cores of a laptop" and kept.share_now(found) == 1.0
    assert not measurements and not path.exists()
    monkeypatch.setenv(VARIABLE, str(file_of("gpu")))
    with pytest.raises(UsageError, match="describes a cuda, and training is on cpu"):
        kept.machine_model(CPU, path)


def test_plans_for_a_given_machine_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = fingerprint_of((40, 64, 64))

    def named(run_s: float | None) -> str:
        return plan_name(Choice("nnunet"), Request(CPU, run_s=run_s), fingerprint)

    monkeypatch.delenv(VARIABLE, raising=False)
    here, whole = named(60.0), named(None)
    monkeypatch.setenv(VARIABLE, str(file_of("slow")))
    slow = named(60.0)
    monkeypatch.setenv(VARIABLE, str(file_of("laptop")))
    assert len({here, slow, named(60.0)}) == 3
    assert named(None) == whole, "without a budget no machine decides"


def test_without_a_budget_no_machine_is_measured(measurements: list[torch.device]) -> None:
    fingerprint = fingerprint_of((40, 64, 64))
    found = dimension_of(plan_experiment(ABOUT, fingerprint), fingerprint, Request(CPU))
    assert found.value == "3d_fullres" and not measurements


@pytest.mark.parametrize("layer", LAYERS)
def test_every_kind_of_layer_is_measured(layer: str) -> None:
    assert block_seconds(LAYERS[layer], CPU, None, last=True) > 0
    assert torch.get_num_threads() >= 1


def test_a_share_is_a_part() -> None:
    assert 0 < measured_share(2) <= 1


def test_list_machine_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(file_of("slow")))
    shown: Any = CliRunner().invoke(app, ["list", "machine"])
    assert shown.exit_code == 0, shown.output
    assert "one slow core without bfloat16 (cpu, 1 thread)" in shown.output
    assert "3D convolution" in shown.output
    document = json.loads(CliRunner().invoke(app, ["list", "machine", "--json"]).output)
    assert MachineModel.from_json(document["machine"]) == MachineModel.load(file_of("slow"))
    assert document["share_now"] == 1.0
