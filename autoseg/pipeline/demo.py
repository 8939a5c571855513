"""The demo: generated data sets through the whole walk, and a new case of each through the selected model.

It counts steps and computes on one thread in float32: the same numbers come out however busy the machine is,
and near ones on other processors.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import Dataset, find_cases, load_dataset
from autoseg.data.readers import read_images, read_segmentation
from autoseg.leaderboard.of_workspace import draw_page
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.walk import plan_and_train
from autoseg.system.device import float32_only
from autoseg.system.files import atomic_path
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.drawing.case_picture import PicturedCase
    from autoseg.leaderboard.ranking.ranking import Leaderboard
    from autoseg.leaderboard.records.files import Record
    from autoseg.pipeline.select_model import Selection

# Trainers with their steps: of the volumes, then of the pictures. A narrow brainunet fits into a minute.
TRAININGS = (
    {"nnunet": 1500, "brainunet:width=8": 720},
    {"nnunet": 600, "resnet34_mlp": 130},
)
DEVICE = "cpu"


@dataclass(frozen=True)
class Demo:
    """What the demo ends with.

    Attributes:
        leaderboard: the leaderboard of both data sets.
        page: the same as a page.
        selections: the model of each data set that is selected.
        picture: the new cases with their predictions, a PNG.
    """

    leaderboard: Leaderboard
    page: Path
    selections: tuple[Selection, ...]
    picture: Path

    @property
    def next_commands(self) -> tuple[str, ...]:
        """What to type for data of one's own."""
        command = executable()
        return (
            f"{command} plan-and-train path/to/Dataset123_Mine --budget 1h",
            f"{command} select Dataset123_Mine",
            f"{command} predict MODEL path/to/images path/to/output",
        )


def run_demo(workspace: Workspace, steps: int | None = None) -> Demo:
    """Generate two data sets, walk both, rank everything on one page, and segment a new case of each.

    Args:
        workspace: where everything goes; what an earlier demo finished is not done again.
        steps: length of every training; None: as many as it takes to learn.

    Raises:
        DataError: if the workspace holds another data set of that name.
        RunError: if no training of a data set succeeds.
    """
    from autoseg.data.synthetic import make_demo
    from autoseg.leaderboard.ranking.ranking import rank

    with one_thread(), float32_only():
        folders = make_demo(workspace.raw)
        records: list[Record] = []
        for folder, trainings in zip(folders, TRAININGS, strict=True):
            for trainer, enough in trainings.items():
                records += _trained(folder, trainer, steps or enough, workspace)
        leaderboard = rank(records)
        page = workspace.results / "leaderboard.html"
        draw_page(leaderboard, page, [load_dataset(folder) for folder in folders])
        selections = tuple(_selected(folder.name, workspace) for folder in folders)
        picture = _predict_new(folders, selections, workspace)
    return Demo(leaderboard, page, selections, picture)


def _trained(folder: Path, trainer: str, steps: int, workspace: Workspace) -> tuple[Record, ...]:
    settings = Settings(trainers=(trainer,), folds=(0,), steps=steps, small=True, device=DEVICE)
    return plan_and_train(folder, workspace, settings).records


def _selected(dataset: str, workspace: Workspace) -> Selection:
    from autoseg.pipeline.select_model import select_model

    return select_model(workspace, dataset, pairs=0, device=DEVICE)


def _predict_new(folders: tuple[Path, Path], selections: tuple[Selection, ...], workspace: Workspace) -> Path:
    """Segment a volume and a picture that no training has seen, and draw them."""
    from autoseg.data.synthetic import make_new_cases
    from autoseg.drawing.case_picture import draw_cases
    from autoseg.pipeline.single_stages import predict_folder

    place = workspace.raw.parent / "new_cases"
    drawn = []
    for folder, selection, (images, labels) in zip(folders, selections, make_new_cases(place), strict=True):
        output = images.with_name("predictions")
        shutil.rmtree(output, ignore_errors=True)  # of an earlier selection
        first, *more = selection.chosen.models
        predict_folder(first, images, output, device=DEVICE, more=more)
        drawn.append(_pictured(load_dataset(folder), selection.chosen.name, images, labels, output))
    with atomic_path(place / "predictions.png") as path:
        path.write_bytes(draw_cases(drawn))
    return place / "predictions.png"


def _pictured(dataset: Dataset, model: str, images: Path, labels: Path, output: Path) -> PicturedCase:
    from autoseg.drawing.case_picture import PicturedCase
    from autoseg.evaluation.scoring import evaluate

    (case,) = find_cases(images, dataset.file_ending)
    evaluation = evaluate(output, dataset, references=labels, metrics=["dice"], workers=1)
    name = f"{case.identifier}{dataset.file_ending}"
    image = read_images(case.images, dataset.reader)
    structures = {
        key: value for key, value in dataset.labels.names.items() if isinstance(value, int) and value
    }
    return PicturedCase(
        case.identifier,
        image.array[0],
        read_segmentation(labels / name, dataset.reader).array[0],
        read_segmentation(output / name, dataset.reader).array[0],
        image.spacing,
        structures,
        f"{model.split(':')[0]}, Dice {evaluation.mean('dice'):.3f}",
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block: sums are added in the same order on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def executable() -> str:
    """How to call this `autoseg` from the current folder: by name where the shell finds it, else by path."""
    installed = Path(sys.executable).parent / "autoseg"
    found = shutil.which("autoseg")
    if found is not None and Path(found).resolve() == installed.resolve():
        return "autoseg"
    if not installed.is_file():
        return shlex.join([sys.executable, "-m", "autoseg"])
    here = Path.cwd()
    return shlex.quote(str(installed.relative_to(here) if installed.is_relative_to(here) else installed))
