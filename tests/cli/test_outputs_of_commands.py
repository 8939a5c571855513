"""Every option that names an output: a user's file of that name stays, the command's own is replaced."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import typer.main
from model_folders import model_folder, write_volume
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.errors import AutosegError

MINE = "a user's own"
DATASET = "Dataset001_Made"
# The command's words before the output, the output, and the file in question where it is not the output.
FILES = [
    ("verify RAW --report", "page.html", "page.html"),
    ("plan RAW --report", "why.md", "why.md"),
    ("plan RAW --report", "why.md", "why.json"),
    ("plan RAW --report", "why.md", "why.png"),
    ("leaderboard RAW --add SCORES --html", "page.html", "page.html"),
    ("leaderboard RAW --add SCORES --csv", "rows.csv", "rows.csv"),
    ("leaderboard RAW --add SCORES --export", "rows.md", "rows.md"),
    ("leaderboard RAW --add SCORES --export", "rows.tex", "rows.tex"),
    ("leaderboard RAW --add SCORES --export", "rows.jsonl", "rows.jsonl"),
    ("leaderboard RAW --add SCORES --challenger", "scores.csv", "scores.csv"),
    ("leaderboard RAW --add SCORES --nnunet-summary", "out", f"out/{DATASET}/SCORES/summary.json"),
    ("predict MODEL IMAGES", "out", "out/c0.nii.gz"),
    ("predict MODEL IMAGES", "out", "out/predictions.json"),
    ("predict --probabilities MODEL IMAGES", "out", "out/c0.npz"),
    ("predict MODEL IMAGE", "one.nii.gz", "one.nii.gz"),
]
FOLDERS = [
    ("verify RAW --fix", "out"),
    ("export --to nnunet MODEL", "out"),
    ("export --to nnunet MODEL", "out.zip"),
    ("export --to onnx MODEL", "out"),
    ("review RAW --export", "out"),
]
# What names a place that is not replaced: results get numbers or new names there, see their own tests.
GROWING = {("serve", "--watch"), ("review", "--folder")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set, a model and predictions that were made elsewhere."""
    home = tmp_path_factory.mktemp("made")
    root = home / "raw" / DATASET
    for number in range(4):
        image = sitk.ReadImage(str(write_volume(root / "imagesTr" / f"c{number}_0000.nii.gz", (9, 35, 30))))
        array = sitk.GetArrayFromImage(image)
        label = sitk.GetImageFromArray(np.where(array > 80, 2, np.where(array > 60, 1, 0)).astype(np.uint8))
        label.CopyInformation(image)
        (root / "labelsTr").mkdir(exist_ok=True)
        sitk.WriteImage(label, str(root / "labelsTr" / f"c{number}.nii.gz"))
    about = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "head": 1, "body": 2}}
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": 4, "file_ending": ".nii.gz"}))
    shutil.copytree(root / "labelsTr", home / "SCORES")
    model_folder(home, configuration="2d").rename(home / "MODEL")
    return home


def run(made: Path, words: str, output: Path) -> tuple[int, str]:
    places = {
        "RAW": made / "raw" / DATASET,
        "SCORES": made / "SCORES",
        "MODEL": made / "MODEL",
        "IMAGES": made / "raw" / DATASET / "imagesTr",
        "IMAGE": made / "raw" / DATASET / "imagesTr" / "c0_0000.nii.gz",
    }
    line = [str(places.get(word, word)) for word in words.split()] + [str(output)]
    if line[0] == "predict":
        line += ["--device", "cpu", "--no-mirroring"]
    elif line[0] != "export":
        line += ["--workspace", str(made)]
    if line[0] in ("verify", "plan"):
        line += ["--workers", "1"]
    done = CliRunner().invoke(app, line)
    # Errors of this class become a line and their status in the process's entry.
    if isinstance(done.exception, AutosegError):
        return done.exception.exit_status, " ".join(str(done.exception).split())
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize(("words", "output", "file"), FILES)
def test_a_users_file_stays(words: str, output: str, file: str, made: Path, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"of": MINE}))
    before = set(tmp_path.rglob("*"))
    status, said = run(made, words, tmp_path / output)
    assert status in (1, 2) and path.name in said and "another" in said, said
    assert json.loads(path.read_text()) == {"of": MINE}
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("words", "output"), dict.fromkeys((words, output) for words, output, _ in FILES))
def test_the_same_command_can_be_run_again(words: str, output: str, made: Path, tmp_path: Path) -> None:
    files = [file for each, name, file in FILES if (each, name) == (words, output)]
    for _ in range(2):
        status, said = run(made, words, tmp_path / output)
        assert status == 0, said
        assert all((tmp_path / file).stat().st_size for file in files)


@pytest.mark.parametrize(("words", "output"), FOLDERS)
def test_what_is_there_already_is_no_place_for_a_whole(
    words: str, output: str, made: Path, tmp_path: Path
) -> None:
    path = tmp_path / output if "." in output else tmp_path / output / "mine.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(MINE)
    status, said = run(made, words, tmp_path / output)
    assert status == 2 and "there already" in said
    assert path.read_text() == MINE and len(list(tmp_path.rglob("*"))) == len(
        path.relative_to(tmp_path).parts
    )


def test_no_option_that_names_an_output_is_left_out() -> None:
    tested = {
        (words.split()[0], words.split()[-1] if words.split()[-1].startswith("-") else "output")
        for words, *_ in (*FILES, *FOLDERS)
    }
    assert tested | GROWING == set(_outputs())


def _outputs() -> Iterator[tuple[str, str]]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for each in command.params:
            writes = any(word in (getattr(each, "help", "") or "") for word in ("Write", "tored"))
            if writes or each.metavar in ("OUT", "IN OUT") or each.name == "output":
                yield name, each.opts[0]
