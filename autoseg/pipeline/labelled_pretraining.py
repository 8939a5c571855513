"""The first of two stages, with labels: one model of all cases of one data set, or of several like ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.data.dataset import load_dataset
from autoseg.data.folds import chosen_folds
from autoseg.data.union import unite
from autoseg.errors import UsageError
from autoseg.pipeline.prepare import split
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.run import Checkpoint

log = logging.getLogger(__name__)


def pretrain_with_labels(
    sources: Sequence[Path | str], trainer: str, fold: int | str, workspace: Workspace, settings: Settings
) -> Checkpoint:
    """Train a trainer on data sets of the same channels and labels together; `init` takes the model.

    Of several, a raw data set is generated in the workspace that lists their images where they lie, and every
    case of it is trained on. With a fold, the cases that the first data set's fold holds out are left out, so
    that its scores stay honest.

    Args:
        sources: names, ids or raw folders.
        trainer: the trainer spec.
        fold: fold of the first data set, or ``all``.
        workspace: where everything goes.
        settings: settings of the training; without epochs, a budget.

    Raises:
        DataError: if the data sets differ in channels or labels, or one has errors.
        UsageError: for unknown names.
    """
    if not sources:
        raise UsageError("There is no data set to pre-train on. Name one or several.")
    if len(sources) == 1:
        return train_one(sources[0], trainer, fold, workspace, settings)
    roots = [workspace.find_raw(source) for source in sources]
    datasets = [load_dataset(root, settings.groups if root == roots[0] else None) for root in roots]
    left_out: tuple[str, ...] = ()
    if fold != "all":
        (chosen,) = chosen_folds(split(datasets[0], workspace), [int(fold)])
        left_out = chosen.validation
    folder = unite(datasets, workspace.raw, left_out)
    log.info("%s: %s", folder.name, " and ".join(f"{each.name} ({len(each.cases)})" for each in datasets))
    # The union brings its own table of groups.
    return train_one(folder, trainer, "all", workspace, dataclasses.replace(settings, groups=None))
