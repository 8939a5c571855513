"""The command line: what it takes, and what it says when that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from autoseg.cli.app import alone, app
from autoseg.cli.arguments import parse_fold, parse_folds
from autoseg.errors import UsageError
from autoseg.system.amounts import parse_duration, parse_memory
from autoseg.tailoring.trainer_spec import Choice


def autoseg(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "autoseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5m", 90), ("10", 600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10x", "-5m", "0m", "5m3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match=r"10m|30m"):
        parse_duration(text)


def test_memory_folds_and_fold() -> None:
    assert parse_memory("8GB") == parse_memory("8") == parse_memory("8 gb") == 8.0
    assert parse_folds("all") is None
    assert parse_folds("0,2") == (0, 2)
    assert parse_fold("all") == "all"
    assert parse_fold("3") == 3
    for parse, text in ((parse_memory, "lots"), (parse_folds, "a"), (parse_fold, "-1")):
        with pytest.raises(UsageError):
            parse(text)


def test_a_trainer_with_options() -> None:
    choice = Choice.parse("brainunet:width=16:gate=grid:mirroring=true:learning_rate=1e-3")
    assert choice.name == "brainunet"
    assert choice.options == {"width": 16, "gate": "grid", "mirroring": True, "learning_rate": 1e-3}
    with pytest.raises(UsageError, match="option=value"):
        Choice.parse("brainunet:width")


def test_a_trainer_spec_that_makes_no_sense_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    spec = "nnunet:optimizer_name=lion:schedule=linear:mirroring=no"
    done = autoseg("train", "NoSuchDataset", spec, "--workspace", tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert "optimizer_name is 'lion'; expected sgd, adam or adamw." in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())


def test_wrong_usage_exits_with_2_and_says_what_there_is(tmp_path: Path) -> None:
    done = autoseg("verify", "NoSuchDataset", "--workspace", tmp_path)
    assert done.returncode == 2
    assert "NoSuchDataset" in done.stderr
    assert "Traceback" not in done.stderr
    assert autoseg("plan-and-train").returncode == 2
    assert autoseg("no-such-command").returncode == 2


def test_an_unknown_trainer_is_named_with_those_there_are(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    dataset = shared_data("Dataset030_MSLesion")
    done = autoseg("plan-and-train", dataset, "--trainers", "unet9000", "--workspace", tmp_path)
    assert done.returncode == 2
    assert "unet9000" in done.stderr and "brainunet" in done.stderr


def test_one_case_is_refused_with_the_way_to_train_on_it(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    done = autoseg("plan-and-train", shared_data("Dataset040_CTOrgans"), "--workspace", tmp_path)
    assert done.returncode == 1
    assert "one case" in done.stderr and "autoseg train" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_alone_on_standard_output(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    dataset = shared_data("Dataset030_MSLesion")
    verified = json.loads(autoseg("verify", dataset, "--json", "--workspace", tmp_path).stdout)
    assert verified["cases"] == 2
    planned = json.loads(autoseg("plan", dataset, "--json", "--workspace", tmp_path).stdout)
    assert set(planned) == {"plans", "configurations", "decisions"}
    assert Path(planned["plans"]).is_file()
    assert {"name", "value", "rule", "inputs", "source"} == set(planned["decisions"][0])


def test_a_plan_from_a_published_fingerprint_without_images(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("msd_reference/002_Heart")
    done = autoseg(
        "plan",
        "--fingerprint",
        folder / "dataset_fingerprint.json",
        "--dataset-json",
        folder / "dataset.json",
        "--explain",
    )
    assert done.returncode == 0
    assert "patch size = " in done.stdout and "because" in done.stdout
    assert "trainers = nnunet" in done.stdout


def test_a_plan_is_explained_on_a_page_with_a_picture_and_in_its_file(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    dataset, page = shared_data("Dataset030_MSLesion"), tmp_path / "why" / "plan.md"
    done = autoseg("plan", dataset, "--report", page, "--json", "--workspace", tmp_path)
    told = json.loads(done.stdout)
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(page.with_suffix(".json").read_text())["decisions"] == told["decisions"]
    assert "(plan.png)" in page.read_text()
    assert {"confidence", "alternatives", "costs"} <= set(told["decisions"][0])
    kept = json.loads(Path(told["plans"]).read_text())["autoseg"]["decisions"]
    assert [each["name"] for each in kept] == [each["name"] for each in told["decisions"]]


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(given: str | None, expected: str) -> None:
    """It has to stand in the environment before torch is loaded, which reads it once."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    code = (
        "import os, sys\nfrom autoseg.cli import main\nassert 'torch' not in sys.modules\n"
        "sys.argv = ['autoseg', '--version']\n"
        "try: main()\nfinally: print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | ({"OMP_WAIT_POLICY": given} if given else {}),
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1] == expected


def test_a_command_is_the_same_alone_as_among_all() -> None:
    whole = typer.main.get_command(app)
    assert isinstance(whole, typer.core.TyperGroup)
    for name, expected in whole.commands.items():
        found = typer.main.get_command(alone(["--version", name, "--help"]))
        assert isinstance(found, typer.core.TyperGroup)
        assert list(found.commands) == [name]
        one, other = (
            each.make_context(name, [], resilient_parsing=True) for each in (expected, found.commands[name])
        )
        assert one.get_help() == other.get_help()
        assert [option.name for option in found.params] == [option.name for option in whole.params]
    assert alone([]) is alone(["no-such-command"]) is alone(["--help"]) is app


def test_no_option_is_denied_twice() -> None:
    """A switch called no_x has the twin --no-no-x."""
    whole = typer.main.get_command(app)
    assert isinstance(whole, typer.core.TyperGroup)
    names = [
        name for each in whole.commands.values() for option in each.params for name in option.secondary_opts
    ]
    assert names
    assert not [name for name in names if name.startswith("--no-no-")]
