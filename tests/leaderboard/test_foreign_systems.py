"""Scores of other systems: wide tables, nnU-Net's summary.json, folders of predictions."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import Fold
from autoseg.data.readers import read_segmentation, write_segmentation
from autoseg.errors import DataError, UsageError
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard import export
from autoseg.leaderboard.foreign.add import Addition, RawData, add_records, records_from_csv
from autoseg.leaderboard.of_workspace import raw_data
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import write_records
from autoseg.workspace import Workspace

NAME = "Dataset950_Made"


def _csv(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# ---- Wide tables


def test_a_table_of_mist_is_read_without_its_rows_of_means(tmp_path: Path) -> None:
    text = (
        "id,WT_dice,TC_dice,WT_haus95,TC_haus95,WT_surf_dice\n"
        "p1,0.9,0.8,3.0,5.0,0.7\np2,0.7,,4.0,,0.6\n"
        "Mean,0.8,0.8,3.5,5,0.65\nStd,0.1,0,0.5,0,0.05\n25th Percentile,1,1,1,1,1\nMedian,1,1,1,1,1\n"
    )
    (found,) = records_from_csv(_csv(tmp_path, "results.csv", text), NAME, "mist")
    assert (found.trainer, found.dataset, found.status) == ("mist", NAME, "foreign")
    assert found.scores.cases == ("p1", "p2")
    assert found.scores.structures == ("WT", "TC")
    assert set(found.scores.metrics) == {"dice", "hd95", "nsd"}
    # The blank of TC in p2 is left out of that case's mean; surface Dice exists for WT alone.
    assert found.scores.case_scores("dice").tolist() == pytest.approx([0.85, 0.7])
    assert found.scores.case_scores("nsd").tolist() == pytest.approx([0.7, 0.6])
    assert found.scores.definitions("hd95") == ("hd95.foreign",)


def test_a_table_of_monai_has_its_metric_in_the_files_name(tmp_path: Path) -> None:
    text = (
        "filename,class0,class1,mean\n"
        "/data/imagesTs/la_003_0000.nii.gz,0.91,nan,0.91\nb/la_004.nii.gz,0.8,0.6,0.7\n"
    )
    (found,) = records_from_csv(_csv(tmp_path, "val_mean_dice_raw.csv", text), NAME)
    assert found.trainer == "val_mean_dice_raw"
    assert found.scores.cases == ("la_003", "la_004")
    assert found.scores.structures == ("class0", "class1")
    assert found.scores.case_scores("dice").tolist() == pytest.approx([0.91, 0.7])


def test_a_long_table_without_trainers_takes_the_given_name(tmp_path: Path) -> None:
    path = _csv(tmp_path, "scores.csv", "case;label;dice\na;1;0.5\na;2;0.7\n")
    (found,) = add_records(Addition.parse(f"swin={path}"))
    assert found.trainer == "swin" and found.scores.case_scores("dice").tolist() == pytest.approx([0.6])
    named = _csv(tmp_path, "named.csv", "trainer,case,dice\nx,a,0.5\n")
    with pytest.raises(DataError, match="has a column trainer"):
        add_records(Addition.parse(f"swin={named}"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.csv", "id,elegance\na,1\n", "no column trainer or case.*liver_dice"),
        ("r.csv", "id,liver_dice\na,91\n", "line 2: dice: 91, expected 0 to 1"),
        ("r.csv", "id,liver_dice\na,0.9\na,0.8\n", "line 3: case 'a'.*twice"),
        ("r.csv", "", "no line of scores"),
        ("r.xlsx", "x", "not a file of scores"),
        ("summary.json", "{}", "no metric_per_case"),
        ("summary.json", "[", "not valid JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    with pytest.raises(DataError, match=words):
        add_records(_csv(folder, name, text))


def test_names_and_paths_are_told_apart(tmp_path: Path) -> None:
    assert Addition.parse("swin=a/b.csv") == Addition(Path("a/b.csv"), "swin")
    assert Addition.parse("a/b=c.csv") == Addition(Path("a/b=c.csv"))
    odd = _csv(tmp_path, "a=b.csv", "x")
    assert Addition.parse(str(odd)) == Addition(odd)
    with pytest.raises(UsageError, match="no file or folder"):
        add_records(tmp_path / "nowhere")


# ---- A small data set on disk, and predictions of it


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    root = tmp_path / "raw" / NAME
    labels = {"background": 0, "left": 1, "right": 2}
    about = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": 6, "file_ending": ".png"}
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(about))
    for number in range(6):
        _write(root / "imagesTr" / f"c{number}_0000.png", number)
        _write(root / "labelsTr" / f"c{number}.png", number)
    return load_dataset(root)


def _write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = np.random.default_rng(seed).integers(0, 3, (1, 16, 16)).astype(np.uint8)
    write_segmentation(plane, path, {"spacing": (999, 1, 1)}, "NaturalImage2DIO")


FOLDS = (
    Fold(0, ("c2", "c3", "c4", "c5"), ("c0", "c1")),
    Fold(1, ("c0", "c1", "c4", "c5"), ("c2", "c3")),
    Fold(2, ("c0", "c1", "c2", "c3"), ("c4", "c5")),
)


def test_predictions_are_scored_fold_by_fold_and_absent_ones_are_missing(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "swin" / "predictions"
    for number in (0, 1, 2):
        _write(folder / f"c{number}.png", number + (10 if number else 0))
    raw = {NAME: RawData(dataset, FOLDS)}
    found = add_records(folder, raw, workers=1)
    assert [(r.trainer, r.fold, r.scores.cases, r.scores.missing) for r in found] == [
        ("swin", 0, ("c0", "c1"), ()),
        ("swin", 1, ("c2", "c3"), ("c3",)),
    ]
    assert found[0].scores.case_scores("dice")[0] == 1.0
    assert found[1].scores.case_scores("dice")[1] == 0.0
    expected = evaluate(folder, dataset, cases=["c1"], workers=1)
    assert found[0].scores.case_scores("nsd")[1] == pytest.approx(expected.values("nsd")["c1"])
    assert found[0].scores.definitions("dice") == ("dice.v1",)


def test_predictions_are_measured_in_mm_where_the_data_sets_own_runs_are(
    dataset: Dataset, tmp_path: Path
) -> None:
    _write(tmp_path / "p" / "c0.png", 10)
    rows = "".join(f"c{number},0.5\n" for number in range(6))
    (dataset.root / "cases.csv").write_text(f"case,pixel_mm\n{rows}")
    raw = raw_data(dataset, Workspace.locate(tmp_path / "workspace"))
    assert raw.pixel_sizes == {f"c{number}": 0.5 for number in range(6)}
    (found,) = add_records(Addition(tmp_path / "p", "one"), {NAME: raw}, workers=1)
    assert found.settings["length_unit"] == "mm"
    (plain,) = add_records(Addition(tmp_path / "p", "one"), {NAME: RawData(dataset)}, workers=1)
    assert plain.settings["length_unit"] == "px"


def test_predictions_of_a_data_set_without_folds_are_expected_for_every_case(
    dataset: Dataset, tmp_path: Path
) -> None:
    _write(tmp_path / "p" / "c0.png", 0)
    (found,) = add_records(Addition(tmp_path / "p", "one"), {NAME: RawData(dataset)}, workers=1)
    assert found.fold == "unknown" and len(found.scores.cases) == 6 and len(found.scores.missing) == 5


def test_predictions_need_a_data_set_that_they_are_of(dataset: Dataset, tmp_path: Path) -> None:
    _write(tmp_path / "p" / "other.png", 0)
    with pytest.raises(UsageError, match="autoseg leaderboard DATASET --add swin="):
        add_records(Addition(tmp_path / "p", "swin"))
    with pytest.raises(DataError, match=r"named like a case of Dataset950_Made \(c0.png"):
        add_records(tmp_path / "p", {NAME: RawData(dataset)})


def test_a_summary_of_nnunet_gives_the_scores_of_our_evaluation(dataset: Dataset, tmp_path: Path) -> None:
    home = tmp_path / "results" / NAME / "nnUNetTrainer__nnUNetPlans__2d"
    for number in range(6):
        _write(home / f"fold_{number // 2}" / "validation" / f"c{number}.png", number + 10)
    evaluations = []
    for fold in range(3):
        folder = home / f"fold_{fold}" / "validation"
        cases = FOLDS[fold].validation
        evaluations.append(evaluate(folder, dataset, cases=cases, workers=1))
        evaluations[-1].save_nnunet_summary(folder / "summary.json")
    (home / "dataset.json").write_text(json.dumps(dataset.dataset_json))
    found = add_records(home)
    assert [(r.trainer, r.plan, r.configuration, r.fold) for r in found] == [
        ("nnUNetTrainer", "nnUNetPlans", "2d", fold) for fold in range(3)
    ]
    for record, evaluation in zip(found, evaluations, strict=True):
        for metric in ("dice", "iou", "sensitivity", "precision", "tp"):
            for structure in ("left", "right"):
                ours = dict(
                    zip(record.scores.cases, record.scores.case_scores(metric, structure), strict=True)
                )
                assert ours == pytest.approx(evaluation.values(metric, structure))
    # Counts have our definitions, so that the row stands with those that were evaluated here.
    again = add_records(Addition(home / "fold_0" / "validation", "ours"), {NAME: RawData(dataset, FOLDS)})
    board = rank([*found[:1], *again], resamples=200)
    assert len(board.sets) == 1 and board.sets[0].analysis.pairs[0].mean == 0


@pytest.mark.parametrize("count", ["Infinity", "NaN", "1e400", '"many"', "null", "[]"])
def test_a_count_that_is_none_is_refused_by_case_and_label(tmp_path: Path, count: str) -> None:
    metrics = f'{{"1": {{"TP": {count}, "FP": 1, "FN": 2, "TN": 3}}}}'
    case = f'{{"metrics": {metrics}, "reference_file": "r/a.png", "prediction_file": "p/a.png"}}'
    (tmp_path / NAME).mkdir()
    path = tmp_path / NAME / "summary.json"
    path.write_text(f'{{"metric_per_case": [{case}]}}')
    with pytest.raises(DataError, match="case 1, label 1: expected the voxel counts"):
        add_records(Addition(path, "other"))


def test_nnunets_own_summary_is_read(dataset: Dataset, tmp_path: Path) -> None:
    theirs = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions")
    io = pytest.importorskip("nnunetv2.imageio.natural_image_reader_writer")
    folder = tmp_path / "p"
    for number in range(6):
        _write(folder / f"c{number}.png", number + 20)
    theirs.compute_metrics_on_folder(
        str(dataset.root / "labelsTr"), str(folder), str(folder / "summary.json"), io.NaturalImage2DIO(),
        ".png", [1, 2], num_processes=1,
    )  # fmt: skip
    stock = json.loads((folder / "summary.json").read_text())
    records = add_records(Addition(folder / "summary.json", "stock"), {NAME: RawData(dataset, FOLDS)})
    assert [r.fold for r in records] == [0, 1, 2]
    board = rank(records, resamples=200)
    assert board.rows[0].means["dice"] == pytest.approx(stock["foreground_mean"]["Dice"])
    assert {s for r in records for s in r.scores.structures} == {"left", "right"}


def test_a_summary_of_a_fold_with_a_case_less_has_it_missing(dataset: Dataset, tmp_path: Path) -> None:
    counts = {"TP": 5, "FP": 1, "FN": 2, "TN": 100}
    entry = {"metrics": {"(1, 2)": counts}, "reference_file": "x/c0.png", "prediction_file": "y/c0.png"}
    path = tmp_path / NAME / "summary.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"metric_per_case": [entry]}))
    (found,) = add_records(Addition(path, "t"), {NAME: RawData(dataset, FOLDS)})
    assert found.fold == 0 and found.scores.missing == ("c1",)
    assert found.scores.case_scores("dice").tolist() == pytest.approx([10 / 13, 0.0])
    path.write_text(json.dumps({"metric_per_case": [{**entry, "metrics": {"1": {"Dice": 0.9}}}]}))
    with pytest.raises(DataError, match="case 1, label 1: expected the voxel counts"):
        add_records(path)


def test_what_the_leaderboard_exports_can_be_added_elsewhere(dataset: Dataset, tmp_path: Path) -> None:
    _write(tmp_path / "p" / "c0.png", 3)
    _write(tmp_path / "p" / "c1.png", 4)
    raw = {NAME: RawData(dataset, FOLDS)}
    records = add_records(Addition(tmp_path / "p", "swin"), raw, workers=1)
    board = rank(records, resamples=200)
    export.write_exports(board, files=[tmp_path / "records.jsonl"], nnunet_summary=tmp_path / "out")
    assert add_records(tmp_path / "records.jsonl") == records
    (back,) = add_records(tmp_path / "out", raw)
    assert (back.trainer, back.fold) == ("swin", 0)
    assert back.scores.case_scores("dice").tolist() == pytest.approx(records[0].scores.case_scores("dice"))
    seeds = [replace(records[0], seed=seed, trainer="a") for seed in (1, 2)]
    unknown = replace(records[0], fold="unknown", trainer="b")
    export.write_nnunet_summaries(rank([*seeds, unknown], resamples=200), tmp_path / "seeds")
    found = add_records(tmp_path / "seeds")
    assert {(r.trainer, r.fold, r.seed) for r in found} == {("a", 0, 1), ("a", 0, 2), ("b", "unknown", 0)}
    write_records(tmp_path / "more" / "record.jsonl", records)
    assert add_records(tmp_path / "more") == records
    with pytest.raises(UsageError, match="name their trainers"):
        add_records(Addition(tmp_path / "records.jsonl", "other"))


@pytest.mark.parametrize("folds", [(), FOLDS, tuple(Fold(n, (), (f"c{n}",)) for n in range(6))])
def test_exchanged_values_are_told_however_the_data_set_is_split(
    folds: tuple[Fold, ...], dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for case in dataset.cases:
        assert case.label is not None
        image = read_segmentation(case.label, "NaturalImage2DIO")
        plane = np.array([0, 2, 1], np.uint8)[image.array[0]]
        target = tmp_path / "p" / case.label.name
        target.parent.mkdir(exist_ok=True)
        write_segmentation(plane, target, image.properties, "NaturalImage2DIO")
    with caplog.at_level(logging.WARNING):
        add_records(Addition(tmp_path / "p", "one"), {NAME: RawData(dataset, folds)}, workers=1)
    assert "exchanged (1 for 2, 2 for 1)" in caplog.text and "--map 1=2,2=1" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mapped = Addition(tmp_path / "p", "one", mapping={1: 2, 2: 1})
        found = add_records(mapped, {NAME: RawData(dataset, folds)}, workers=1)
    assert "exchanged" not in caplog.text and all(r.scores.case_scores("dice")[0] == 1 for r in found)
