"""A trainer that lies outside autoseg is trained, resumed, predicted, ranked and chosen like any other."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from autoseg import plugins
from autoseg.benchmark.suite.suite import parse_suite
from autoseg.benchmark.suite.trainer_facts import facts
from autoseg.cli.catalogue import entries
from autoseg.data.synthetic import make_demo
from autoseg.errors import RunError, UsageError
from autoseg.pipeline.select_model import select_model
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trainer_choice import choose_trainers
from autoseg.pipeline.walk import plan_and_train
from autoseg.planner.plan import Plan
from autoseg.system.files import read_json
from autoseg.tailoring.trainer_spec import Choice
from autoseg.workspace import Workspace

MINE = '''"""A small U-Net of my own."""

from typing import ClassVar

from autoseg.training import Trainer


class {name}(Trainer):
    """Two steps with a narrow network."""

    architecture = "unet"
    architecture_options: ClassVar = {{"width": 4, "max_levels": 3}}
    dimensions = (2,)
    optimizer_name = "adamw"
    deep_supervision = False
    epochs = 1
    steps_per_epoch = {steps}
'''


def write(path: Path, name: str = "mine", steps: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MINE.format(name=name, steps=steps))
    return path


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    found = Workspace.locate(tmp_path_factory.mktemp("own"))
    make_demo(found.raw, cases=(2, 5))
    before = dict(os.environ)
    yield found
    os.environ.clear()
    os.environ.update(before)


NOTHING: Any = SimpleNamespace(plan=SimpleNamespace(configurations={}))
PICTURES = "Dataset902_DemoUltrasound"


def walk(workspace: Workspace, *trainers: str) -> Any:
    return plan_and_train(
        PICTURES, workspace, Settings(trainers=trainers, folds=(0,), device="cpu", workers=1)
    )


@pytest.fixture(scope="module")
def trained(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A trainer whose class is not named as its file, taken to a record."""
    file = write(tmp_path_factory.mktemp("lab") / "my_unet.py", "MyUNet")
    (record,) = walk(workspace, str(file)).records
    return file, record


def model_of(workspace: Workspace, record: Any) -> Path:
    (found,) = workspace.results_of(PICTURES).glob(f"MyUNet__{record.plan}__*")
    return found


def test_its_runs_are_named_by_the_class(workspace: Workspace, trained: tuple[Path, Any]) -> None:
    file, record = trained
    assert record.status in ("ok", "collapsed"), record.reason
    assert (record.trainer, record.label, record.cost.training_steps) == ("MyUNet", "MyUNet", 2)
    model = model_of(workspace, record)
    training = read_json(model / "plans.json")["autoseg"]["provenance"]["training"]
    assert training["trainer_file"] == plugins.PluginFile.of(file).to_json()
    # Nothing is written elsewhere, neither beside the file nor below a path made of it.
    assert [path.name for path in file.parent.iterdir()] == ["my_unet.py"]


def test_it_is_found_again_and_not_trained_twice(workspace: Workspace, trained: tuple[Path, Any]) -> None:
    file, record = trained
    checkpoint = model_of(workspace, record) / "fold_0" / "checkpoint_final.pth"
    before = checkpoint.stat().st_mtime_ns
    outcome = walk(workspace, str(file))
    assert [row.trainer for row in outcome.leaderboard.rows] == ["MyUNet"]
    assert checkpoint.stat().st_mtime_ns == before


def test_select_chooses_it(workspace: Workspace, trained: tuple[Path, Any]) -> None:
    selection = select_model(workspace, PICTURES, pairs=0, device="cpu")
    assert (selection.chosen.name, selection.chosen.models) == ("MyUNet", (model_of(workspace, trained[1]),))


INTERRUPTED = """

    def train_step(self, batch):
        found = super().train_step(batch)
        stop = Path(__file__).with_name("stop")
        if stop.is_file():
            stop.unlink()
            signal.raise_signal(signal.SIGINT)
        return found
"""


def test_interrupted_it_goes_on(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "lab" / "pausing.py", "pausing", steps=3)
    file.write_text(
        file.read_text().replace("from typing", "import signal\nfrom pathlib import Path\nfrom typing")
        + INTERRUPTED
    )
    file.with_name("stop").touch()
    with pytest.raises(KeyboardInterrupt):
        walk(workspace, str(file))
    (fold,) = workspace.results_of(PICTURES).glob("pausing__*/fold_0")
    assert not (fold / "checkpoint_final.pth").exists()
    with caplog.at_level(logging.INFO):
        (record,) = [each for each in walk(workspace, str(file)).records if each.trainer == "pausing"]
    assert record.status in ("ok", "collapsed"), record.reason
    assert record.cost.training_steps == 3 and (fold / "checkpoint_final.pth").is_file()
    assert "goes on after step" in caplog.text


