"""Folders of predictions, by autoseg and by others, against folders of references."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.dataset import Labels, load_dataset
from autoseg.errors import DataError, UsageError
from autoseg.evaluation.pair_files import case_files
from autoseg.evaluation.pixel_sizes import read_pixel_sizes
from autoseg.evaluation.scoring import Evaluation, evaluate
from autoseg.metrics import LesionRule

LABELS = {"background": 0, "liver": 1, "tumour": 2, "organ": (1, 2)}
SPACING = (2.0, 0.7, 0.8)


def write(path: Path, labels: np.ndarray, spacing: tuple[float, ...] = SPACING, origin: float = 0.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin((origin,) * labels.ndim)
    sitk.WriteImage(image, str(path))


def labels_of(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z, y, x = rng.integers(1, 4, 3)
    labels = np.zeros((8, 16, 18), np.uint8)
    labels[z : z + 4, y : y + 8, x : x + 9] = 1
    labels[z + 1 : z + 3, y + 2 : y + 5, x + 2 : x + 5] = 2
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Four references; predictions are a voxel off, and the last case is missing."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for i in range(4):
        write(references / f"case_{i}.nii.gz", labels_of(i))
        if i < 3:
            write(predictions / f"case_{i}.nii.gz", np.roll(labels_of(i), 1, axis=2))
    (predictions / "dataset.json").write_text("{}")
    return predictions, references


def test_scores_of_two_folders(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    assert evaluation.cases == ("case_0", "case_1", "case_2", "case_3")
    assert evaluation.missing == ("case_3",)
    assert {s.structure for s in evaluation.scores} == {"liver", "tumour", "organ", "(all)"}
    assert evaluation.values("dice", "organ")["case_0"] == pytest.approx(8 / 9)
    assert evaluation.values("hd", "organ")["case_0"] == pytest.approx(0.8)
    assert {s.status for s in evaluation.scores if s.case == "case_3"} == {"missing_file"}


def test_missing_cases_count_with_the_worst_score(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    summary = evaluation.summary()
    assert (summary["n_cases"], summary["n_missing"]) == (4, 1)
    organ = summary["structures"]["organ"]
    assert organ["dice"] == {"definition": "dice.v1", "unit": "1", "mean": pytest.approx(2 / 3), "n": 4}
    diagonal = np.linalg.norm(np.array((8, 16, 18)) * SPACING)
    assert organ["hd"]["mean"] == pytest.approx((3 * 0.8 + diagonal) / 4)
    assert summary["status"]["organ"] == {"ok": 3, "missing_file": 1}


def test_overall_mean_is_per_case_then_structure_then_data_set(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    summary = evaluation.summary()
    means = [summary["structures"][name]["dice"]["mean"] for name in ("liver", "tumour", "organ")]
    assert summary["overall"]["dice"]["mean"] == pytest.approx(np.mean(means))
    assert evaluation.mean("dice") == pytest.approx(np.mean(means))
    assert evaluation.mean("dice", "liver") == pytest.approx(means[0])
    assert np.mean(list(evaluation.values("dice").values())) == pytest.approx(np.mean(means))
    assert summary["overall"]["dice"]["n_structures"] == 3
    assert set(summary["case"]) == {"weighted_f1", "label_accuracy"}


def test_pooled_dice_has_its_own_name(tmp_path: Path) -> None:
    big, small = np.zeros((2, 4, 10, 10), np.uint8)
    big[:], small[0, 0, 0] = 1, 1
    for name, reference, prediction in (("a", big, big), ("b", small, 0 * small)):
        write(tmp_path / "r" / f"{name}.nii.gz", reference)
        write(tmp_path / "p" / f"{name}.nii.gz", prediction)
    summary = evaluate(tmp_path / "p", references=tmp_path / "r", labels={"a": 1}, workers=1).summary()
    assert summary["overall"]["dice"]["mean"] == 0.5
    assert summary["overall"]["pooled_dice"]["mean"] == pytest.approx(800 / 801)
    assert summary["overall"]["pooled_dice"]["definition"] == "pooled_dice.v1"
    alone = evaluate(
        tmp_path / "p", references=tmp_path / "r", labels={"a": 1}, metrics=["pooled_dice"], workers=1
    )
    assert alone.summary()["overall"]["pooled_dice"] == summary["overall"]["pooled_dice"]


def test_workers_change_nothing(folders: tuple[Path, Path]) -> None:
    one, two = (evaluate(folders[0], references=folders[1], labels=LABELS, workers=n) for n in (1, 2))
    assert one == two


def test_predictions_of_other_tools_and_formats(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    expected = evaluate(predictions, references=references, labels=LABELS, workers=1)
    for path in list(predictions.glob("*.nii.gz")):
        image = sitk.ReadImage(str(path))
        sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(path).replace(".nii.gz", ".nrrd"))
        path.unlink()
    assert evaluate(predictions, references=references, labels=LABELS, workers=1).scores == expected.scores


def test_predictions_without_reference_are_named(folders: tuple[Path, Path], caplog) -> None:  # type: ignore[no-untyped-def]
    write(folders[0] / "stranger.nii.gz", labels_of(9))
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    assert evaluation.unmatched == ("stranger",)
    assert "1 predictions have no reference" in caplog.text and "1 of 4" in caplog.text


def test_some_cases_only(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(
        folders[0], references=folders[1], labels=LABELS, cases=["case_2", "case_0"], workers=1
    )
    assert (
        evaluation.cases == ("case_2", "case_0") and evaluation.missing == () and evaluation.unmatched == ()
    )
    with pytest.raises(DataError, match="no reference for case_7"):
        evaluate(folders[0], references=folders[1], labels=LABELS, cases=["case_7"])


def test_settings_say_how_it_was_computed(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate(
        folders[0],
        references=folders[1],
        labels=LABELS,
        tolerance_mm={"tumour": 1.0},
        lesion_rule=LesionRule(iou_threshold=0.1, minimum_volume=3.0),
        workers=1,
    )
    settings = evaluation.settings
    assert settings["structures"] == {"liver": [1], "tumour": [2], "organ": [1, 2]}
    assert settings["tolerance_mm"] == {"liver": 2.0, "tumour": 1.0, "organ": 2.0}
    assert settings["lesions"] == {"connectivity": None, "iou_threshold": 0.1, "minimum_volume": 3.0}
    assert settings["definitions"]["nsd"] == "nsd.surfel.v1"
    assert settings["length_unit"] == "mm"


# ---- Grids


@pytest.mark.parametrize(
    ("labels", "spacing"),
    [(labels_of(0)[:, :, 1:], SPACING), (labels_of(0), (2.0, 0.7, 0.81)), (labels_of(0), SPACING[::-1])],
)
def test_another_grid_is_refused(
    folders: tuple[Path, Path], labels: np.ndarray, spacing: tuple[float, ...]
) -> None:
    write(folders[0] / "case_0.nii.gz", labels, spacing)
    with pytest.raises(DataError, match=r"case_0.*has 8 x 16 x 1[78] voxels.*Resample"):
        evaluate(folders[0], references=folders[1], labels=LABELS, workers=2)


def test_rounded_spacing_passes_and_another_origin_is_told(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "case_0.nii.gz", labels_of(0), (2.0, 0.70001, 0.8), origin=0.3)
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    assert evaluation.settings["displaced_predictions"] == 1


def test_unreadable_and_fractional_predictions_are_refused(folders: tuple[Path, Path]) -> None:
    write(folders[0] / "case_1.nii.gz", labels_of(1).astype(np.float32) / 2)
    with pytest.raises(DataError, match=r"case_1.*fractions"):
        evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    (folders[0] / "case_1.nii.gz").write_bytes(b"no image")
    with pytest.raises(DataError, match="case_1"):
        evaluate(folders[0], references=folders[1], labels=LABELS, workers=2)


def test_folders_that_do_not_fit(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        evaluate(tmp_path / "nowhere", references=folders[1], labels=LABELS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no segmentation"):
        evaluate(folders[0], references=tmp_path / "empty", labels=LABELS)
    with pytest.raises(DataError, match="named like a reference"):
        evaluate(tmp_path / "empty", references=folders[1], labels=LABELS)
    write(folders[0] / "case_0.nrrd", labels_of(0))
    write(folders[0] / "case_0.mha", labels_of(0))
    (folders[0] / "case_0.nii.gz").unlink()
    with pytest.raises(DataError, match="could each be the prediction"):
        evaluate(folders[0], references=folders[1], labels=LABELS)


def test_calls_that_make_no_sense(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        evaluate(folders[0], labels=LABELS)
    with pytest.raises(UsageError, match="labels' names"):
        evaluate(folders[0], references=folders[1])
    with pytest.raises(UsageError, match="no label but the background"):
        evaluate(folders[0], references=folders[1], labels={"background": 0})
    with pytest.raises(UsageError, match="no metric 'dyce'"):
        evaluate(folders[0], references=folders[1], labels=LABELS, metrics=["dyce"])


def test_ignore_label(folders: tuple[Path, Path]) -> None:
    reference = labels_of(0)
    reference[:, :, 9:] = 3
    write(folders[1] / "case_0.nii.gz", reference)
    labels = Labels({"background": 0, "liver": 1, "tumour": 2, "ignore": 3}, ignore=3)
    for given in (labels, dict(labels.names)):
        evaluation = evaluate(folders[0], references=folders[1], labels=given, cases=["case_0"], workers=1)
        counts = [evaluation.mean(name, "liver") for name in ("tp", "fp", "fn", "tn")]
        assert sum(counts) == (reference != 3).sum()
        assert set(evaluation.settings["structures"]) == {"liver", "tumour"}


# ---- 2D images


@pytest.fixture
def flat(tmp_path: Path) -> tuple[Path, Path]:
    for i in range(2):
        head = np.zeros((60, 70), np.uint8)
        head[10 + i : 40, 20:50] = 1
        for folder, array in (("references", head), ("predictions", np.roll(head, 2, axis=1))):
            (tmp_path / folder).mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / folder / f"scan{i}.png"))
    return tmp_path / "predictions", tmp_path / "references"


def test_lengths_are_pixels_where_images_have_no_size(flat: tuple[Path, Path]) -> None:
    evaluation = evaluate(flat[0], references=flat[1], labels={"head": 1}, workers=1)
    assert evaluation.settings["length_unit"] == "px"
    assert evaluation.mean("hd", "head") == pytest.approx(2.0)
    assert evaluation.summary()["overall"]["area_error"]["unit"] == "px^2"
    assert "hc_error" in evaluation.settings["definitions"]


def test_lengths_are_millimetres_with_pixel_sizes(flat: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("case,pixel_mm\nscan0,0.5\nscan1,0.25\n")
    sizes = read_pixel_sizes(table, "pixel_mm")
    evaluation = evaluate(flat[0], references=flat[1], labels={"head": 1}, pixel_sizes=sizes, workers=1)
    assert evaluation.settings["length_unit"] == "mm"
    assert evaluation.values("hd", "head") == pytest.approx({"scan0": 1.0, "scan1": 0.5})
    with pytest.raises(DataError, match="scan1 has no pixel size"):
        evaluate(flat[0], references=flat[1], labels={"head": 1}, pixel_sizes={"scan0": 0.5})
    with pytest.raises(UsageError, match="It needs"):
        read_pixel_sizes(table, "size")
    table.write_text("case,pixel_mm\nscan0,-1\n")
    with pytest.raises(UsageError, match="not a pixel size"):
        read_pixel_sizes(table, "pixel_mm")


def test_2d_images_with_a_size_of_their_own(tmp_path: Path) -> None:
    square = np.zeros((30, 30), np.uint8)
    square[5:15, 5:15] = 1
    write(tmp_path / "r" / "a.mha", square, (0.5, 0.4))
    write(tmp_path / "p" / "a.mha", np.roll(square, 1, axis=1), (0.5, 0.4))
    evaluation = evaluate(tmp_path / "p", references=tmp_path / "r", labels={"a": 1}, workers=1)
    assert evaluation.settings["length_unit"] == "mm"
    assert evaluation.mean("hd", "a") == pytest.approx(0.4)
    assert evaluation.mean("area_error", "a") == 0.0


# ---- Files


def test_an_evaluation_survives_the_disk(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, workers=1)
    evaluation.save(tmp_path / "out" / "evaluation.json")
    assert Evaluation.load(tmp_path / "out" / "evaluation.json") == evaluation
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document == json.loads(json.dumps(evaluation.to_json()))
    assert list(document["scores"][0]) == [
        "case",
        "structure",
        "metric",
        "definition",
        "value",
        "raw",
        "status",
    ]
    with pytest.raises(DataError, match="not an evaluation"):
        Evaluation.from_json({"format": 1})
    with pytest.raises(DataError, match="format 99"):
        Evaluation.from_json({"format": 99})
    with pytest.raises(UsageError, match="no dyce"):
        evaluation.values("dyce")


@pytest.mark.parametrize(
    "labels", [{"background": 0, "liver": 1, "tumour": 2}, {"whole": (1, 2), "core": (2,)}]
)
def test_summary_json_equals_nnunets(
    folders: tuple[Path, Path], tmp_path: Path, labels: dict[str, int | tuple[int, ...]]
) -> None:
    theirs = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    io = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer")
    predictions, references = folders
    write(references / "case_1.nii.gz", np.where(labels_of(1) == 2, 0, labels_of(1)).astype(np.uint8))
    write(predictions / "case_1.nii.gz", np.where(labels_of(1) == 2, 0, labels_of(1)).astype(np.uint8))
    (references / "case_3.nii.gz").unlink()
    evaluation = evaluate(predictions, references=references, labels=labels, workers=1)
    evaluation.save_nnunet_summary(tmp_path / "ours.json")
    keys = [v[0] if len(v) == 1 else tuple(v) for v in evaluation.settings["structures"].values()]
    theirs.compute_metrics_on_folder(
        str(references), str(predictions), str(tmp_path / "theirs.json"), io.SimpleITKIO(), ".nii.gz", keys,
        num_processes=1,
    )  # fmt: skip
    ours, stock = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ours", "theirs"))
    for old, new in zip(stock["metric_per_case"], ours["metric_per_case"], strict=True):
        assert {Path(old[k]).name for k in ("prediction_file", "reference_file")} == {
            Path(new[k]).name for k in ("prediction_file", "reference_file")
        }
        for key, row in old["metrics"].items():
            assert new["metrics"][key] == pytest.approx({k: None if v != v else v for k, v in row.items()})
    assert ours["foreground_mean"] == pytest.approx(stock["foreground_mean"])
    assert ours["mean"].keys() == stock["mean"].keys()
    theirs.load_summary_json(str(tmp_path / "ours.json"))


def test_summary_json_needs_the_counts(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluation = evaluate(folders[0], references=folders[1], labels=LABELS, metrics=["dice"], workers=1)
    with pytest.raises(UsageError, match="tp, fp, fn, tn"):
        evaluation.save_nnunet_summary(tmp_path / "summary.json")


def test_probabilities_beside_predictions(folders: tuple[Path, Path]) -> None:
    predictions, references = folders
    for i in range(3):
        hit = np.stack([labels_of(i) == value for value in range(3)])
        np.savez(predictions / f"case_{i}.npz", probabilities=(0.7 * hit + 0.1).astype(np.float16))
    labels = {"background": 0, "liver": 1, "tumour": 2}
    evaluation = evaluate(predictions, references=references, labels=labels, workers=1)
    assert evaluation.summary()["structures"]["tumour"]["roc_auc"]["n"] == 3
    assert evaluation.mean("roc_auc", "tumour") == 1.0
    assert evaluation.mean("brier", "tumour") == pytest.approx(0.0122, abs=0.01)
    np.savez(predictions / "case_0.npz", probabilities=np.zeros((2, *labels_of(0).shape)))
    with pytest.raises(DataError, match="2 channels, the labels need 3"):
        evaluate(predictions, references=references, labels=labels, workers=1)


def test_case_files_are_named_without_their_ending(tmp_path: Path) -> None:
    for name in ("a.1.nii.gz", "b.nii", "c.PNG", ".d.nrrd", "e.json", "f.nii.gz.tmp"):
        (tmp_path / name).touch()
    assert set(case_files(tmp_path)) == {"a.1", "b", "c"}


def test_evaluation_does_not_import_torch() -> None:
    heavy = "{'torch', 'nnunetv2', 'skimage'}"
    code = f"import sys, autoseg.evaluation.scoring; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_real_data_set(shared_data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    dataset = load_dataset(shared_data("Dataset004_Hippocampus"))
    chosen = dataset.cases[:4]
    for case in chosen:
        assert case.label is not None
        (tmp_path / case.label.name).write_bytes(case.label.read_bytes())
    evaluation = evaluate(tmp_path, dataset, cases=[case.identifier for case in chosen], workers=2)
    assert set(evaluation.settings["structures"]) == set(dataset.labels.structures)
    for name, best in (("dice", 1.0), ("nsd", 1.0), ("hd95", 0.0), ("lesion_pq", 1.0)):
        assert evaluation.mean(name) == best
