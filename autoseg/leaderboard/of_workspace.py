"""Records of a workspace, and those made elsewhere, as one leaderboard and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import folds_from_json
from autoseg.errors import UsageError
from autoseg.system.files import read_json
from autoseg.system.named_outputs import named_output
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.leaderboard.foreign.add import RawData
    from autoseg.leaderboard.ranking.ranking import Leaderboard


def ranked(
    workspace: Workspace,
    datasets: Sequence[str],
    add: Sequence[str] = (),
    metric: str = "dice",
    structure: str | None = None,
    folds: Sequence[int] | None = None,
    html: Path | None = None,
    mapping: Mapping[int, int] | None = None,
    by_voxels: bool = False,
) -> Leaderboard:
    """Rank the records of the workspace, or of some data sets, and those made elsewhere.

    Args:
        workspace: where the records lie.
        datasets: names, ids or raw folders; none: all records of the workspace, or with `add` only these.
        add: files and folders of scores made elsewhere, as ``PATH`` or ``NAME=PATH``.
        metric: what is ranked by.
        structure: one structure; None: the mean over structures.
        folds: use these only; None: all.
        html: where the page goes.
        mapping: from values in added predictions to the labels that they stand for.
        by_voxels: whether added predictions are compared whatever their headers say of place and direction.

    Raises:
        UsageError: if there is no record, or the page would replace a file that this program did not write.
    """
    from autoseg.leaderboard.foreign.add import Addition, add_records
    from autoseg.leaderboard.ranking.ranking import rank
    from autoseg.leaderboard.records.files import load_records

    roots = [workspace.find_raw(name) for name in datasets]
    places = [workspace.results_of(root.name) for root in roots] or ([] if add else [workspace.results])
    records = [record for place in places if place.is_dir() for record in load_records(place)]
    loaded = [load_dataset(root) for root in roots] if add or html else []
    at_hand = {dataset.name: raw_data(dataset, workspace) for dataset in loaded}
    additions = [
        replace(Addition.parse(text), mapping=dict(mapping or {}), by_voxels=by_voxels) for text in add
    ]
    records += [record for addition in additions for record in add_records(addition, at_hand)]
    if not records:
        raise UsageError(
            f"There is no record in {', '.join(map(str, places))}. Run autoseg plan-and-train first."
        )
    leaderboard = rank(records, metric=metric, structure=structure, folds=folds)
    if html is not None:
        with named_output(html) as made:
            draw_page(leaderboard, made, loaded)
    return leaderboard


def raw_data(dataset: Dataset, workspace: Workspace) -> RawData:
    """A data set with its folds, if it has been split, and the pixel sizes of its own runs."""
    from autoseg.evaluation.requested import measures_of
    from autoseg.leaderboard.foreign.add import RawData

    path = workspace.folds_of(dataset.name)
    sizes = measures_of(dataset, workspace.measures_of(dataset.name)).pixel_sizes
    return RawData(dataset, folds_from_json(read_json(path)) if path.is_file() else (), sizes)


def draw_page(leaderboard: Leaderboard, page: Path, datasets: Sequence[Dataset]) -> None:
    """Write the page, with pictures of cases of the data sets that are at hand."""
    from autoseg.leaderboard.page.overlays import make_overlays
    from autoseg.leaderboard.page.page import write_page

    write_page(leaderboard, page, make_overlays(leaderboard, datasets))
