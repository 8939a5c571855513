"""Prediction of raw images with one trained model, or with several together."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from autoseg.data import readers as images
from autoseg.data.dataset import Case
from autoseg.data.image import finite
from autoseg.data.orientation import turned_as_learnt
from autoseg.data.results_place import is_among_images
from autoseg.decoding.decoded import ENDING, Saved, write_probabilities
from autoseg.decoding.rules import Decoding
from autoseg.errors import DataError
from autoseg.inference.history import History
from autoseg.inference.inputs import LeftOut, inputs_of
from autoseg.system import progress
from autoseg.system.files import temporary_folder
from autoseg.trust.assess import Assessor
from autoseg.trust.evidence import Evidence
from autoseg.trust.own_files import refuse_foreign

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

    def segment_image(
        self, raw: images.Image, evidence: Evidence | None = None, saved: Saved | None = None
    ) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid; `evidence` and `saved` are filled."""


@dataclass(frozen=True)
class Predicted:
    """What became of the cases of a folder.

    Attributes:
        files: the segmentations, in the order of the cases.
        retained: those of them that were there: made of the same images by the same model and options.
        left_out: cases and files without a segmentation, each with the reason.
        passed_over: what lies beside them and is none of the model's, each with the reason.
    """

    files: tuple[Path, ...]
    retained: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    passed_over: tuple[LeftOut, ...] = ()

    def __iter__(self) -> Iterator[Path]:
        """The segmentations, as `predict_cases` gave them before it said what it leaves out."""
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class Task:
    """A segmentation to be made.

    Attributes:
        case: its name and its files.
        target: the file to write.
        run: makes it and writes all its files into the folder that it is given; gives in letters how the
            image is stored where it had to be turned, else "".
        beside: further files that it writes.
    """

    case: Case
    target: Path
    run: Callable[[Path], str]
    beside: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it writes."""
        return (self.target, *self.beside)


def predict_cases(
    model: Predictor,
    cases: Sequence[Case] | Path | str,
    output: Path | str,
    *,
    maker: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    assessor: Assessor | None = None,
    probabilities: bool = False,
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
        probabilities: whether CASE.npz is written beside each, as nnU-Net does, calibrated where the model
            is; the model's `segment_image` then takes a `Saved` as well.

    Raises:
        DataError: if the folder holds no case that the model takes.
        RunError: if a segmentation would be replaced that was not made here, before any is predicted.
    """
    ending, output = model.dataset_json["file_ending"], Path(output)
    left_out: list[LeftOut] = []
    if isinstance(cases, (str, Path)):
        inputs = inputs_of(Path(cases), ending, channels_of(model))
        cases, left_out = inputs.cases, [*inputs.left_out]
    targets = [output / f"{case.identifier}{ending}" for case in cases]
    tasks = [
        _task(model, case, target, assessor, probabilities)
        for case, target in zip(cases, targets, strict=True)
    ]
    done = carry_out(tasks, model, output, maker=maker, overwrite=overwrite, assessor=assessor)
    return replace(done, left_out=(*left_out, *done.left_out))


def carry_out(
    tasks: Sequence[Task],
    model: Predictor,
    output: Path,
    *,
    maker: Mapping[str, Any] | None,
    overwrite: bool,
    assessor: Assessor | None,
) -> Predicted:
    """Make segmentations, those that are there and fresh excepted; see `predict_cases` for the rest."""
    files, retained, left_out = [], [], []
    history = History(output, maker or {})
    targets = [path for task in tasks for path in task.files]
    among = is_among_images((path for task in tasks for path in task.case.images), targets)
    if among or not overwrite:
        remedy = "Give another OUTPUT." if among else "Give another OUTPUT, or replace with --overwrite."
        history.refuse_foreign(targets, remedy)
        if assessor is not None:
            refuse_foreign(output, remedy)
    turned: Counter[str] = Counter()
    without = 0
    try:
        with (
            progress.stage("Predict", total=len(tasks)) as advance,
            temporary_folder(output / "predictions") as made,
        ):
            for task in tasks:
                case, target = task.case, task.target
                fresh = maker is not None and not overwrite
                if fresh and all(history.is_fresh(case, path) for path in task.files):
                    retained.append(target)
                    files.append(target)
                    without += assessor is not None and not assessor.retain(case.identifier)
                else:
                    try:
                        with TemporaryDirectory(dir=made) as place:
                            code = task.run(Path(place))
                            history.place(case, Path(place), [path.name for path in task.files])
                        turned[code] += 1
                        files.append(target)
                    except DataError as problem:
                        left_out.append(_left_out(case, problem))
                advance(detail=case.identifier)
    finally:
        history.save()
        if assessor is not None:
            assessor.save(whole=len(files) + len(left_out) == len(tasks))
    if without:
        log.warning(
            "%d segmentations that were there before have no quality. Predict them again with --overwrite.",
            without,
        )
    _tell(turned, model.orientation)
    return Predicted(tuple(files), tuple(retained), tuple(left_out))


