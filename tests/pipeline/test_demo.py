"""The demo: data that are repeatable, sound, neither trivial nor impossible, and the whole path over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import make_folds
from autoseg.data.readers import read_images, read_segmentation
from autoseg.data.synthetic import (
    MR_SHAPE,
    MR_SPACING,
    US_SHAPE,
    make_demo,
    make_new_cases,
    mr_phantom,
    ultrasound_phantom,
)
from autoseg.errors import DataError
from autoseg.intake.verification.dataset_check import verify
from autoseg.pipeline import demo as pipeline_demo
from autoseg.pipeline.demo import executable, run_demo
from autoseg.workspace import Workspace


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_demo(tmp_path_factory.mktemp("demo"), cases=(4, 7))


def arrays(dataset: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    pairs = []
    for case in dataset.cases:
        assert case.label is not None
        image, label = read_images(case.images, dataset.reader), read_segmentation(case.label, dataset.reader)
        pairs.append((image.array[0], label.array[0]))
    return pairs


def test_the_data_sets_are_sound(demo: tuple[Path, Path]) -> None:
    assert [folder.name for folder in demo] == ["Dataset901_DemoMR", "Dataset902_DemoUltrasound"]
    assert [verify(folder).findings for folder in demo] == [(), ()]
    volumes, pictures = map(load_dataset, demo)
    assert (len(volumes.cases), volumes.reader, volumes.labels.num_heads) == (4, "SimpleITKIO", 3)
    assert (len(pictures.cases), pictures.reader, pictures.labels.num_heads) == (7, "NaturalImage2DIO", 2)
    assert read_images(volumes.cases[0].images, volumes.reader).spacing == MR_SPACING
    assert {image.shape for image, _ in arrays(volumes)} == {MR_SHAPE}
    assert {image.shape for image, _ in arrays(pictures)} == {(1, *US_SHAPE)}


def test_two_pictures_make_an_exam(demo: tuple[Path, Path]) -> None:
    dataset = load_dataset(demo[1])
    groups = [case.group for case in dataset.cases]
    assert groups == ["exam_000", "exam_000", "exam_001", "exam_001", "exam_002", "exam_002", "exam_003"]
    assert sorted(len(fold.validation) for fold in make_folds(dataset)) == [1, 2, 2, 2]


def test_the_same_seed_gives_the_same_files(demo: tuple[Path, Path], tmp_path: Path) -> None:
    again = make_demo(tmp_path, cases=(4, 7))
    for one, other in zip(demo, again, strict=True):
        files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
        assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
        assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_more_cases_do_not_change_the_first_ones_and_another_seed_does() -> None:
    def drawn(seed: int) -> list[np.ndarray]:
        pictures = ultrasound_phantom(np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2]))
        return [*mr_phantom(np.random.default_rng([seed, 3])), *pictures]

    for one, same, other in zip(drawn(0), drawn(0), drawn(1), strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()


def test_what_is_finished_is_left_alone_and_what_is_not_is_made_again(tmp_path: Path) -> None:
    volumes, pictures = make_demo(tmp_path, cases=(2, 2))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    make_demo(tmp_path, cases=(2, 2))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    (pictures / "dataset.json").unlink()
    (pictures / "imagesTr" / "us_000_a_0000.png").unlink()
    make_demo(tmp_path, cases=(2, 2))
    assert verify(pictures).findings == ()
    make_demo(tmp_path, cases=(1, 2))
    assert verify(volumes).findings == ()
    assert len(load_dataset(volumes).cases) == 1


def test_what_somebody_else_put_there_is_not_touched(tmp_path: Path) -> None:
    volumes, _ = make_demo(tmp_path, cases=(1, 1))
    (volumes / "dataset.json").write_text('{"name": "mine"}')
    with pytest.raises(DataError, match="not generated"):
        make_demo(tmp_path, cases=(2, 1))
    assert len(list(volumes.glob("*/*.nii.gz"))) == 2


def best_dice_of_a_threshold(image: np.ndarray, truth: np.ndarray) -> float:
    """The Dice of the best of all thresholds, above or below: what needs no learning."""
    best = 0.0
    for level in np.quantile(image, np.linspace(0, 1, 65)):
        for guess in (image >= level, image <= level):
            best = max(best, float(2 * (guess & truth).sum() / (guess.sum() + truth.sum())))
    return best


def test_thresholds_do_not_solve_them(demo: tuple[Path, Path]) -> None:
    volumes, pictures = (arrays(load_dataset(folder)) for folder in demo)
    for cases, structure in ((volumes, 1), (volumes, 2), (pictures, 1)):
        found = [best_dice_of_a_threshold(image, label == structure) for image, label in cases]
        assert max(found) < 0.6


def test_the_structures_touch_each_other_and_stand_out(demo: tuple[Path, Path]) -> None:
    for image, label in arrays(load_dataset(demo[0])):
        head, body = label == 1, label == 2
        assert (binary_dilation(head) & body).sum() > 10
        assert head.sum() > 300 and body.sum() > 150
        around = binary_dilation(label > 0, iterations=2) & (label == 0)
        assert image[head].mean() > image[body].mean() + 0.5 * image[body].std()
        assert image[around].mean() > image[head].mean()


def test_the_outline_of_the_skull_is_brighter_than_both_sides() -> None:
    for exam in range(4):
        image, label = ultrasound_phantom(np.random.default_rng([0, exam]), np.random.default_rng([1, exam]))
        head = label == 1
        rim = binary_dilation(head, iterations=2) & ~(~binary_dilation(~head, iterations=2))
        inside = ~binary_dilation(~head, iterations=6)
        lit = image > 0
        assert image[rim & lit].mean() > 1.5 * image[inside].mean()
        assert 0.1 < head.mean() < 0.35
        # Outside the fan there is nothing.
        assert image[:36, :12].max() == image[:36, -12:].max() == 0


def test_a_new_case_is_in_no_data_set_and_like_those_that_are(
    demo: tuple[Path, Path], tmp_path: Path
) -> None:
    for folder, (images, labels), name in zip(
        demo, make_new_cases(tmp_path), ("mr_new", "us_new"), strict=True
    ):
        dataset = load_dataset(folder)
        new = read_images([images / f"{name}_0000{dataset.file_ending}"], dataset.reader)
        label = read_segmentation(labels / f"{name}{dataset.file_ending}", dataset.reader).array[0]
        assert (new.array.shape[1:], new.spacing) == (
            label.shape,
            read_images(dataset.cases[0].images, dataset.reader).spacing,
        )
        assert not any((new.array[0] == image).all() for image, _ in arrays(dataset))
        assert set(np.unique(label)) == set(dataset.labels.all_values)


@pytest.mark.parametrize("place", ["bin", "elsewhere", "nowhere"])
def test_autoseg_is_called_as_the_shell_finds_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").touch()
    if place != "nowhere":
        (folder / "autoseg").touch(mode=0o755)
    monkeypatch.setattr(pipeline_demo.sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder) if place == "bin" else str(tmp_path))
    monkeypatch.chdir(tmp_path)
    expected = {
        "bin": "autoseg",
        "elsewhere": ".venv/bin/autoseg",
        "nowhere": f"{folder / 'python'} -m autoseg",
    }
    assert executable() == expected[place]
    monkeypatch.chdir("/")
    if place == "elsewhere":
        assert executable() == str((folder / "autoseg").relative_to("/"))


@pytest.mark.slow
@pytest.mark.ci
def test_the_demo_walks_from_nothing_to_a_segmented_new_case(tmp_path: Path) -> None:
    workspace = Workspace.locate(tmp_path)
    demo = run_demo(workspace, steps=4)
    rows = demo.leaderboard.to_json(None)["rows"]
    assert [row["dataset"] for row in rows] == ["Dataset901_DemoMR"] * 2 + ["Dataset902_DemoUltrasound"] * 2
    assert {row["status"] for row in rows} <= {"ok", "collapsed"}  # four steps teach little
    assert "<table" in demo.page.read_text()
    assert [each.dataset for each in demo.selections] == ["Dataset901_DemoMR", "Dataset902_DemoUltrasound"]
    assert demo.picture.read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new_cases").glob("*/predictions/*_new.*"))) == 2
    plan_and_train, select, predict = demo.next_commands
    assert " plan-and-train " in plan_and_train and " select " in select and " predict MODEL " in predict
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint_final.pth")}
    again = run_demo(workspace, steps=4)
    assert [row["dice"] for row in again.leaderboard.to_json(None)["rows"]] == [row["dice"] for row in rows]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint_final.pth")} == before


@pytest.mark.slow
def test_the_demo_learns(tmp_path: Path) -> None:
    rows = run_demo(Workspace.locate(tmp_path)).leaderboard.to_json(None)["rows"]
    found = {(row["dataset"], row["trainer"].split(":")[0]): row["dice"] for row in rows}
    assert found["Dataset901_DemoMR", "nnunet"] > 0.85
    assert found["Dataset901_DemoMR", "brainunet"] > 0.75
    assert found["Dataset902_DemoUltrasound", "nnunet"] > 0.95
    assert found["Dataset902_DemoUltrasound", "resnet34_mlp"] > 0.95
