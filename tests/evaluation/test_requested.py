"""What a data set asks to be measured, and pixel sizes on their way from a table to a row in mm."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import Fold
from autoseg.errors import UsageError
from autoseg.evaluation.requested import FILE_NAME, measures_of, request_measures
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.page.page import render
from autoseg.leaderboard.ranking.ranking import rank
from autoseg.leaderboard.records.files import Record, load_records, write_record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.metrics import score_case
from autoseg.metrics.head_circumference import ellipse_circumference
from autoseg.pipeline.rescore import rescore
from autoseg.pipeline.trial import _evaluated
from autoseg.pipeline.trial_record import Trial
from autoseg.run import Run
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

CASES = ("one", "two", "three")
HC = ("hc_error", "hc_absolute_error")


def disc(radius: float) -> np.ndarray:
    y, x = np.mgrid[-40:41, -40:41]
    return (np.hypot(y, x) <= radius).astype(np.uint8)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def made(root: Path, structure: str = "head", **more: object) -> Dataset:
    """Three images with discs of 20 pixels."""
    for case in CASES:
        save(disc(20) * 255, root / "imagesTr" / f"{case}_0000.png")
        save(disc(20), root / "labelsTr" / f"{case}.png")
    labels = {"background": 0, structure: 1}
    document = {"channel_names": {"0": "US"}, "labels": labels, "numTraining": 3, "file_ending": ".png"}
    write_json(root / "dataset.json", {**document, **more})
    return load_dataset(root)


def table(path: Path, **columns: float) -> Path:
    lines = [",".join(["case", *columns])]
    lines += [",".join([case, *map(str, columns.values())]) for case in CASES]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "Dataset001_Heads"


def test_a_data_set_asks_in_its_dataset_json(root: Path) -> None:
    dataset = made(root, evaluation={"metrics": list(HC), "pixel_sizes": "sizes.csv:pixel_half"})
    table(root / "sizes.csv", pixel_full=0.1, pixel_half=0.2)
    found = measures_of(dataset)
    assert found.metrics == HC
    assert found.pixel_sizes == dict.fromkeys(CASES, 0.2)


def test_the_workspace_counts_before_the_file_beside_the_data_before_dataset_json(
    root: Path, tmp_path: Path
) -> None:
    dataset = made(root, evaluation={"metrics": ["hc_error"], "pixel_sizes": "sizes.csv:pixel_a"})
    table(root / "sizes.csv", pixel_a=0.1, pixel_b=0.2, pixel_c=0.3)
    write_json(root / FILE_NAME, {"pixel_sizes": "sizes.csv:pixel_b"})
    assert measures_of(dataset).pixel_sizes["one"] == 0.2
    assert measures_of(dataset).metrics == ("hc_error",)
    request_measures(dataset, tmp_path / "there.json", None, "sizes.csv:pixel_c")
    found = measures_of(dataset, tmp_path / "there.json")
    assert (found.pixel_sizes["one"], found.metrics) == (0.3, ("hc_error",))
    request_measures(dataset, tmp_path / "there.json", HC, None)
    assert measures_of(dataset, tmp_path / "there.json").pixel_sizes["one"] == 0.3
    assert measures_of(dataset, tmp_path / "there.json").metrics == HC


def test_a_table_elsewhere_is_found_from_everywhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = made(root)
    (tmp_path / "mine").mkdir()
    table(tmp_path / "mine" / "sizes.csv", pixel_mm=0.7)
    monkeypatch.chdir(tmp_path / "mine")
    request_measures(dataset, tmp_path / FILE_NAME, None, "sizes.csv")
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "sizes.csv", pixel_mm=0.9)  # another one, where the program is started later
    assert measures_of(dataset, tmp_path / FILE_NAME).pixel_sizes["one"] == 0.7


def test_one_column_of_pixel_sizes_is_taken_and_said_and_two_are_not(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = made(root)
    table(root / "cases.csv", pixel_mm=0.25)
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert measures_of(dataset).pixel_sizes == dict.fromkeys(CASES, 0.25)
    assert caplog.text.count("Lengths are in mm: the pixel sizes are those of the column pixel_mm") == 1
    table(root / "cases.csv", pixel_mm_full=0.25, pixel_mm_half=0.5)
    assert measures_of(dataset).pixel_sizes == {}


def test_a_table_that_lacks_a_case_is_not_taken_unasked(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = made(root)
    (root / "cases.csv").write_text("case,pixel_mm\none,0.2\n")
    with caplog.at_level(logging.WARNING):
        assert measures_of(dataset).pixel_sizes == {}
    assert "no pixel size of three" in caplog.text


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"metrics": ["hc_eror"]}, "no metric 'hc_eror'"),
        ({"metrics": "hc_error"}, "expected a list"),
        ({"pixel_size": "a.csv"}, "expected an object"),
        (["hc_error"], "expected an object"),
        ({"pixel_sizes": "none.csv"}, "no table none.csv"),
    ],
)
def test_wishes_that_cannot_be_met_say_why(root: Path, wish: object, told: str) -> None:
    dataset = made(root, evaluation=wish)
    with pytest.raises(UsageError, match=told):
        measures_of(dataset)


def test_nothing_is_written_for_a_wish_that_cannot_be_met(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no metric"):
        request_measures(made(root), tmp_path / FILE_NAME, ["no_such"], None)
    assert not (tmp_path / FILE_NAME).exists()


def test_an_asked_metric_is_measured_for_a_structure_of_any_name() -> None:
    def metrics(*requested: str) -> set[str]:
        scores = score_case(disc(20), disc(18), {"skull bone": (1,)}, (0.5, 0.5), requested=requested)
        return {score.metric for score in scores}

    assert not set(HC) & metrics()
    assert metrics(*HC) - metrics() == set(HC)


def test_an_asked_metric_that_does_not_apply_is_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import SimpleITK as sitk

    volume = sitk.GetImageFromArray(np.stack([disc(10)] * 3))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(volume, str(tmp_path / folder / "one.nii.gz"))
    found = evaluate(
        tmp_path / "a", references=tmp_path / "b", labels={"head": 1}, requested=["hc_error"], workers=1
    )
    assert "hc_error" not in {score.metric for score in found.scores}
    assert "hc_error is requested, but it needs 2d" in caplog.text


def test_a_2d_image_with_a_header_is_measured_in_its_mm(tmp_path: Path) -> None:
    import SimpleITK as sitk

    for folder, radius in (("a", 20), ("b", 18)):
        image = sitk.GetImageFromArray(disc(radius))
        image.SetSpacing((0.5, 0.5))
        (tmp_path / folder).mkdir()
        sitk.WriteImage(image, str(tmp_path / folder / "one.mha"))
    found = evaluate(tmp_path / "a", references=tmp_path / "b", labels={"head": 1}, workers=1)
    assert found.settings["length_unit"] == "mm"
    # The prediction is larger by two pixels of half a mm.
    assert found.mean("hc_error") == pytest.approx(ellipse_circumference(1, 1), rel=0.05)


def finished(dataset: Dataset, workspace: Workspace) -> Run:
    """A run whose predictions are discs of 18 pixels, scored before anybody asked for anything."""
    run = Run(dataset.name, "plan", "2d", "nnunet", 0, 0, workspace.results)
    for case in CASES:
        save(disc(18), run.predictions / f"{case}.png")
    evaluation = evaluate(run.predictions, dataset, cases=CASES, workers=1)
    evaluation.save(run.evaluation)
    record = Record(
        run.name,
        dataset.name,
        "nnunet",
        "2d",
        0,
        plan="plan",
        settings=evaluation.settings,
        scores=ScoreTable.from_evaluation(evaluation),
    )
    write_record(run.record, record)
    return run


def test_finished_runs_are_scored_again_in_mm_and_the_page_says_so(root: Path, tmp_path: Path) -> None:
    dataset, workspace = made(root), Workspace.locate(tmp_path)
    run = finished(dataset, workspace)
    before = rank(load_records(workspace.results))
    assert before.rows[0].to_json()["hc_error_mm"] is None
    assert before.rows[0].means["hc_error"] == pytest.approx(-4 * np.pi, rel=0.05)
    page = render(before)
    assert "Head circumference error (px)" in page and "Head circumference error (mm)" not in page

    table(root / "sizes.csv", pixel_mm=0.5)
    arguments = ["measure", str(root), "--pixel-sizes", "sizes.csv", "--workers", "1", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--workspace", str(tmp_path)], catch_exceptions=False)
    assert json.loads(done.stdout) == {"metrics": [], "pixel_sizes": 3, "rescored": [run.name]}
    (after,) = rank(load_records(workspace.results)).rows
    assert after.to_json()["hc_error_mm"] == pytest.approx(-2 * np.pi, rel=0.05)
    assert after.to_json()["hc_absolute_error_mm"] == pytest.approx(2 * np.pi, rel=0.05)
    page = render(rank(load_records(workspace.results)))
    for title in ("Head circumference error (mm)", "Head circumference error, signed (mm)"):
        assert title in page
    assert "(px)" not in page
    assert read_json(run.evaluation)["settings"]["length_unit"] == "mm"


def test_a_run_without_predictions_keeps_its_record(root: Path, tmp_path: Path) -> None:
    dataset, workspace = made(root), Workspace.locate(tmp_path)
    run = finished(dataset, workspace)
    before = run.record.read_bytes()
    for path in run.predictions.iterdir():
        path.unlink()
    run.predictions.rmdir()
    assert rescore(dataset, workspace, workers=1) == []
    assert run.record.read_bytes() == before


def test_a_cell_measures_what_its_data_set_asks_for(root: Path, tmp_path: Path) -> None:
    dataset, workspace = made(root, "calvarium"), Workspace.locate(tmp_path)
    run = finished(dataset, workspace)
    trial = Trial(dataset, None, (), None, Fold(0, (), CASES), None)  # type: ignore[arg-type]

    def unit_and_metrics() -> tuple[str, set[str]]:
        measures = measures_of(dataset, workspace.measures_of(dataset.name))
        found = _evaluated(trial, run, run.predictions, measures, 1)
        return found.settings["length_unit"], {score.metric for score in found.scores} & set(HC)

    assert unit_and_metrics() == ("px", set())
    table(root / "sizes.csv", pixel_mm=0.5)
    request_measures(dataset, workspace.measures_of(dataset.name), HC, "sizes.csv")
    assert unit_and_metrics() == ("mm", set(HC))  # what was there was scored again


def test_fetal_heads_are_measured_in_mm(shared_data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The table has a column for the published images and one for those that are there, half as large."""
    dataset = load_dataset(shared_data("Dataset018_FetalHead"))
    assert measures_of(dataset).pixel_sizes == {}
    measures = request_measures(dataset, tmp_path / FILE_NAME, None, "cases.csv:pixel_mm_half")
    assert len(measures.pixel_sizes) == 200
    assert measures.pixel_sizes["hc18_000_HC"] == 0.13827161