def _task(model: Predictor, case: Case, target: Path, assessor: Assessor | None, probabilities: bool) -> Task:
    beside = (target.with_name(f"{case.identifier}{ENDING}"),) if probabilities else ()
    states_spacing = model.reader == "Tiff3DIO" and not _is_same(_spacing_of(case), target)
    if states_spacing:
        beside = (*beside, target.with_suffix(".json"))

    def run(place: Path) -> str:
        code = _predict(model, case, target.name, assessor, probabilities, place)
        if not states_spacing:
            (place / target.name).with_suffix(".json").unlink(missing_ok=True)
        return code

    return Task(case, target, run, beside)


def _spacing_of(case: Case) -> Path:
    """The file that states the spacing of a TIFF."""
    return case.images[0].with_name(f"{case.identifier}.json")


def _is_same(spacing: Path, target: Path) -> bool:
    """Whether a result's own file of spacing would be that of its image."""
    return os.path.realpath(spacing) == os.path.realpath(target.with_suffix(".json"))


def _predict(
    model: Predictor,
    case: Case,
    name: str,
    assessor: Assessor | None,
    probabilities: bool,
    place: Path,
) -> str:
    """Predict one case into a folder; in letters how the file is stored, where it had to be turned."""
    raw = finite(images.read_images(case.images, model.reader), case.images)
    channels = channels_of(model)
    if len(raw.array) != len(channels):
        raise DataError(
            f"{case.images[0]} has {len(raw.array)} channels, but the model takes {len(channels)} "
            f"({', '.join(channels)}). Write a 4D image as one file for each channel."
        )
    beside = _spacing_of(case)
    if model.reader == "Tiff3DIO" and raw.spacing == (1.0, 1.0, 1.0) and not beside.is_file():
        log.warning(
            "%s states no spacing, and 1 x 1 x 1 is taken. If that is wrong, write %s beside it: "
            '{"spacing": [z, y, x]}',
            case.images[0],
            beside.name,
        )
    saved = Saved() if probabilities else None
    segmentation, code = segmented(model, raw, model.orientation, case.identifier, assessor, saved)
    if saved is not None and saved.probabilities is not None:
        write_probabilities(saved.probabilities, place / f"{case.identifier}{ENDING}")
    images.write_segmentation(segmentation, place / name, raw.properties, model.reader)
    return code


def segmented(
    model: Predictor,
    raw: images.Image,
    orientation: Mapping[str, Any],
    name: str,
    assessor: Assessor | None = None,
    saved: Saved | None = None,
) -> tuple[np.ndarray[Any, Any], str]:
    """The segmentation of a raw image on its grid, and in letters how it is stored where it had to be turned.

    Args:
        model: predicts an image that is stored as those are that it learnt from.
        raw: (channels, z, y, x).
        orientation: how these are stored, see `autoseg.data.orientation`.
        name: of the case.
        assessor: see `predict_cases`.
        saved: takes the probabilities, on the raw image's grid.
    """
    turn = turned_as_learnt(raw, orientation)
    taken = raw if turn is None else turn.image
    # A model that knows of neither is one too.
    further: dict[str, Any] = {} if saved is None else {"saved": saved}
    if assessor is None:
        segmentation = model.segment_image(taken, **further)
    else:
        evidence = assessor.evidence()
        segmentation = model.segment_image(taken, evidence, **further)
        assessor.add(name, taken, segmentation, evidence)
    if turn is not None and saved is not None and saved.probabilities is not None:
        saved.probabilities = np.stack([turn.back.apply(each) for each in saved.probabilities])
    return (segmentation, "") if turn is None else (turn.back.apply(segmentation), turn.code)


def channels_of(model: Predictor) -> list[str]:
    """The names of a model's channels."""
    names = model.dataset_json.get("channel_names", model.dataset_json.get("modality", {}))
    return [str(name) for name in names.values()]


def expect(loaded: Predictor, cases: int) -> None:
    """Let models know how many cases come: an engine is worth trying where there is much to predict."""
    for model in getattr(loaded, "models", ()):
        model.expected_cases = max(1, cases)


def decodes(loaded: Predictor) -> bool:
    """Whether segmentations are made of the probabilities of a whole image."""
    decoding: Decoding = getattr(loaded, "decoding", Decoding())
    return decoding.changes_segmentations


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
