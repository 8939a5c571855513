"""Engines give what torch gives, and are tried only where there is much to predict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_folders import ABOUT, REGIONS, model_folder, write_volume

from autoseg.bundle.images import read_case
from autoseg.errors import MissingDependency, UsageError
from autoseg.inference import engines, load_model
from autoseg.inference.engines import OnnxRuntime, OpenVino, check_engine, choose
from autoseg.inference.kept_engines import Kept, Measured, engines_file, network_key

SHAPES = {"3d_fullres": (16, 20, 20), "2d": (8, 14, 14)}


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)


@pytest.mark.parametrize(
    ("engine", "trainer", "configuration", "about"),
    [
        ("openvino", "nnunet", "3d_fullres", ABOUT),
        ("openvino", "brainunet", "2d", REGIONS),
        ("onnxruntime", "nnunet", "2d", ABOUT),
    ],
)
def test_another_engine_segments_as_torch_does(
    tmp_path: Path, engine: str, trainer: str, configuration: str, about: Mapping[str, Any]
) -> None:
    for package in engines.OTHERS[engine][1]:
        pytest.importorskip(package, reason="an extra")
    folder = model_folder(tmp_path, trainer, configuration, about, axes=None)
    raw = read_case(
        [write_volume(tmp_path / "images" / "a_0000.nii.gz", SHAPES[configuration])], "SimpleITKIO"
    )
    torches, other = load_model(folder, device="cpu"), load_model(folder, device="cpu")
    other.engine = engine
    expected = torches.segment_image(raw)
    assert len(np.unique(expected)) > 1
    assert np.mean(other.segment_image(raw) == expected) >= 0.999
    expected_type = {"openvino": OpenVino, "onnxruntime": OnnxRuntime}[engine]
    assert [type(each) for each in other._computed_by((1, 1, 1, 1))] == [expected_type]
    # The model's own networks are as they were.
    assert np.array_equal(torches.segment_image(raw), expected)


def test_few_passes_are_not_worth_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(*_: object) -> None:
        raise AssertionError("an engine was tried")

    monkeypatch.setattr(engines, "OpenVino", tried)
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]
    assert choose(networks, 1, (8, 8), engines.FEWEST_PASSES - 1, None) is networks
    assert choose(networks, 1, (8, 8), 10**9, None, "torch") is networks


def test_what_cannot_be_converted_or_differs_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]

    def failing(*_: object) -> None:
        raise RuntimeError("no such operator")

    def other(*_: object) -> Any:
        return lambda batch: torch.ones(len(batch), 2, *batch.shape[2:])

    for name, program in (("openvino", "OpenVino"), ("onnxruntime", "OnnxRuntime")):
        for stand_in in (failing, other):
            monkeypatch.setattr(engines, program, stand_in)
            assert choose(networks, 1, (8, 8), 1, None, name) is networks


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """An engine that computes as torch does and takes the seconds that it is given."""
    found = StandIn()
    monkeypatch.setattr(engines, "OpenVino", found.convert)
    monkeypatch.setattr(engines, "_seconds", found.seconds)
    monkeypatch.setattr(engines, "clock", lambda: 2.0 * len(found.converted))
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    return found


class StandIn:
    """Counts conversions and measurements; a conversion takes two seconds."""

    def __init__(self) -> None:
        self.torch, self.other = 1.0, 0.5
        self.converted: list[object] = []
        self.timed = 0

    def convert(self, network: torch.nn.Module, *_: object) -> Any:
        self.converted.append(network)
        return network

    def seconds(self, call: Any) -> float:
        self.timed += 1
        return self.torch if self.timed % 2 else self.other


def test_a_choice_is_measured_once_and_kept(stand_in: StandIn) -> None:
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]
    kept = Kept(network_key({"network": "conv"}, 1, (8, 8)), None)
    assert kept.read() is None
    choose(networks, 1, (8, 8), 10**6, None, "auto", kept)
    assert kept.read() == Measured(1.0, 0.5, 2.0)
    assert len(stand_in.converted) == 1 and stand_in.timed == 2
    choose(networks, 1, (8, 8), 10**6, None, "auto", kept)
    assert len(stand_in.converted) == 2 and stand_in.timed == 2, "no second measurement"
    # Another network is another question, and where torch is as fast nothing is converted again.
    stand_in.other = 0.95
    other = Kept(network_key({"network": "conv"}, 2, (8, 8)), None)
    assert choose(networks, 1, (8, 8), 10**6, None, "auto", other) is networks
    assert other.read() == Measured(1.0, 0.95, 2.0)
    assert choose(networks, 1, (8, 8), 10**6, None, "auto", other) is networks and stand_in.timed == 4
    for broken in ("no JSON", "[]", json.dumps({kept.key: {"engine": "openvino"}})):
        engines_file().write_text(broken)
        assert kept.read() is None
    kept.write(Measured(1.0, 2.0, 3.0))
    assert kept.read() == Measured(1.0, 2.0, 3.0)


def test_a_measured_engine_is_taken_from_where_it_saves_more_than_its_conversion(stand_in: StandIn) -> None:
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]
    kept = Kept(network_key({"network": "conv"}, 1, (8, 8)), None)
    kept.write(Measured(1.0, 0.5, 2.0))
    # Half a second saved a pass; two for the conversion, one and a half for the check.
    assert choose(networks, 1, (8, 8), 7, None, "auto", kept) is networks and not stand_in.converted
    assert choose(networks, 1, (8, 8), 8, None, "auto", kept) is not networks
    assert len(stand_in.converted) == 1 and stand_in.timed == 0


def test_an_engine_that_was_never_measured_is_tried_where_the_usual_saving_pays(stand_in: StandIn) -> None:
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]
    # A quarter of a second a pass against 1.5 + 1 for the conversion and 8 for the trial.
    assert choose(networks, 1, (8, 8), 42, None) is networks
    assert stand_in.timed == 1 and not stand_in.converted
    stand_in.timed = 0
    assert choose(networks, 1, (8, 8), 43, None) is not networks and len(stand_in.converted) == 1


def test_where_there_is_no_openvino_onnxruntime_is_tried_and_takes_more_to_pay(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "OnnxRuntime", stand_in.convert)
    networks = [torch.nn.Conv2d(1, 2, 3, padding=1)]
    kept = Kept(network_key({"network": "conv"}, 1, (8, 8)), None)
    assert choose(networks, 1, (8, 8), 10**6, None, "auto", kept) is not networks
    assert kept.read() is not None, "of OpenVINO, which is tried first"
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "openvino" else object())
    stand_in.converted, stand_in.timed = [], 0
    # A quarter of a second a pass against 15 + 1 for the conversion and 8 for the trial.
    assert choose(networks, 1, (8, 8), 96, None, "auto", kept) is networks and not stand_in.converted
    stand_in.timed = 0
    assert choose(networks, 1, (8, 8), 97, None, "auto", kept) is not networks
    other = Kept(kept.network, None, "onnxruntime")
    assert other.read() == Measured(1.0, 0.5, 2.0)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert choose(networks, 1, (8, 8), 10**6, None, "auto", kept) is networks


def test_an_engine_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="auto, torch, openvino, onnxruntime"):
        check_engine("tensorrt")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="openvino"):
        check_engine("openvino")
    with pytest.raises(MissingDependency, match=r"onnxruntime.*autoseg-medical\[onnx\]"):
        check_engine("onnxruntime")
    check_engine("auto")
