"""Which trainers are taken, which are left, and why; and the table that the choice rests on."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cases import fingerprint, planned
from given_machines import file_of, hardware_of

from autoseg import plugins
from autoseg.architectures import build_network
from autoseg.cli import catalogue
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import UsageError
from autoseg.pipeline import trainer_choice
from autoseg.pipeline.settings import Settings
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import choose_dimension
from autoseg.planner.networks import network_facts
from autoseg.planner.situation import Situation
from autoseg.planner.suitability import FEW_CASES, MOST_TRAINERS, Suitability, suitable_trainers
from autoseg.planner.topology import reference_topology
from autoseg.planner.trainer_facts import facts
from autoseg.system.machine_model import VARIABLE
from autoseg.tailoring.network_facts import numbers_of

ROOT = Path(__file__).parents[2]
VOLUME = fingerprint((128, 160, 128), (1.0, 1.0, 1.0), cases=60)
TINY = fingerprint((36, 50, 36), (1.0, 1.0, 1.0), cases=130)
PICTURE = fingerprint((1, 256, 320), (999.0, 1.0, 1.0), cases=100, channels=3)
THICK = fingerprint((20, 320, 320), (3.6, 0.6, 0.6), cases=40)


def suitable(
    found: Fingerprint,
    budget_s: float | None = None,
    kind: str = "cpu",
    memory_gb: float | None = None,
    ending: str = ".nii.gz",
    runs_each: int = 1,
    pretrained: frozenset[str] = frozenset(),
) -> Suitability:
    plan = planned(found, ending)
    data = DataFacts.of(plan, found)
    hardware = hardware_of({"cpu": "fast_bf16", "cuda": "gpu"}[kind], memory_gb)
    choice = choose_dimension(plan, data, hardware, budget_s)
    return suitable_trainers(
        Situation(data, choice, plan, hardware, budget_s, runs_each, pretrained),
        plugins.available("trainers"),
    )


def reason(found: Suitability, trainer: str) -> str:
    (verdict,) = [each for each in found.verdicts if each.trainer == trainer]
    return verdict.reason


def test_every_trainer_has_a_verdict_with_a_reason() -> None:
    found = suitable(VOLUME, 3600.0)
    assert [each.trainer for each in found.verdicts] == list(plugins.available("trainers"))
    assert all(each.reason for each in found.verdicts)
    assert {each.trainer for each in found.verdicts if each.taken} == set(found.names)
    assert found.decision.value == list(found.names)
    json.dumps(found.decision.to_json(), allow_nan=False)


def test_what_is_3d_is_left_on_2d_and_the_other_way_round() -> None:
    flat, volume = suitable(PICTURE, kind="cuda"), suitable(VOLUME, kind="cuda")
    assert "brainunet" not in flat.names and "3D" in reason(flat, "brainunet")
    assert "mednext_s" not in flat.names
    assert "brainunet" in volume.names
    assert "unet" not in volume.names and "2D alone" in reason(volume, "unet")


def test_pictures_get_encoder_networks_first() -> None:
    found = suitable(PICTURE, kind="cuda", ending=".png")
    assert set(found.names[1:4]) == {"mobilenetv2_unet", "resnet34_mlp", "resnet50_unet"}
    assert "pictures" in reason(found, "resnet50_unet")


def test_a_tiny_volume_gets_no_large_network() -> None:
    found = suitable(TINY, kind="cuda")
    assert not set(found.names) & {"mednext_l", "nnunet_resenc_m", "nnunet_resenc_xl"}
    assert "few for 62 million parameters" in reason(found, "mednext_l")
    assert "nnunet_resenc_m" in suitable(VOLUME, kind="cuda").names


def test_few_cases_get_pretrained_and_small_networks_first() -> None:
    few = fingerprint((1, 256, 320), (999.0, 1.0, 1.0), cases=FEW_CASES - 5)
    found = suitable(few, kind="cuda", pretrained=frozenset({"resnet50_unet"}))
    assert found.names[:2] == ("nnunet", "resnet50_unet")
    assert "few cases (15)" in reason(found, "nnunet_resenc_m")
    parameters = [network_facts()[name].parameters[2] for name in found.names[2:]]
    assert parameters == sorted(parameters)


def test_a_short_budget_on_a_cpu_takes_few_and_small_ones() -> None:
    short, long = suitable(VOLUME, 120.0), suitable(VOLUME, 36000.0)
    assert short.names[0] == "nnunet"
    assert len(short.names) <= len(long.names)
    assert not set(short.names) & {"mednext_l", "nnunet_resenc_m", "brainunet"}
    assert "steps" in reason(short, "brainunet")
    assert suitable(VOLUME, 600.0, kind="cuda").names > short.names[:1]


def test_a_budget_makes_an_adaptive_network_small_enough_for_tiny_volumes() -> None:
    assert "nnunet_resenc_m" in suitable(TINY, 1800.0).names
    assert "nnunet_resenc_m" not in suitable(TINY).names


def test_a_second_trainer_needs_minutes_of_its_own() -> None:
    """Steps of two are fewer than steps of one, until the better of two outweighs that."""
    short, long = suitable(TINY, 300.0), suitable(TINY, 1800.0)
    assert short.names == ("nnunet",) and "alone gets all of the time" in short.allocation.sentence
    assert len(long.names) >= 2 and sum(long.allocation.fractions.values()) == pytest.approx(1.0)
    assert suitable(TINY, 1800.0, runs_each=6).names == ("nnunet",)
    assert suitable(TINY, 1800.0).decision.inputs["allocation"] == long.allocation.sentence


def test_in_doubt_the_slices_of_the_brain_get_a_system_made_for_them() -> None:
    few = fingerprint((128, 160, 121), (1.0, 1.0, 1.0), cases=2)
    found = suitable(few, 14400.0)
    assert found.names[-2:] == ("deepmrseg", "resnet34_mlp")


def test_folds_share_the_budget() -> None:
    one, five = suitable(TINY, 1800.0), suitable(TINY, 1800.0, runs_each=5)
    assert set(five.names) <= set(one.names) and len(five.names) < len(one.names)


def test_what_does_not_fit_the_memory_is_left() -> None:
    found = suitable(VOLUME, kind="cuda", memory_gb=1.5)
    assert "nnunet_resenc_m" not in found.names and "GB" in reason(found, "nnunet_resenc_m")


def test_where_the_dimension_is_in_doubt_slicewise_systems_are_taken_too() -> None:
    found = suitable(THICK, kind="cuda")
    assert "resnet34_mlp" in found.names and "in doubt" in reason(found, "resnet34_mlp")
    assert len(found.names) <= MOST_TRAINERS


def test_a_trainer_of_ones_own_is_named_and_not_chosen() -> None:
    plan = planned(TINY)
    data = DataFacts.of(plan, TINY)
    choice = choose_dimension(plan, data)
    found = suitable_trainers(Situation(data, choice, plan, hardware_of("fast_bf16")), ("nnunet", "mine"))
    assert found.names == ("nnunet",) and "by name" in reason(found, "mine")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_trainers_that_there_are() -> None:
    """Nothing in it is stale. One that is not in it is measured, which takes a moment each time."""
    assert {"nnunet", "brainunet", "mednext_l_k5"} <= set(network_facts())
    assert set(network_facts()) <= set(plugins.built_in("trainers"))


@pytest.mark.parametrize("name", ["nnunet", "brainunet", "resnet34_mlp", "mednext_s", "deeplabv3"])
def test_the_table_says_what_the_networks_are(name: str) -> None:
    table = json.loads((ROOT / "plans" / "presets" / "trainers.json").read_text())["trainers"]
    assert json.loads(json.dumps(numbers_of(name))) == table[name]


@pytest.mark.slow
def test_the_whole_table_says_what_the_networks_are() -> None:
    facts = script("trainer_facts")
    stored, found = json.loads(facts.TABLE.read_text())["trainers"], facts.table()["trainers"]
    assert stored == json.loads(json.dumps({name: found[name] for name in stored}))


@pytest.mark.parametrize("name", plugins.built_in("trainers"))
def test_what_is_read_from_a_file_is_what_its_class_says(name: str) -> None:
    known, trainer = facts(name), plugins.trainer_class(name)
    for item in dataclasses.fields(known):
        if item.name not in ("name", "auto"):
            assert getattr(known, item.name) == getattr(trainer, item.name), item.name
    assert dict(known.auto) == vars(trainer).get("auto", {})
    weights = catalogue._imagenet(trainer.architecture or trainer.planned_architecture)
    assert trainer.pretrained_encoder == (weights is not None)


OUTSIDE = """
from typing import ClassVar
from autoseg.training import Trainer

