"""The first stage of a cascade: trained on every fold, so that each case has a segmentation by a network that
has not seen it.

As in nnU-Net, what the second stage learns from is what the first one makes of cases that it held out: its
segmentations of its own training cases would be better than those it will make of new images. They are put on
the second stage's grid by the same steps as at prediction (the segmentation on the image's own grid, cropped
and resampled), where nnU-Net resamples logits.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoseg.data.folds import Fold
from autoseg.data.geometry import slices
from autoseg.data.readers import read_segmentation
from autoseg.errors import PlanError
from autoseg.planner.cascade import CASCADE, first_stage
from autoseg.planner.configuration import Configuration
from autoseg.planner.plan import Plan
from autoseg.preprocessing.blosc_store import read_preprocessed, write_stage
from autoseg.preprocessing.resample import separate_axis
from autoseg.preprocessing.resample_labels import resample_labels
from autoseg.run import Run, stage_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from autoseg.pipeline.prepare import Prepared
    from autoseg.pipeline.trial_record import Member
    from autoseg.tailoring.request import Request
    from autoseg.workspace import Workspace

log = logging.getLogger(__name__)


def with_cascade(prepared: Prepared, trained: Sequence[Fold], request: Request) -> Request:
    """The request, with how many first trainings a cascade has for each second one, where one is possible.

    Args:
        prepared: the data set with all its folds.
        trained: the folds that are reported.
        request: settings of a run.
    """
    requested = request.configuration == CASCADE
    if not requested and (CASCADE not in prepared.plan.configurations or _never_held_out(prepared.folds)):
        return request
    return dataclasses.replace(request, first_stages=len(prepared.folds) / max(len(trained), 1))


def first_stage_runs(member: Member, folds: Sequence[Fold]) -> tuple[Run, ...]:
    """The runs of a member's first stage, one a fold; none where it is no cascade."""
    low = first_stage(member.plan)
    if low is None:
        return ()
    return tuple(dataclasses.replace(member.run, configuration=low.name, fold=fold.index) for fold in folds)


def check_folds(folds: Sequence[Fold]) -> None:
    """Refuse folds by which a cascade cannot be trained.

    Raises:
        PlanError: if cases are in no fold's held-out part.
    """
    if missing := _never_held_out(folds):
        raise PlanError(
            f"A cascade needs a first stage that has not seen the case, for every training case, and "
            f"{len(missing)} cases are held out by no fold ({', '.join(missing[:3])}). Give folds that hold "
            f"each case out once, or --configuration 3d_fullres."
        )


def _never_held_out(folds: Sequence[Fold]) -> list[str]:
    held_out = {case for fold in folds for case in fold.validation}
    return sorted({case for fold in folds for case in fold.training} - held_out)


def write_held_out(run: Run, fold: Fold, second: Run, plan: Plan, workspace: Workspace, ending: str) -> None:
    """Put what a first stage made of a fold's held-out cases on the second stage's grid.

    Each gets the date of the segmentation it comes from, and stays as long as that has it: whether one is
    newer says nothing where a clock was set back between two trainings.

    Args:
        run: of the first stage, with its predictions.
        fold: its fold.
        second: any run of the second stage.
        plan: of both.
        workspace: where the second stage's preprocessed cases lie.
        ending: of the segmentations' files.
    """
    configuration = plan.configuration(second.configuration)
    cases = workspace.cases_of(run.dataset, configuration.data_identifier)
    for case in fold.validation:
        source = run.predictions / f"{case}{ending}"
        target = stage_file(run.model_folder, configuration.name, case)
        about = source.stat()
        if target.is_file() and target.stat().st_mtime_ns == about.st_mtime_ns:
            continue
        _, properties = read_preprocessed(cases, case, array=False)
        found = read_segmentation(source, plan.image_reader_writer).array[0]
        write_stage(target, on_grid(found, properties, plan, configuration), configuration.patch_size)
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))


def on_grid(
    segmentation: NDArray[Any], properties: Mapping[str, Any], plan: Plan, configuration: Configuration
) -> NDArray[Any]:
    """A segmentation (z, y, x) of a raw image, on the grid that the image is preprocessed to.

    Args:
        segmentation: on the raw image's grid.
        properties: what preprocessing left about the case, with ``shape``.
        plan: its transposition is read.
        configuration: its spacing and resampling are read.

    Returns:
        (z, y, x), uint8, or uint16 where a label needs it.
    """
    turned = segmentation.transpose(plan.transpose)[slices(properties["bbox_used_for_cropping"])]
    spacing = [float(properties["spacing"][axis]) for axis in plan.transpose]
    rule = configuration.resampling["resampling_fn_seg_kwargs"].get("force_separate_z")
    axis = separate_axis(spacing, list(configuration.spacing), rule)
    # A type that holds all labels and no -1: nothing is marked as outside here.
    kind = np.uint8 if int(turned.max(initial=0)) < 256 else np.uint16
    return resample_labels(turned.astype(kind), properties["shape"], axis)
