"""Preprocessing of a data set: nnU-Net's files, nothing done twice, nothing seen in part."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_documents import plans_document

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.errors import DataError, PlanError
from autoseg.planner.plan import Plan
from autoseg.preprocessing import blosc_store
from autoseg.preprocessing.dataset import (
    link_references,
    preprocess_configurations,
    preprocess_dataset,
    read_preprocessed,
)

CASES = ("a", "b", "c", "d")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A raw data set of four small cases."""
    root = tmp_path / "Dataset999_Test"
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    random = np.random.default_rng(0)
    for number, case in enumerate(CASES):
        image = random.integers(1, 900, (8 + number, 14, 12)).astype(np.int16)
        image[:2] = 0
        write(root / "imagesTr" / f"{case}_0000.nii.gz", image)
        write(root / "labelsTr" / f"{case}.nii.gz", (image > 700).astype(np.uint8))
    about = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "bright": 1},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about))
    return root


def write(path: Path, array: Any) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.9, 1.0, 2.0))
    sitk.WriteImage(image, str(path), True)


def plan_for(spacing: list[float] | None = None, **more: Any) -> Plan:
    return Plan.from_json(plans_document(spacing or [1.5, 1.0, 1.1], ["ZScoreNormalization"], True, **more))


def run(root: Path, folder: Path, plan: Plan | None = None, workers: int = 1) -> Any:
    plan = plan or plan_for()
    return preprocess_dataset(load_dataset(root), plan, plan.configuration("3d_fullres"), folder, workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def stock_view(folder: Path) -> Any:
    return infer_dataset_class(str(folder))(str(folder))


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_folder_is_nnunets(root: Path, tmp_path: Path, workers: int) -> None:
    """File by file what DefaultPreprocessor.run_case_save leaves, read by nnU-Net's own data set."""
    document = plans_document([1.5, 1.0, 1.1], ["ZScoreNormalization"], True)
    summary = run(root, tmp_path / "ours", Plan.from_json(document), workers)
    assert summary.written == CASES
    (tmp_path / "stock").mkdir()
    manager, dataset = PlansManager(document), load_dataset(root)
    for case in dataset.cases:
        DefaultPreprocessor(verbose=False).run_case_save(
            str(tmp_path / "stock" / case.identifier),
            [str(path) for path in case.images],
            str(case.label),
            manager,
            manager.get_configuration("3d_fullres"),
            dict(dataset.dataset_json),
        )
    assert contents(tmp_path / "ours").keys() == contents(tmp_path / "stock").keys()
    mine, theirs = (
        infer_dataset_class(str(tmp_path / name))(str(tmp_path / name)) for name in ("ours", "stock")
    )
    assert sorted(mine.identifiers) == sorted(theirs.identifiers)
    for case in CASES:
        (data, labels, _, known), (wanted, wanted_labels, _, expected) = (
            mine.load_case(case),
            theirs.load_case(case),
        )
        assert (data.chunks, data.blocks, data.dtype) == (wanted.chunks, wanted.blocks, wanted.dtype)
        np.testing.assert_allclose(data[:], wanted[:], atol=1e-4)
        np.testing.assert_array_equal(labels[:], wanted_labels[:])
        assert labels.dtype == wanted_labels.dtype
        np.testing.assert_array_equal(known.pop("class_locations")[1], expected.pop("class_locations")[1])
        assert known == expected


def test_what_has_not_changed_is_kept(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    assert run(root, folder).written == CASES
    times = modified(folder)
    again = run(root, folder, plan_for(batch_size=7), workers=2)
    assert (again.written, again.kept) == ((), CASES)
    assert "4 unchanged" in str(again)
    assert again.to_json()["kept"] == list(CASES)
    for name in CASES:  # touched, as a copy or a checkout does
        os.utime(root / "imagesTr" / f"{name}_0000.nii.gz")
    assert run(root, folder).written == ()
    assert times == modified(folder)


def test_what_has_changed_is_done_again(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    run(root, folder)
    write(root / "labelsTr" / "b.nii.gz", np.ones((9, 14, 12), np.uint8))
    assert run(root, folder).written == ("b",)
    assert blosc_open(folder / "b_seg.b2nd").max() == 1
    (folder / "c.pkl").unlink()
    (folder / "d_seg.b2nd").write_bytes(b"")
    assert run(root, folder).written == ("c", "d")
    before = contents(folder)
    assert run(root, folder, plan_for([1.5, 1.0, 1.3])).written == CASES
    assert run(root, folder).written == CASES
    assert contents(folder) == before


def blosc_open(path: Path) -> Any:
    import blosc2

    return blosc2.open(str(path), mode="r")[:]


def test_a_case_that_left_the_data_set_is_removed(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    run(root, folder)
    (root / "imagesTr" / "a_0000.nii.gz").unlink()
    (folder / "stranger.b2nd").write_bytes(b"")
    summary = run(root, folder)
    assert summary.removed == ("a", "stranger")
    assert {name.split(".")[0].removesuffix("_seg") for name in contents(folder)} == {"b", "c", "d"}


def test_a_new_case_is_added_to_the_others(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    run(root, folder)
    for old in (root / "imagesTr" / "a_0000.nii.gz", root / "labelsTr" / "a.nii.gz"):
        old.with_name(old.name.replace("a", "e", 1)).write_bytes(old.read_bytes())
    assert run(root, folder).written == ("e",)


def test_configurations_are_made_in_one_go_and_may_share_a_folder(root: Path, tmp_path: Path) -> None:
    document = plans_document([1.5, 1.0, 1.1], ["ZScoreNormalization"])
    (full,) = document["configurations"].values()
    (flat,) = plans_document([1.0, 1.1], ["ZScoreNormalization"])["configurations"].values()
    document["configurations"] |= {
        "2d": flat,
        "3d_lowres": {**full, "spacing": [3.0, 2.0, 2.0], "next_stage": "3d_cascade_fullres"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    plan = Plan.from_json(document)
    names = {"2d": "flat", "3d_fullres": "full", "3d_lowres": "low", "3d_cascade_fullres": "full"}
    folders = {name: tmp_path / folder for name, folder in names.items()}
    summaries = preprocess_configurations(load_dataset(root), plan, folders, 2)
    assert all(summary.written == CASES for summary in summaries.values())
    for name, folder in folders.items():
        alone = tmp_path / "alone" / name
        preprocess_dataset(load_dataset(root), plan, plan.configuration(name), alone, 1)
        assert contents(alone) == contents(folder)
    assert read_preprocessed(folders["2d"], "b")[1]["shape"][0] == 7
    assert read_preprocessed(folders["3d_lowres"], "b")[1]["shape"] == (5, 7, 5)


def _killed_after(number: int, root: Path, folder: Path) -> None:
    """Preprocess in this process until so many arrays are written, then be killed."""
    real, written = blosc_store._write_array, 0

    def write_array(*arguments: Any, **options: Any) -> None:
        nonlocal written
        if written == number:
            os.kill(os.getpid(), signal.SIGKILL)
        written += 1
        real(*arguments, **options)

    blosc_store._write_array = write_array
    run(root, folder)


@pytest.mark.parametrize("number", [0, 1, 4, 5])
@pytest.mark.parametrize("old_plan", [False, True])
def test_a_run_that_was_killed_leaves_whole_cases_and_goes_on(
    root: Path, tmp_path: Path, number: int, old_plan: bool
) -> None:
    folder, whole = tmp_path / "cases", tmp_path / "whole"
    run(root, whole)
    if old_plan:
        run(root, folder, plan_for([2.0, 1.0, 1.1]))
    process = multiprocessing.get_context("fork").Process(target=_killed_after, args=(number, root, folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    expected, there = contents(whole), contents(folder)
    new = 0
    for name in [name for name in there if name.endswith(".b2nd") and not name.endswith("_seg.b2nd")]:
        case = name.removesuffix(".b2nd")
        data, properties = read_preprocessed(folder, case)
        assert data.shape[1:] == properties["shape"] == blosc_open(folder / f"{case}_seg.b2nd").shape[1:]
        new += there[name] == expected[name]
    assert new == number // 2
    assert len(run(root, folder).written) == len(CASES) - new
    assert contents(folder) == expected
    assert not list((folder / ".autoseg").glob("writing-*"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_case_is_named_and_the_others_are_kept(root: Path, tmp_path: Path, workers: int) -> None:
    damaged = root / "imagesTr" / "a_0000.nii.gz"  # the smallest, so the last
    damaged.write_bytes(gzip.compress(gzip.decompress(damaged.read_bytes())[:500]))
    with pytest.raises(DataError, match=r"a: .*truncated"):
        run(root, tmp_path / "cases", workers=workers)
    assert {"b.b2nd", "c.b2nd"} <= contents(tmp_path / "cases").keys()
    (root / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(DataError, match=r"b\.nii\.gz"):
        run(root, tmp_path / "cases", workers=workers)


def test_a_plan_for_another_preprocessor_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="OtherPreprocessor"):
        run(root, tmp_path / "cases", plan_for(preprocessor_name="OtherPreprocessor"))


def test_references_are_copied_once(root: Path, tmp_path: Path) -> None:
    folder, dataset = tmp_path / "gt_segmentations", load_dataset(root)
    link_references(dataset, folder)
    assert contents(folder) == contents(root / "labelsTr")
    inodes = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert not inodes.keys() - contents(root / "labelsTr").keys()
    write(root / "labelsTr" / "b.nii.gz", np.ones((9, 14, 12), np.uint8))
    link_references(dataset, folder)
    assert contents(folder) == contents(root / "labelsTr")
    changed = {path.name for path in folder.iterdir() if path.stat().st_ino != inodes[path.name]}
    assert changed == {"b.nii.gz"}


def test_real_cases_in_two_dimensions(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    dataset = load_dataset(shared_data("Dataset021_NucleiColor"))
    few = Dataset(**{**vars(dataset), "cases": dataset.cases[:3]})
    document = plans_document([1.0, 1.0], ["RGBTo01Normalization"] * 3)
    plan = Plan.from_json({**document, "image_reader_writer": "NaturalImage2DIO"})
    summary = preprocess_dataset(few, plan, plan.configuration("2d"), tmp_path / "cases", 2)
    assert len(summary.written) == 3
    data, properties = read_preprocessed(tmp_path / "cases", summary.written[0])
    assert data.shape == (3, *properties["shape"])
    assert 0 <= data.min() <= data.max() <= 1