class swift(Trainer):
    architecture = "unet"
    architecture_options: ClassVar = {"width": 8}
    dimensions = (2,)
    auto: ClassVar = {AUTO}
"""


@pytest.mark.parametrize("auto", ["{'2d': 15}", "{}"])
def test_a_trainer_that_says_what_it_is_for_is_chosen_without_a_list(
    auto: str, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file, here of another package: read, measured, ranked second."""
    monkeypatch.setenv(VARIABLE, str(file_of("gpu")))
    points = {"swift": "outside_swift:swift", "broken": "no_such_module"}
    install({"outside_swift": OUTSIDE.replace("{AUTO}", auto)}, {"autoseg.trainers": points})
    prepared: Any = SimpleNamespace(plan=planned(PICTURE), fingerprint=PICTURE)
    found = trainer_choice.suitable(prepared, Settings(), "cuda", 1)
    assert "broken" not in found.names
    if auto == "{}":
        assert "swift" not in found.names and "Trainer.auto" in reason(found, "swift")
        return
    assert found.names[:2] == ("nnunet", "swift")
    network = build_network("unet", 1, 2, reference_topology(2), width=8)
    assert numbers_of("swift")["parameters"]["2"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("dimensions = (2, 4)", r"dimensions is \(2, 4\); expected"),
        ("preferred_dimension = 3\n    dimensions = (2,)", "preferred_dimension is 3"),
        ("architecture = 'unte'", "no architecture 'unte'. Did you mean 'unet'"),
        ("architecture = 'gone.py'", "which is not there"),
        ("optimizer_name = 'lion'", "optimizer_name is 'lion'; expected sgd, adam or adamw"),
        ("auto = {'4d': 1}", "auto is .*expected ranks"),
        ("learning_rat = 0.1", "sets learning_rat, which nothing reads. Did you mean 'learning_rate'"),
    ],
)
def test_what_is_wrong_with_a_trainer_is_said_when_it_is_read(
    tmp_path: Path, body: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from autoseg.training import Trainer\n\nclass mine(Trainer):\n    {body}\n")
    with pytest.raises(UsageError, match=message):
        plugins.trainer_class(str(file))


def test_a_network_beside_a_trainer_is_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("x = 1\n")
    file = tmp_path / "mine.py"
    file.write_text(
        "from autoseg.training import Trainer\n\nclass mine(Trainer):\n    architecture = 'net.py'\n"
    )
    assert plugins.trainer_class(str(file)).architecture == str(tmp_path / "net.py")
