"""Prediction of DICOM series: read as they are, written back onto their own slices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from autoseg.data.codes import codes_of
from autoseg.data.dataset import Case, labels_from_json
from autoseg.data.dicom.stack import Stack
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import NIFTI, SEG, Form, read_series
from autoseg.data.dicom_objects.series_inputs import SeriesCase, series_in
from autoseg.data.dicom_objects.structures import Structure, structures_of
from autoseg.inference.inputs import LeftOut
from autoseg.inference.predict import (
    Predicted,
    Predictor,
    Task,
    carry_out,
    channels_of,
    decodes,
    expect,
    segmented,
)
from autoseg.inference.say_memory import say_bound
from autoseg.trust.assess import Assessor
from autoseg.trust.pictures import planes_of

log = logging.getLogger(__name__)

# Pictures of so many cases are held in memory for the page of those to look at first.
_MOST_DRAWN = 200
# How nnU-Net's reorienting readers give every image: to the right, to the front, upwards; rows in LPS.
_RAS = {"codes": {"RAS": 1}, "directions": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]], "otherwise": 0}


def predict_series(
    model: Predictor,
    source: Path,
    output: Path,
    *,
    form: Form,
    algorithm: Maker,
    maker: Mapping[str, Any] | None = None,
    mend: bool = False,
    overwrite: bool = False,
    assessor: Assessor | None = None,
) -> Predicted:
    """Predict the series of a folder or file that a model takes, and write one result each.

    A result is named by the identifier of its series.

    Args:
        model: see `load_model`.
        source: a folder, looked through at any depth, or a multi-frame file.
        output: folder; created if need be.
        form: what is written.
        algorithm: what stands in a DICOM object about the model.
        maker: see `predict_cases`.
        mend: whether series with uneven distances between slices are interpolated.
        overwrite: see `predict_cases`.
        assessor: see `predict_cases`.

    Raises:
        DataError: if there is no series that the model takes, or codes of its data set are wrong.
        MissingDependency: without the extra ``dicom``.
        RunError: see `predict_cases`.
        UsageError: if the form cannot hold the model's structures.
    """
    about = model.dataset_json
    structures = structures_of(labels_from_json(about), codes_of(about))
    form.check(structures)
    inputs = series_in(source, channels_of(model), model.reader, mend)
    expect(model, len(inputs.cases))
    placings = {case.name: case.stack.placing for case in inputs.cases}
    sizes = {name: (each.shape, each.spacing) for name, each in placings.items()}
    say_bound(model, sizes, decodes(model))
    task = partial(_task, model, output, form, structures, algorithm, assessor)
    known = None if maker is None else {**maker, "to": form.to, "seg_type": form.seg_type, "mend": mend}
    tasks = [task(case) for case in inputs.cases]
    done = carry_out(tasks, model, output, maker=known, overwrite=overwrite, assessor=assessor)
    return Predicted(
        done.files,
        done.retained,
        (*(LeftOut(*each) for each in inputs.left_out), *done.left_out),
        tuple(LeftOut(*each) for each in inputs.passed_over),
    )


def _task(
    model: Predictor,
    output: Path,
    form: Form,
    structures: tuple[Structure, ...],
    algorithm: Maker,
    assessor: Assessor | None,
    case: SeriesCase,
) -> Task:
    target = output / f"{case.name}{form.ending}"

    def run(place: Path) -> str:
        image = read_series(case.stack, channels_of(model)[0])
        labels, code = segmented(model, image, stored_of(model), case.name, assessor)
        if assessor is not None and len(assessor.planes) < _MOST_DRAWN:
            assessor.planes[case.name] = planes_of(image, labels, assessor.labels.structures)
        form.write(labels, place / target.name, case.stack, image, structures, algorithm)
        _tell_resampled(case.stack, form)
        return "" if _reorients(model) else code

    return Task(Case(case.name, case.stack.files, None), target, run)


def stored_of(model: Predictor) -> Mapping[str, Any]:
    """How a series has to be stored for a model: as its images are when its reader has read them."""
    return _RAS if _reorients(model) else model.orientation


def _reorients(model: Predictor) -> bool:
    return model.reader.endswith("WithReorient")


def _tell_resampled(stack: Stack, form: Form) -> None:
    """Say that a series was predicted on another grid than its own."""
    placing = stack.placing
    if placing.plain:
        return
    why = f"a tilted gantry ({placing.tilt_mm:.3g} mm from first to last)" if placing.sideways else ""
    uneven = "" if placing.even else "uneven distances between its slices"
    back = "lies on that grid" if form.to == NIFTI else "was brought back onto its own slices"
    log.warning(
        "%s has %s. It was resampled to an upright, even grid to be predicted; the result %s.",
        stack,
        " and ".join(filter(None, (why, uneven))),
        back,
    )
    if form.to == SEG:
        log.warning(
            "dcmqi, by which 3D Slicer opens a SEG, lays such slices straight and evenly behind each other: "
            "there the result lies beside the image. Write it as rtstruct or nifti for it."
        )
