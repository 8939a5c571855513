"""Prediction of raw images with one trained model, or with several together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autoseg.data import readers as images
from autoseg.data.dataset import Case
from autoseg.data.image import finite
from autoseg.data.orientation import turned_as_learnt
from autoseg.errors import DataError
from autoseg.inference.history import History
from autoseg.inference.inputs import LeftOut, inputs_of
from autoseg.system import progress
from autoseg.trust.assess import Assessor
from autoseg.trust.evidence import Evidence

log = logging.getLogger(__name__)


class Predictor(Protocol):
    """A model or an ensemble, see `predict_cases`."""

    @property
    def dataset_json(self) -> Mapping[str, Any]:
        """Of the data set that it was trained on."""

    @property
    def reader(self) -> str:
        """nnU-Net's reader class."""

    @property
    def orientation(self) -> Mapping[str, Any]:
        """How its images are stored, see `autoseg.data.orientation`; empty if that is not known."""

    def segment_image(self, raw: images.Image, evidence: Evidence | None = None) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid; `evidence` is filled."""


@dataclass(frozen=True)
class Predicted:
    """What became of the cases of a folder.

    Attributes:
        files: the segmentations, in the order of the cases.
        retained: those of them that were there: made of the same images by the same model and options.
        left_out: cases and files without a segmentation, each with the reason.
    """

    files: tuple[Path, ...]
    retained: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def __iter__(self) -> Iterator[Path]:
        """The segmentations, as `predict_cases` gave them before it said what it leaves out."""
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def predict_cases(
    model: Predictor,
    cases: Sequence[Case] | Path | str,
    output: Path | str,
    *,
    maker: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    assessor: Assessor | None = None,
) -> Predicted:
    """Predict raw cases and write one segmentation each, on the case's own grid.

    A case that cannot be read, or has other channels, is left out; the others are predicted.

    Args:
        model: see `load_model`, and `load_ensemble` for several.
        cases: cases whose images are in the channel order of the model's data set; or their folder.
        output: folder; created if need be.
        maker: the model's hash and the options, by which a segmentation that is there is known to be what
            would be made again; None: every case is predicted.
        overwrite: predict all again, and replace whatever is there.
        assessor: says of each case how good its segmentation will be, in files of the output folder; the
            model's `segment_image` then takes an `Evidence` as well.

    Raises:
        DataError: if the folder holds no case that the model takes.
        RunError: if a segmentation would be replaced that was not made here, before any is predicted.
    """
    ending, output = model.dataset_json["file_ending"], Path(output)
    files, retained, left_out = [], [], []
    if isinstance(cases, (str, Path)):
        inputs = inputs_of(Path(cases), ending, _channels_of(model))
        cases, left_out = inputs.cases, [*inputs.left_out]
    targets = {case.identifier: output / f"{case.identifier}{ending}" for case in cases}
    history = History(output, maker or {})
    if not overwrite:
        history.refuse_foreign(list(targets.values()))
    turned: Counter[str] = Counter()
    without = 0
    try:
        with progress.stage("Predict", total=len(cases)) as advance:
            for case in cases:
                target = targets[case.identifier]
                if maker is not None and not overwrite and history.is_fresh(case, target):
                    retained.append(target)
                    files.append(target)
                    without += assessor is not None and not assessor.retain(case.identifier)
                else:
                    try:
                        turned[_predict(model, case, target, assessor)] += 1
                        history.add(case, target)
                        files.append(target)
                    except DataError as problem:
                        left_out.append(_left_out(case, problem))
                advance(detail=case.identifier)
    finally:
        if assessor is not None:
            assessor.save()
    if without:
        log.warning(
            "%d segmentations that were there before have no quality. Predict them again with --overwrite.",
            without,
        )
    _tell(turned, model.orientation)
    return Predicted(tuple(files), tuple(retained), tuple(left_out))


def _predict(model: Predictor, case: Case, target: Path, assessor: Assessor | None = None) -> str:
    """Predict one case; in letters how the file is stored, where it had to be turned."""
    raw = finite(images.read_images(case.images, model.reader), case.images)
    channels = _channels_of(model)
    if len(raw.array) != len(channels):
        raise DataError(
            f"{case.images[0]} has {len(raw.array)} channels, but the model takes {len(channels)} "
            f"({', '.join(channels)}). Write a 4D image as one file for each channel."
        )
    beside = case.images[0].with_name(f"{case.identifier}.json")
    if model.reader == "Tiff3DIO" and raw.spacing == (1.0, 1.0, 1.0) and not beside.is_file():
        log.warning(
            "%s states no spacing, and 1 x 1 x 1 is taken. If that is wrong, write %s beside it: "
            '{"spacing": [z, y, x]}',
            case.images[0],
            beside.name,
        )
    turn = turned_as_learnt(raw, model.orientation)
    taken = raw if turn is None else turn.image
    if assessor is None:
        segmentation = model.segment_image(taken)
    else:
        evidence = assessor.evidence()
        segmentation = model.segment_image(taken, evidence)
        assessor.add(case.identifier, taken, segmentation, evidence)
    if turn is not None:
        segmentation = turn.back.apply(segmentation)
    images.write_segmentation(segmentation, target, raw.properties, model.reader)
    return "" if turn is None else turn.code


def _channels_of(model: Predictor) -> list[str]:
    names = model.dataset_json.get("channel_names", model.dataset_json.get("modality", {}))
    return [str(name) for name in names.values()]


def _left_out(case: Case, problem: DataError) -> LeftOut:
    if isinstance(problem, images.ImageError):
        return LeftOut(problem.path, f"{problem.reason}. {problem.remedy}")
    text = str(problem)
    return LeftOut(case.images[0], text.removeprefix(f"{case.images[0]} "))


def _tell(turned: Counter[str], orientation: Mapping[str, Any]) -> None:
    codes = {code: count for code, count in turned.items() if code}
    if codes:
        listed = ", ".join(f"{count} {code}" for code, count in codes.items())
        log.warning(
            "Images are stored along other axes (%s) than those that the model learnt from (%s). They were "
            "turned by their headers for it, and the segmentations turned back.",
            listed,
            ", ".join(orientation["codes"]),
        )
