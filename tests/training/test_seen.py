"""What is seen of a training: its table, its loggers, its energy, and its live line."""

from __future__ import annotations

import csv
import importlib.util
import logging
import math
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bare_trainers import bare_trainer

from autoseg.errors import MissingDependency, UsageError
from autoseg.run import PROGRESS
from autoseg.system import progress
from autoseg.training import energy, tracking
from autoseg.training.energy import Energy, EnergyMeter
from autoseg.training.logger import About, Logger
from autoseg.training.progress_rows import ProgressRow, as_csv
from autoseg.training.tracking import Tracking
from autoseg.workspace import Workspace


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.VARIABLE, "")
    monkeypatch.setenv(energy.VARIABLE, "")


def row(epoch: int, dice: tuple[float, ...] = (0.5, 0.7)) -> ProgressRow:
    return ProgressRow(epoch, 10 * epoch + 10, 0.01, -0.25, -0.5, dice, 1.5, 1.25, 8.0)


def test_a_value_that_is_not_finite_is_an_empty_cell() -> None:
    text = as_csv([row(0), row(1, (math.nan, 0.75))], ("organ", "a,b"))
    first, second = csv.DictReader(text.splitlines())
    assert first["dice"] == "0.6" and first["dice organ"] == "0.5" and first["steps_per_cpu_second"] == "8.0"
    assert (second["dice"], second["dice organ"], second["dice a,b"]) == ("0.75", "", "0.75")


def trained_a_part(trainer: Any, steps: int, loss: float) -> None:
    """What a loop leaves when one part has ended."""
    trainer.steps_done += steps
    epoch = trainer.current_epoch
    for key, value in (("lrs", 0.01), ("train_losses", loss), ("val_losses", loss), ("mean_fg_dice", 0.5)):
        trainer.logger.log(key, value, epoch)
    trainer.logger.log("dice_per_class_or_region", [0.5], epoch)
    trainer.add_row()
    trainer.current_epoch += 1


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    made = bare_trainer(workspace, shape=(2, 24, 24))
    Path(made.output_folder).mkdir(parents=True, exist_ok=True)
    return made


def steps_in_the_table(trainer: Any) -> list[str]:
    with (Path(trainer.output_folder) / PROGRESS).open() as file:
        return [each["step"] for each in csv.DictReader(file)]


def test_rows_after_the_last_checkpoint_are_replaced(trainer: Any) -> None:
    assert trainer.structure_names == ("organ",)
    trained_a_part(trainer, 5, 1.0)
    state = trainer.seen_state()
    trained_a_part(trainer, 5, 0.5)
    assert steps_in_the_table(trainer) == ["5", "10"]
    trainer.load_seen(state)
    trainer.steps_done, trainer.current_epoch = 5, 1
    trained_a_part(trainer, 6, 0.5)
    assert steps_in_the_table(trainer) == ["5", "11"]
    assert trainer.rows[0].dice == (0.5,)


def test_a_table_that_cannot_be_written_ends_no_training(
    trainer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(trainer.output_folder) / PROGRESS).mkdir()
    trained_a_part(trainer, 5, 1.0)
    assert len(trainer.rows) == 1 and "could not be written" in caplog.text


def test_the_live_line_has_loss_dice_and_speed(trainer: Any) -> None:
    assert trainer.live_words() == ""
    trainer._cpu_before = trainer._cpu_began = None
    trainer._cpu_before, trainer._cpu_began = 0.0, -1.0  # so that a second and more of computing is behind it
    trained_a_part(trainer, 5, 1.0)
    words = trainer.live_words(0.25)
    assert words.startswith("loss 0.250, Dice 0.500, ") and words.endswith(" steps/CPU s")
    assert trainer.live_words().startswith("loss 1.000")


def test_the_time_left_goes_by_what_is_done_in_this_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress._lines("Train", total=100, before=80) as advance:
        now[0] += 20.0
        advance(5, detail="loss 0.1")
    said = capsys.readouterr().err
    assert "Train: 85%, about 60 s left, loss 0.1\n" in said


# Loggers


OWN = '''
from autoseg.training import Logger


class Own(Logger):
    """Writes what it gets."""

    def __init__(self, about):
        super().__init__(about)
        self._say(f"begin {about.name} {about.first_step} {about.settings['trainer']}")

    def _say(self, text):
        with (self.about.folder / "said.txt").open("a") as file:
            file.write(text + "\\n")

    def row(self, step, values):
        self._say(f"{step} {values['train_loss']}")

    def end(self, finished):
        self._say(f"end {finished}")
'''


def about(folder: Path, first_step: int = 0) -> About:
    return About("D/run", folder, folder, first_step, {"trainer": "nnunet", "dataset": "D"})


def test_a_logger_of_ones_own_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    tracking.choose(str(tmp_path / "own.py"))
    running = Tracking.begin(about(tmp_path, 5))
    running.row(10, {"train_loss": 0.5})
    running.end(False)
    assert (tmp_path / "said.txt").read_text() == "begin D/run 5 nnunet\n10 0.5\nend False\n"


class Broken(Logger):
    calls = 0

    def row(self, step: int, values: Mapping[str, float]) -> None:
        Broken.calls += 1
        raise ConnectionError("the server is away\nfor long")


