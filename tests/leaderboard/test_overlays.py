"""Pictures: chosen by one rule, the same slice for all, and never the reason that a page fails."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from made_records import record, table
from PIL import Image

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.leaderboard.page.overlays import chosen_cases, make_overlays
from autoseg.leaderboard.page.page import render
from autoseg.leaderboard.ranking.ranking import Leaderboard, rank
from autoseg.leaderboard.records.files import load_records, write_record

CASES = ["easy", "fair", "hard", "split"]
DICE = {"a": [0.95, 0.80, 0.30, 0.90], "b": [0.95, 0.82, 0.30, 0.40]}


def _write(array: np.ndarray, path: Path, spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Dataset, Leaderboard, Path]:
    """Four cases with a block of label 1 that is largest in slice 5; b disagrees on "split" in slice 2."""
    root = tmp_path / "Dataset900_Made"
    description = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    generator = np.random.default_rng(0)
    reference = np.zeros((8, 30, 40), np.uint8)
    reference[2:7, 10:16, 10:16] = 1
    reference[5, 8:20, 8:24] = 1
    for case in CASES:
        image = (generator.normal(100, 10, reference.shape) + 80 * reference).astype(np.float32)
        _write(image, root / "imagesTr" / f"{case}_0000.nii.gz")
        _write(reference, root / "labelsTr" / f"{case}.nii.gz")
    (root / "dataset.json").write_text(json.dumps(description))
    for trainer, values in DICE.items():
        folder = tmp_path / "results" / trainer / "fold_0"
        for case in CASES:
            prediction = np.roll(reference, 1, axis=2)
            if (trainer, case) == ("b", "split"):
                prediction[2] = 0
                prediction[2, :, 30:] = 1
            _write(prediction, folder / "validation" / f"{case}.nii.gz")
        scores = table(CASES, {"organ": values})
        write_record(folder / "record.jsonl", record(trainer, dataset="Dataset900_Made", scores=scores))
    board = rank(load_records(tmp_path / "results"), resamples=100)
    return load_dataset(root), board, tmp_path


def _pixels(source: str) -> np.ndarray:
    head, _, text = source.partition(",")
    assert head in ("data:image/webp;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), dtype=float)


def test_one_rule_chooses_the_cases(made: tuple[Dataset, Leaderboard, Path]) -> None:
    assert chosen_cases(made[1].sets[0]) == [
        ("Best case", "easy"),
        ("Median case", "fair"),
        ("Worst case", "hard"),
        ("Largest disagreement", "split"),
    ]


def test_a_case_chosen_twice_is_shown_once() -> None:
    board = rank([record(name, scores=table(["only"], {"organ": [0.5]})) for name in "ab"], resamples=50)
    ((title, case),) = chosen_cases(board.sets[0])
    assert (title, case) == ("Best case, median case, worst case, largest disagreement", "only")


def test_every_trainer_is_shown_on_the_same_slice(made: tuple[Dataset, Leaderboard, Path]) -> None:
    dataset, board, _ = made
    overlays = make_overlays(board, [dataset])
    assert [overlay.case for overlay in overlays] == CASES
    for overlay in overlays:
        assert [panel.name for panel in overlay.panels] == ["Reference", "a", "b"]
        assert len({(panel.picture.width, panel.picture.height) for panel in overlay.panels}) == 1
    assert overlays[0].sentence == "Slice 6 of 8."
    assert overlays[3].sentence == "Slice 3 of 8."
    assert [panel.score for panel in overlays[3].panels] == ["", "Dice 0.900", "Dice 0.400"]
    assert "Case split: the outlines that b predicted" in overlays[3].panels[2].alt


def test_the_pictures_show_the_outlines(made: tuple[Dataset, Leaderboard, Path]) -> None:
    dataset, board, _ = made
    split = make_overlays(board, [dataset])[3]
    reference, first, second = (_pixels(panel.picture.source) for panel in split.panels)
    # Sky blue has much more blue than red; the image is grey, and compression only blurs the lines.
    painted = [(picture[..., 2] - picture[..., 0] > 40).sum() for picture in (reference, first, second)]
    assert min(painted) > 100
    # The two predictions differ on this slice, so the pictures do.
    assert np.abs(first - second).max() > 100
    assert first.std() > 20


def test_a_missing_prediction_is_an_empty_picture_that_says_so(
    made: tuple[Dataset, Leaderboard, Path],
) -> None:
    dataset, board, root = made
    (root / "results" / "b" / "fold_0" / "validation" / "hard.nii.gz").unlink()
    hard = make_overlays(board, [dataset])[2]
    assert hard.panels[2].score == "no prediction, Dice 0.300"
    assert "no prediction" in hard.panels[2].alt


def test_what_cannot_be_read_is_left_out_with_a_warning(
    made: tuple[Dataset, Leaderboard, Path], caplog: pytest.LogCaptureFixture
) -> None:
    dataset, board, root = made
    (root / "Dataset900_Made" / "imagesTr" / "easy_0000.nii.gz").write_bytes(b"no image")
    for trainer in DICE:
        (root / "results" / trainer / "fold_0" / "validation" / "fair.nii.gz").unlink()
    with caplog.at_level(logging.WARNING):
        assert [overlay.case for overlay in make_overlays(board, [dataset])] == ["hard", "split"]
    assert "No picture of case easy" in caplog.text and "No picture of case fair" in caplog.text


def test_the_page_holds_the_pictures(made: tuple[Dataset, Leaderboard, Path]) -> None:
    dataset, board, _ = made
    text = render(board, make_overlays(board, [dataset]))
    assert text.count('<img src="data:image/') == 12
    assert text.count("alt=") == 12


def test_predictions_can_lie_elsewhere(made: tuple[Dataset, Leaderboard, Path]) -> None:
    dataset, board, root = made
    asked = []

    def find(run: object, case: str, ending: str) -> Path:
        asked.append((case, ending))
        return root / "results" / "a" / "fold_0" / "validation" / f"{case}{ending}"

    assert len(make_overlays(board, [dataset], find)) == 4
    assert ("easy", ".nii.gz") in asked


def test_data_sets_that_are_not_ranked_are_ignored(made: tuple[Dataset, Leaderboard, Path]) -> None:
    assert make_overlays(made[1], []) == ()
