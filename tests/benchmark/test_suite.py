"""Suites: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg import plugins
from autoseg.benchmark.suite.matrix import cells
from autoseg.benchmark.suite.suite import Suite, find_suite, load_suite, parse_suite, shipped_suites
from autoseg.benchmark.suite.trainer_facts import facts, in_group
from autoseg.errors import UsageError

Parse = Callable[[str], Suite]
HEAD = "datasets: [4]\ntrainers: nnunet\n"


def test_one_value_stands_for_a_list_and_amounts_are_read(suite_of: Parse) -> None:
    suite = suite_of(HEAD + "folds: 0\nseeds: 3\nbudget: {per_run: 1h30m}\nmemory: 8GB\ncases: [5, all]\n")
    assert suite.name == "test"
    assert [entry.dataset for entry in suite.datasets] == ["4"]
    assert (suite.folds, suite.seeds, suite.cases) == ((0,), (3,), (5, "all"))
    assert suite.budget is not None and suite.budget.per_run == 5400
    assert suite.memory == 8.0


def test_a_budget_in_steps_is_one_of_the_runs(suite_of: Parse) -> None:
    suite = suite_of(HEAD + "folds: 0\nbudget: {steps: 200}\n")
    (cell,) = cells(suite, lambda entry: (entry.dataset, 5))
    assert (cell.steps, cell.run_s, cell.epochs) == (200, None, None)


def test_trainers_take_options_and_groups(suite_of: Parse) -> None:
    text = (
        "datasets: a\ntrainers: [nnunet, {deepmrseg: {down_kernel: 2, mirroring: no}}, documented, nnunet]\n"
    )
    trainers = suite_of(text).trainers
    assert trainers[:2] == ("nnunet", "deepmrseg:down_kernel=2:mirroring=false")
    assert trainers[2:] == in_group("documented")


def test_a_run_on_the_cpu_asks_for_no_gpu_unless_the_file_does(suite_of: Parse) -> None:
    assert suite_of(HEAD).run_resources.gpus == 1
    on_cpu = HEAD + "device: cpu\n"
    assert suite_of(on_cpu).run_resources.gpus == 0
    assert suite_of(on_cpu + "resources: {run: {gpus: 2}}\n").run_resources.gpus == 2


def test_an_include_has_what_it_does_not_say_from_the_suite(suite_of: Parse) -> None:
    suite = suite_of(
        HEAD + "epochs: 5\nseeds: [1, 2]\ninclude: [{trainers: brainunet, budget: {for_all: 1h}}]\n"
    )
    (extra,) = suite.include
    assert extra.trainers == ("brainunet",)
    assert extra.seeds == (1, 2)
    assert extra.epochs is None and extra.budget is not None and extra.budget.for_all == 3600


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "datasets: a\ntrainers:\n- nnunet\n- brainnet\n",
            4,
            "'brainnet' is not a trainer. Did you mean 'brainunet'",
        ),
        (HEAD + "fold: 0\n", 3, "no such key. Did you mean 'folds'?"),
        (HEAD + "my-folds: 0\n", 3, "my-folds: there is no such key"),
        (HEAD + "folds[0]: 0\n", 3, "folds[0]: there is no such key"),
        ("function-a: 1\n", 1, "function-a: there is no such key"),
        (HEAD + "folds: some\n", 3, "'some'"),
        (HEAD + "folds: [0, -1]\n", 3, "-1: input should be greater than or equal to 0"),
        (HEAD + "\nbudget:\n  per_run: 5 apples\n", 5, "'5 apples' is not a duration. Write 90s"),
        (HEAD + "budget: {per_run: 5m, for_all: 5m}\n", 3, "give one of per_run, for_all and steps"),
        (HEAD + "budget: {steps: 25}\n", 3, "multiple of 10"),
        (HEAD + "device: gpu\n", 3, "'auto', 'cpu', 'cuda' or 'mps'"),
        (HEAD + "resources:\n  run: {gpu: 1}\n", 4, "Did you mean 'gpus'?"),
        (HEAD + "exclude: [{}]\n", 3, "leave out everything"),
        (HEAD + "finetune: [none, ft_nothing]\n", 3, "ft_nothing"),
        (HEAD + "cases: [5, few]\n", 3, "'few'"),
        (HEAD + "trainers: brainunet\n", 2, "there twice"),
        ("datasets: [a\ntrainers: b\n", 2, "not YAML"),
        ("datasets: a\n", 1, "trainers: this key is missing"),
        ("- a\n", 1, "a suite is a mapping"),
        ("", 1, "a suite is a mapping"),
        ("datasets: &a [*a]\ntrainers: nnunet\n", 1, "aliases that contain themselves"),
        (HEAD + "epochs: 3\nbudget: {per_run: 5m}\n", 1, "exclude each other"),
        ("datasets: a\ntrainers: nnunet:width\n", 2, "has no value. Write nnunet:option=value"),
        ("datasets: a\ntrainers: [unet, nnunet:optimizer_name=lion]\n", 2, "expected sgd, adam or adamw"),
        ("datasets: a\ntrainers: [{nnunet: {learning_rate: .nan}}]\n", 2, "expected a finite number above 0"),
        ("datasets: a\ntrainers: nnunet:epoch=3\n", 2, "Did you mean 'epochs'"),
        ("datasets: a\ntrainers: nnunet:epochs=3:epochs=4\n", 2, "given twice"),
        ("datasets: a\ntrainers: nnunet:epochs=3\nepochs: 5\n", 1, "where all runs have 5 epochs"),
        ("datasets: a\ntrainers: nnunet:epochs=3\nbudget: {steps: 20}\n", 1, "all runs have 20 steps"),
        ("datasets: [{dataset: a, groups: nothing.csv}]\ntrainers: nnunet\n", 1, "no table of groups"),
        (f"datasets: {'a' * 300}\ntrainers: nnunet\n", 1, "has more than 255 bytes between two slashes"),
        (HEAD + f"init: {'a' * 300}\n", 3, "has more than 255 bytes between two slashes"),
        (f"datasets: a\ntrainers: {'a' * 300}.py\n", 2, "has more than 255 bytes between two slashes"),
        (HEAD + f"foreign: [{{path: {'a' * 300}}}]\n", 3, "has more than 255 bytes between two slashes"),
    ],
)
def test_an_error_names_file_line_value_and_choices(tmp_path: Path, text: str, line: int, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_suite(text, tmp_path / "mine.yaml")
    assert f"mine.yaml, line {line}: " in str(caught.value)
    assert told in str(caught.value)


def test_all_errors_are_told_at_once(suite_of: Parse) -> None:
    with pytest.raises(UsageError) as caught:
        suite_of("datasets: a\ntrainers: nothing\nfolds: x\ncolour: red\n")
    assert len(str(caught.value).splitlines()) == 3


def test_yaml_runs_nothing_that_it_asks_for(suite_of: Parse) -> None:
    with pytest.raises(UsageError, match=r"os\.system is not allowed"):
        suite_of("datasets: !!python/object/apply:os.system ['true']\ntrainers: nnunet\n")
    with pytest.raises(UsageError, match="could not determine a constructor"):
        suite_of("datasets: !!python/name:os.system x\ntrainers: nnunet\n")


def test_every_shipped_suite_is_valid_and_found_by_name() -> None:
    shipped = shipped_suites()
    assert set(shipped) == {"smoke", "generated", "documented", "fewshot", "full"}
    for name in shipped:
        suite = load_suite(name)
        assert suite.name == name and suite.about
    assert set(load_suite("documented").trainers) >= set(in_group("documented"))
    assert set(load_suite("full").trainers) == set(plugins.available("trainers"))
    assert len(load_suite("fewshot").cases) > 2


def test_data_sets_of_the_command_line_replace_the_suites() -> None:
    suite = load_suite("documented", ["7", "demo"])
    assert [entry.dataset for entry in suite.datasets] == [
        "7",
        "Dataset901_DemoMR",
        "Dataset902_DemoUltrasound",
    ]


def test_an_unknown_suite_names_those_that_ship() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'smoke'.*documented"):
        find_suite("smok")


def test_paths_are_relative_to_the_suites_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset.json").write_text("{}")
    (tmp_path / "groups.csv").write_text("case,group\n")
    text = "datasets: [{dataset: data, groups: groups.csv}]\ntrainers: nnunet\n"
    (entry,) = parse_suite(text, tmp_path / "s.yaml").datasets
    assert entry.dataset == str(tmp_path / "data")
    assert entry.groups == tmp_path / "groups.csv"


@pytest.mark.parametrize("name", plugins.available("trainers"))
def test_facts_read_from_files_are_those_of_the_classes(name: str) -> None:
    trainer, found = plugins.trainer_class(name), facts(name)
    for attribute in ("documented", "dimensions", "preferred_dimension", "epochs", "steps_per_epoch"):
        assert getattr(found, attribute) == getattr(trainer, attribute)
