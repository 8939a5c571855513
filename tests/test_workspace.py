"""Where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.errors import UsageError
from autoseg.run import Run
from autoseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "AUTOSEG_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("Dataset004_Hippocampus", "Dataset018_FetalHead"):
        folder = tmp_path / "home" / "raw" / name
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text("{}")
    return Workspace.locate(tmp_path / "home")


def test_one_root_holds_all(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.preprocessed == tmp_path / "home" / "preprocessed"
    assert workspace.environment()["nnUNet_results"] == str(tmp_path / "home" / "results")


def test_files_have_the_names_that_nnunet_reads(workspace: Workspace) -> None:
    home = workspace.preprocessed / "Dataset004_Hippocampus"
    names = {
        workspace.fingerprint_of: "dataset_fingerprint.json",
        workspace.folds_of: "splits_final.json",
        workspace.dataset_json_of: "dataset.json",
        workspace.references_of: "gt_segmentations",
    }
    assert [address(home.name) for address in names] == [home / name for name in names.values()]
    assert workspace.plan_of(home.name, "nnUNetPlans") == home / "nnUNetPlans.json"
    assert workspace.cases_of(home.name, "nnUNetPlans_2d") == home / "nnUNetPlans_2d"


def test_nnunets_variables_are_honoured_and_an_explicit_root_wins(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("AUTOSEG_WORKSPACE", str(tmp_path / "variable"))
    located = Workspace.locate()
    assert located.raw == tmp_path / "elsewhere"
    assert located.results == tmp_path / "variable" / "results"
    assert Workspace.locate(tmp_path / "home").raw == tmp_path / "home" / "raw"


@pytest.mark.parametrize("asked", ["Dataset004_Hippocampus", "4", "004"])
def test_a_data_set_is_found_by_name_and_id(workspace: Workspace, asked: str) -> None:
    assert workspace.find_raw(asked).name == "Dataset004_Hippocampus"


def test_a_data_set_is_found_by_path(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "MyData"
    outside.mkdir()
    with pytest.raises(UsageError, match="not a raw data set"):
        workspace.find_raw(outside)
    (outside / "dataset.json").write_text("{}")
    assert workspace.find_raw(outside) == outside


def test_what_is_not_there_is_named_with_what_is(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=r"'7'.*Dataset004_Hippocampus, Dataset018_FetalHead"):
        workspace.find_raw("7")


def test_a_run_lies_where_stock_nnunet_looks(tmp_path: Path) -> None:
    run = Run("Dataset004_Hippocampus", "nnUNetPlans", "3d_fullres", "brainunet", 2, 0, tmp_path)
    expected = tmp_path / "Dataset004_Hippocampus" / "brainunet__nnUNetPlans__3d_fullres" / "fold_2"
    assert run.folder == expected
    assert run.final_checkpoint == expected / "checkpoint_final.pth"


def test_a_data_set_that_was_read_in_place_is_found_by_name_and_id(tmp_path: Path) -> None:
    place = Workspace.locate(tmp_path / "workspace")
    outside = tmp_path / "data" / "Dataset018_Heads"
    outside.mkdir(parents=True)
    (outside / "dataset.json").write_text("{}")
    with pytest.raises(UsageError, match="found: none"):
        place.find_raw("Dataset018_Heads")
    note = place.place_of("Dataset018_Heads")
    note.parent.mkdir(parents=True)
    note.write_text(f"{outside}\n")
    assert place.find_raw("Dataset018_Heads") == place.find_raw("18") == outside
    inside = place.raw / "Dataset018_Heads"
    inside.mkdir(parents=True)
    (inside / "dataset.json").write_text("{}")
    assert place.find_raw("18") == inside
    (inside / "dataset.json").unlink()
    (outside / "dataset.json").unlink()
    with pytest.raises(UsageError, match="found: none"):
        place.find_raw("18")
