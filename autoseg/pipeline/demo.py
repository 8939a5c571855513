"""The demo: generated data sets through the whole walk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import load_dataset
from autoseg.leaderboard.of_workspace import draw_page
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.walk import plan_and_train
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.leaderboard.ranking.ranking import Leaderboard
    from autoseg.leaderboard.records.files import Record


def run_demo(workspace: Workspace, budget_s: float, device: str = "cpu") -> tuple[Leaderboard, Path]:
    """Generate two data sets, walk both, and rank everything on one page."""
    from autoseg.data.synthetic import make_demo
    from autoseg.leaderboard.ranking.ranking import rank

    volumes, images = make_demo(workspace.raw)
    records: list[Record] = []
    for folder, trainers in ((volumes, ("nnunet", "brainunet")), (images, ("nnunet", "resnet34_mlp"))):
        settings = Settings(trainers=trainers, folds=(0,), budget_s=budget_s / 2, device=device)
        records += plan_and_train(folder, workspace, settings).records
    leaderboard = rank(records)
    page = workspace.page_of()
    draw_page(leaderboard, page, [load_dataset(folder) for folder in (volumes, images)])
    return leaderboard, page