def test_a_broken_logger_is_said_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = Tracking({"broken": Broken(about(tmp_path))})
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            running.row(step, {})
        running.end(True)
    assert Broken.calls == 1
    assert caplog.text.count("The logger broken failed: ConnectionError: the server is away. ") == 1


def test_a_logger_that_cannot_begin_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(tracking.VARIABLE, "no_such_logger")
    Tracking.begin(about(tmp_path)).row(1, {})
    assert "There is no logger named 'no_such_logger'" in caplog.text


def test_an_interrupt_gets_through_a_logger(tmp_path: Path) -> None:
    class Interrupted(Logger):
        def row(self, step: int, values: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Tracking({"x": Interrupted(about(tmp_path))}).row(1, {})


def test_what_is_missing_is_said_before_the_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    given = importlib.util.find_spec
    gone = ("tensorboard", "codecarbon")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else given(name))
    with pytest.raises(MissingDependency, match=r"logger tensorboard needs.*\[tensorboard\]"):
        tracking.choose("tensorboard")
    with pytest.raises(MissingDependency, match=r"energy needs.*\[energy\]"):
        energy.choose("DEU")


def test_unknown_loggers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no logger named 'tensorbord'. Choose one of mlflow, tensorboard"):
        tracking.choose("tensorbord")
    with pytest.raises(UsageError, match="twice"):
        tracking.choose("wandb,wandb")


def test_tensorboard_has_each_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracking.choose("tensorboard")
    for first, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        running = Tracking.begin(about(tmp_path, first))
        for step in steps:
            running.row(step, {"step": step, "train_loss": step + first, "dice organ": 0.5})
        running.end(True)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {"train_loss", "dice/organ"}
    points = [(event.step, event.value) for event in found.Scalars("train_loss")]
    assert points == [(10, 10), (20, 20), (30, 50), (40, 60)]


def test_mlflow_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking.choose("mlflow")
    for first, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        running = Tracking.begin(about(tmp_path, first))
        for step in steps:
            running.row(step, {"step": step, "train_loss": 1.0, "dice a,b": 0.5})
        running.end(first > 0)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "D"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["trainer"] == "nnunet"
    assert [each.step for each in client.get_metric_history(run.info.run_id, "dice a_b")] == [10, 20, 30, 40]


def test_wandb_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracking.choose("wandb")
    for first, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        running = Tracking.begin(about(tmp_path, first))
        for step in steps:
            running.row(step, {"step": step, "train_loss": 1.0})
        running.end(True)
    assert (tmp_path / "wandb" / "last_step.txt").read_text() == "40"
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


# Energy


class Fake:
    """CodeCarbon as this uses it: a tracker that calls its handlers when it is flushed."""

    def __init__(self, counters: bool) -> None:
        self.given: dict[str, Any] = {}
        self.failing = False
        package, core = types.ModuleType("codecarbon"), types.ModuleType("codecarbon.core")
        output = types.ModuleType("codecarbon.output")
        fake = self

        class Tracker:
            def __init__(self, **given: Any) -> None:
                fake.given = given

            def start(self) -> None:
                pass

            def flush(self) -> None:
                if fake.failing:
                    raise OSError("no counter")
                data = types.SimpleNamespace(energy_consumed=0.002, emissions=0.0008)
                for handler in fake.given["output_handlers"]:
                    handler.out(data, data)

            stop = flush

        package.OfflineEmissionsTracker = Tracker  # type: ignore[attr-defined]
        output.BaseOutput = object  # type: ignore[attr-defined]
        core.cpu = types.SimpleNamespace(  # type: ignore[attr-defined]
            is_rapl_available=lambda: counters, is_powergadget_available=lambda: False
        )
        self.modules = {"codecarbon": package, "codecarbon.core": core, "codecarbon.output": output}


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(counters=True)
    for name, module in fake.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv(energy.VARIABLE, "DEU")
    return fake


def test_energy_of_several_starts_adds_up(counters: Fake) -> None:
    meter = EnergyMeter({"kwh": 0.5, "g_co2": 200.0, "how": "estimated", "country": "DEU"})
    meter.begin()
    # Read twice: a reading is what this start took so far, not what is added.
    assert meter.read() == meter.read() == Energy(0.502, 200.8, "estimated", "DEU")
    meter.end()
    assert meter.state() == {"kwh": 0.502, "g_co2": 200.8, "how": "estimated", "country": "DEU"}
    assert counters.given["country_iso_code"] == "DEU"
    assert counters.given["save_to_api"] is False and counters.given["save_to_file"] is False


def test_energy_by_counters_is_measured(counters: Fake) -> None:
    meter = EnergyMeter()
    meter.begin()
    assert meter.read() == Energy(0.002, 0.8, "measured", "DEU")


def test_a_meter_that_fails_ends_no_training(counters: Fake, caplog: pytest.LogCaptureFixture) -> None:
    meter = EnergyMeter()
    meter.begin()
    counters.failing = True
    assert meter.read() is None and meter.read() is None
    assert caplog.text.count("The energy is no longer measured: OSError: no counter") == 1


def test_nothing_is_measured_unless_requested() -> None:
    meter = EnergyMeter()
    meter.begin()
    meter.end()
    assert meter.state() is None
