"""Several data sets as one: what is listed, what must be alike, and what a first stage makes of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoseg.cli import app as cli
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.data.folds import make_folds
from autoseg.data.synthetic import make_demo
from autoseg.data.union import renamed, unite
from autoseg.errors import DataError, UsageError
from autoseg.pipeline import labelled_pretraining as first_stage
from autoseg.pipeline import single_stages
from autoseg.pipeline.settings import Settings
from autoseg.planner import plan_experiment
from autoseg.preprocessing.dataset import read_preprocessed
from autoseg.training.pretraining.unlabelled import images_of, preprocess_pool
from autoseg.workspace import Workspace


@pytest.fixture
def volumes(tmp_path: Path) -> list[Dataset]:
    """Two data sets of volumes with the same channels and labels, of three and four cases."""
    found = []
    for number, cases in ((1, 3), (2, 4)):
        root, _ = make_demo(tmp_path / f"{number}", cases=(cases, 2))
        found.append(load_dataset(root.rename(root.with_name(f"Dataset00{number}_Site{number}"))))
    return found


def test_every_case_is_listed_where_it_lies(volumes: list[Dataset], tmp_path: Path) -> None:
    both = load_dataset(unite(volumes, tmp_path / "raw"))
    assert len(both.cases) == 7 and not any(path.is_dir() for path in both.root.iterdir())
    by_name = {case.identifier: case for case in both.cases}
    for dataset, name in zip(volumes, ("Site1", "Site2"), strict=True):
        for case in dataset.cases:
            other = by_name[f"{name}_{case.identifier}"]
            assert (other.images, other.label) == (case.images, case.label)
    assert (both.channels, both.labels) == (volumes[0].channels, volumes[0].labels)
    assert both.name.endswith("_Site1_and_Site2")


def test_the_same_again_changes_nothing_and_another_union_is_another(
    volumes: list[Dataset], tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    folder = unite(volumes, raw)
    before = (folder / "dataset.json").stat().st_mtime_ns
    assert unite(volumes, raw) == folder and (folder / "dataset.json").stat().st_mtime_ns == before
    held_out = volumes[0].cases[0].identifier
    fewer = unite(volumes, raw, [held_out])
    names = [case.identifier for case in load_dataset(fewer).cases]
    assert fewer != folder and fewer.name[:10] != folder.name[:10]
    # Cases of the second data set of that name stay: the fold is the first's.
    assert f"Site1_{held_out}" not in names and f"Site2_{held_out}" in names
    assert len(load_dataset(folder).cases) == 7


def test_a_number_that_is_taken_is_left_alone(volumes: list[Dataset], tmp_path: Path) -> None:
    number = unite(volumes, tmp_path / "raw").name[7:10]
    other = tmp_path / "other" / f"Dataset{number}_Mine"
    other.mkdir(parents=True)
    assert unite(volumes, tmp_path / "other").name[7:10] != number


def test_groups_stay_whole_and_apart(volumes: list[Dataset], tmp_path: Path) -> None:
    first = dataclasses.replace(
        volumes[0], cases=tuple(dataclasses.replace(case, group="anna") for case in volumes[0].cases)
    )
    second = dataclasses.replace(
        volumes[1],
        cases=tuple(dataclasses.replace(c, group=g) for c, g in zip(volumes[1].cases, "aabb", strict=True)),
    )
    both = load_dataset(unite([first, volumes[1]], tmp_path / "raw"))
    groups = [case.group for case in both.cases]
    assert groups.count("Site1_anna") == 3 and len(set(groups)) == 5
    apart = load_dataset(unite([first, second], tmp_path / "raw"))
    assert {case.group for case in apart.cases} == {"Site1_anna", "Site2_a", "Site2_b"}
    assert len(make_folds(apart)) == 3
    assert [case.group for case in renamed(first.cases, "x")] == ["x_anna"] * 3


def test_what_differs_is_named(volumes: list[Dataset], tmp_path: Path) -> None:
    labels = dataclasses.replace(volumes[1].labels, names={"background": 0, "other": 1})
    other = dataclasses.replace(volumes[1], channels=("T1", "T2"), labels=labels)
    with pytest.raises(DataError) as caught:
        unite([volumes[0], other], tmp_path / "raw")
    told = str(caught.value)
    assert "channels MRI and T1, T2" in told and "other absent and 1" in told and "--with-labels" in told
    assert not (tmp_path / "raw").exists()
    with pytest.raises(DataError, match=r"files \.nii\.gz .* and \.png"):
        unite([volumes[0], dataclasses.replace(volumes[1], file_ending=".png")], tmp_path / "raw")
    with pytest.raises(DataError, match="named twice"):
        unite([volumes[0], volumes[0]], tmp_path / "raw")


def test_data_sets_of_one_name_keep_their_cases_apart(volumes: list[Dataset], tmp_path: Path) -> None:
    twin = dataclasses.replace(volumes[1], name="Dataset009_Site1")
    names = [case.identifier for case in load_dataset(unite([volumes[0], twin], tmp_path / "raw")).cases]
    assert len(set(names)) == 7 and all(
        name.startswith(("Dataset001_Site1_", "Dataset009_Site1_")) for name in names
    )


def test_a_fold_of_the_first_is_left_out(
    volumes: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(first_stage, "train_one", lambda *given: asked.append(given))
    workspace = Workspace.locate(tmp_path / "ws")
    roots = [each.root for each in volumes]
    first_stage.pretrain_with_labels(roots, "brainunet", 0, workspace, Settings())
    first_stage.pretrain_with_labels(roots[:1], "brainunet", 0, workspace, Settings())
    folder, trainer, fold = asked[0][:3]
    assert (trainer, fold) == ("brainunet", "all")
    held_out = make_folds(volumes[0])[0].validation
    names = {case.identifier for case in load_dataset(folder).cases}
    assert len(names) == 7 - len(held_out) and not names & {f"Site1_{case}" for case in held_out}
    assert asked[1][:3] == (roots[0], "brainunet", 0)
    with pytest.raises(UsageError, match="no data set"):
        first_stage.pretrain_with_labels([], "brainunet", 0, workspace, Settings())


def test_the_command_takes_several_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def stop(*given: Any) -> None:
        asked.append(given)
        raise UsageError("enough")

    monkeypatch.setattr(first_stage, "pretrain_with_labels", stop)
    monkeypatch.setattr(single_stages, "pretrain_one", stop)
    command = ["pretrain", "A", "B", "C", "brainunet", "--budget", "1m", "--workspace", str(tmp_path)]
    CliRunner().invoke(cli.app, [*command, "--with-labels"])
    CliRunner().invoke(cli.app, [*command, "--fold", "2"])
    assert asked[0][:3] == (["A", "B", "C"], "brainunet", "all")
    assert asked[1][:3] == ("A", "brainunet", 2) and asked[1][-1] == ["B", "C"]


def test_images_of_several_data_sets_lie_in_one_folder(volumes: list[Dataset], tmp_path: Path) -> None:
    first, second = volumes
    plan = plan_experiment(first, extract_fingerprint(first, workers=1))
    configuration, folder = plan.configuration("3d_fullres"), tmp_path / "pre"
    held = images_of(first, [case.identifier for case in first.cases[1:]])
    names = preprocess_pool(volumes, held, plan, configuration, folder, workers=1)
    assert len(names) == 6 and sum(name.startswith("Site2_") for name in names) == 4
    assert first.cases[0].identifier not in names
    data, *_ = read_preprocessed(folder, names[0])
    assert data.shape[0] == 1
    with pytest.raises(DataError, match=r"Channels: 1 in .*, 2 in"):
        wider = dataclasses.replace(second, channels=("T1", "T2"))
        preprocess_pool([first, wider], held, plan, configuration, folder, workers=1)
    with pytest.raises(DataError, match="no common unit"):
        pictures = dataclasses.replace(second, reader="NaturalImage2DIO")
        preprocess_pool([first, pictures], held, plan, configuration, folder, workers=1)


@pytest.mark.slow
def test_a_first_stage_of_two_data_sets_starts_a_second(volumes: list[Dataset], tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path / "ws")
    few = Settings(epochs=1, device="cpu", workers=1)
    short = Settings(total_s=15.0, device="cpu", workers=1)
    roots = [each.root for each in volumes]
    steps = "steps_per_epoch=3"
    labelled = first_stage.pretrain_with_labels(roots, f"brainunet:width=4:{steps}", "all", workspace, few)
    masked = single_stages.pretrain_one(roots[0], "brainunet:width=4", "all", workspace, short, roots[1:])
    assert labelled.path.is_file() and masked.steps > 0
    cases = json.loads((labelled.run.model_folder / "dataset.json").read_text())["numTraining"]
    assert cases == 7
    for source in (labelled.run.model_folder, masked.path):
        row = f"brainunet:init={source}:plan_from=init:{steps}"
        done = single_stages.train_one(roots[0], row, 0, workspace, few)
        cost = json.loads(done.run.cost.read_text())
        start = cost["initialised_from"]
        assert start["loaded"] > 50 and start["random"] == (0 if source == labelled.run.model_folder else 2)
        assert cost["parameters"] == json.loads(labelled.run.cost.read_text())["parameters"]
