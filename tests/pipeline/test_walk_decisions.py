"""The walk's own decisions: what is trained, and what time each gets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bare_trainers import ABOUT, fingerprint_of
from given_machines import file_of

from autoseg import plugins
from autoseg.errors import UsageError
from autoseg.pipeline import pilot, trial
from autoseg.pipeline import walk as pipeline
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainer_choice import choose_trainers
from autoseg.planner import plan_experiment
from autoseg.system.machine_model import VARIABLE
from autoseg.tailoring.trainer_spec import Choice
from autoseg.workspace import Workspace

VOLUMES = plan_experiment(ABOUT, fingerprint_of((40, 64, 64)))
PICTURES = plan_experiment(ABOUT, fingerprint_of((1, 128, 128)))


class only_3d:
    """A trainer that has no 2D network."""

    dimensions = (3,)
    preferred_dimension = None


@pytest.fixture
def with_only_3d(monkeypatch: pytest.MonkeyPatch) -> None:
    given = plugins.trainer_class
    monkeypatch.setattr(plugins, "trainer_class", lambda n: only_3d if n == "only_3d" else given(n))


@pytest.mark.usefixtures("with_only_3d")
def test_runnable_is_what_has_a_configuration_of_its_dimension() -> None:
    assert pipeline.is_runnable(Choice("only_3d"), VOLUMES)
    assert not pipeline.is_runnable(Choice("only_3d"), PICTURES)
    assert not pipeline.is_runnable(Choice("only_3d"), VOLUMES, "2d")
    assert pipeline.is_runnable(Choice("unet"), VOLUMES)
    assert not pipeline.is_runnable(Choice("unet"), VOLUMES, "3d_fullres")


@pytest.mark.usefixtures("with_only_3d")
@pytest.mark.parametrize(("plan", "seconds"), [(PICTURES, 30.0), (VOLUMES, 20.0)])
def test_the_budget_is_shared_by_those_that_can_run(
    plan: Any, seconds: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[tuple[str, float]] = []

    def run(one: Any, *_: Any) -> Any:
        given.append((one.choice.name, one.request.run_s))
        return SimpleNamespace(source=None)

    monkeypatch.setattr(trial, "run_trial", run)
    monkeypatch.setattr(pipeline, "link_references", lambda *_: None)
    monkeypatch.setattr(pipeline, "fit_qualities", lambda *_: None)
    monkeypatch.setattr(pilot, "say_doubt", lambda *_: None)
    monkeypatch.setattr(pipeline, "_rank", lambda *_: None)
    prepared: Any = SimpleNamespace(
        dataset=SimpleNamespace(name="Dataset001_Small"), fingerprint=None, folds=(), plan=plan
    )
    choices = [Choice("nnunet"), Choice("only_3d"), Choice("unet")]
    folds: Any = ["first", "second"]
    settings = Settings(total_s=120.0, device="cpu")
    workspace = Workspace.locate(tmp_path)
    pipeline._train_and_rank(prepared, folds, choices, workspace, settings, pipeline.run_each)
    assert [name for name, _ in given] == ["nnunet", "nnunet", "only_3d", "only_3d", "unet", "unet"]
    assert {share for _, share in given} == {seconds}, "an impossible row is told, but takes no time"


def test_a_training_that_a_trainer_does_not_have_is_refused_at_once() -> None:
    prepared: Any = SimpleNamespace(plan=VOLUMES)
    with pytest.raises(UsageError, match="not a trainer of nnU-Net"):
        choose_trainers(("nnunet", "brainunet:stock=true"), prepared)
    chosen = choose_trainers(("nnunet", "nnunet:stock=true"), prepared)
    assert [str(choice) for choice in chosen] == ["nnunet", "nnunet:stock=True"]


def test_auto_takes_what_suits_and_says_why(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(file_of("fast_bf16")))
    prepared: Any = SimpleNamespace(plan=VOLUMES, fingerprint=fingerprint_of((40, 64, 64)))
    with caplog.at_level("INFO", logger="autoseg"):
        chosen = choose_trainers(("auto",), prepared, Settings(total_s=120.0, device="cpu"), 1)
    assert [choice.name for choice in chosen] == ["nnunet"]
    told = [record.message for record in caplog.records]
    assert any(line.startswith("+ nnunet: ") for line in told)
    assert any(line.startswith("- deeplabv3, ") and "it trains in 2D alone" in line for line in told)
    flat = Settings(total_s=7200.0, device="cpu", configuration="2d")
    names = {choice.name for choice in choose_trainers(("auto",), prepared, flat, 1)}
    assert {"nnunet", "resnet34_mlp"} <= names and "brainunet" not in names


def test_the_page_goes_on_showing_what_earlier_calls_left(tmp_path: Path) -> None:
    from autoseg.leaderboard.records.files import Record, write_record

    old, again = (Record(f"Dataset001_Small/{name}", "Dataset001_Small", name, "2d", 0) for name in "ab")
    for record in (old, again):
        write_record(tmp_path / record.trainer / "fold_0" / "record.jsonl", record)
    assert pipeline.earlier_records([again], tmp_path) == (old,)
    assert pipeline.earlier_records([old, again], tmp_path) == ()
    assert pipeline.earlier_records([again], tmp_path / "nowhere") == ()