def test_a_changed_file_is_another_trainer(
    workspace: Workspace, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    """The same name with another content: a run and a row of its own, beside the first."""
    file, _ = trained
    copy = write(tmp_path / "my_unet.py", "MyUNet")
    assert Choice(str(copy)).identity == Choice(str(file)).identity
    changed = write(tmp_path / "my_unet.py", "MyUNet", steps=3)
    assert Choice(str(changed)).identity != Choice(str(file)).identity
    with pytest.raises(UsageError, match="Two different trainers are called MyUNet"):
        choose_trainers([str(file), str(changed)], NOTHING)


def predict(workspace: Workspace, model: Path, output: Path, **environment: str) -> Any:
    images = workspace.raw / PICTURES / "imagesTr"
    command = [sys.executable, "-m", "autoseg", "predict", str(model), str(images), str(output)]
    return subprocess.run(
        [*command, "--device", "cpu", "--no-mirroring"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=output.parent,
    )


def test_a_new_process_predicts_with_it(
    workspace: Workspace, trained: tuple[Path, Any], tmp_path: Path
) -> None:
    done = predict(workspace, model_of(workspace, trained[1]), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "5 segmentations" in done.stdout


def test_a_file_that_was_moved_is_asked_for_and_found(
    workspace: Workspace,
    trained: tuple[Path, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    file, record = trained
    planned = Plan.load(model_of(workspace, record) / "plans.json").require_training().trainer_file
    moved = file.rename(tmp_path / file.name)
    try:
        with pytest.raises(RunError, match=r"The model X needs the plug-in .*my_unet.py.*AUTOSEG_PLUGINS"):
            plugins.trainer_of_plan("MyUNet", planned, "The model X")
        monkeypatch.setenv("AUTOSEG_PLUGINS", str(tmp_path))
        assert plugins.trainer_of_plan("MyUNet", planned, "The model X").__name__ == "MyUNet"
        assert "has changed" not in caplog.text
        write(moved, "MyUNet", steps=3)
        assert plugins.trainer_of_plan("MyUNet", planned, "The model X").steps_per_epoch == 3
        assert "has changed since The model X was made" in caplog.text
        write(moved, "Other")
        with pytest.raises(RunError, match="now Other is there"):
            plugins.trainer_of_plan("MyUNet", planned, "The model X")
    finally:
        write(file, "MyUNet")


def test_a_suite_finds_it_beside_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "lab" / "mine.py")
    text = "datasets: 902\ntrainers: [nnunet, 'lab/mine.py:epochs=2']\nfolds: 0\n"
    suite = parse_suite(text, tmp_path / "suite.yaml")
    assert suite.trainers == ("nnunet", f"{tmp_path}/lab/mine.py:epochs=2")
    known = facts(f"{tmp_path}/lab/mine.py")
    assert (known.dimensions, known.steps_per_epoch, known.epochs) == ((2,), 2, 1)
    with pytest.raises(UsageError, match=r"suite.yaml.*There is no file .*gone.py"):
        parse_suite(text.replace("mine.py", "gone.py"), tmp_path / "suite.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"mine.py has no trainer. Write a class named mine"),
        ("def broken(:\n", r"mine.py, line 1: this is not Python"),
        (
            "from autoseg.training import Trainer\nclass a(Trainer): ...\nclass b(Trainer): ...\n",
            "classes a, b",
        ),
        (
            "from autoseg.training import Trainer\nclass nnunet(Trainer): ...\n",
            "the name of one of autoseg's",
        ),
        (
            "from os import PathLike\nclass mine(PathLike): ...\n",
            "mine is not a trainer. Derive it from autoseg",
        ),
        (
            "import nothing_there\nclass mine: ...\n",
            r"mine.py, line 1: importing it ended with ModuleNotFound",
        ),
    ],
)
def test_a_file_without_a_trainer_is_refused_at_once(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        plugins.trainer_class(str(file))


def test_an_installed_one_goes_by_its_name(install: Any) -> None:
    text = MINE.format(name="outside_unet", steps=2)
    points = {"outside_unet": "outside_trainers:outside_unet", "alias": "outside_trainers:outside_unet"}
    install({"outside_trainers": text}, {"autoseg.trainers": {**points, "broken": "no_such_module:x"}})
    assert {"outside_unet", "nnunet"} <= set(plugins.available("trainers"))
    assert plugins.origins("trainers")["outside_unet"] == "outside 1.2"
    assert plugins.trainer_class("outside_unet").steps_per_epoch == 2
    assert facts("outside_unet").dimensions == (2,)
    rows = {row["name"]: row for row in entries("trainers")}
    assert rows["outside_unet"]["from"] == "outside 1.2" and rows["outside_unet"]["parameters"]["2d"]
    assert rows["nnunet"]["from"] == "autoseg" and "broken" not in rows
    with pytest.raises(UsageError, match="Both need the same name"):
        plugins.trainer_class("alias")
    with pytest.raises(UsageError, match=r"outside 1.2.*cannot be imported.*Mend that package"):
        plugins.trainer_class("broken")
