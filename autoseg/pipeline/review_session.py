"""What a review is about: a data set, a run, or a folder of predictions; served as a page, or exported."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset, find_cases
from autoseg.data.dataset_json import channel_names_of, labels_of, parse_dataset_json
from autoseg.data.readers import reader_for
from autoseg.errors import DataError, RunError, UsageError
from autoseg.evaluation.result import Evaluation
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import VerifyReport
from autoseg.pipeline.quality import as_walked
from autoseg.pipeline.review import best_model, dataset_of_run, judge_labels
from autoseg.pipeline.written import predictions_of, written_by
from autoseg.review.answers import Answers
from autoseg.review.cases import Review, ReviewCase
from autoseg.review.corrected_dataset import Exported, write_corrected
from autoseg.review.journal import Journal
from autoseg.review.server import ReviewServer
from autoseg.review.session import Session
from autoseg.review.three_d import ThreeD
from autoseg.run import ENSEMBLE
from autoseg.system.files import read_json, read_object
from autoseg.system.lease import NAME, Held, hold
from autoseg.trust.assess import JSON_NAME, worst_first
from autoseg.trust.doubt import WORTH_A_LOOK
from autoseg.trust.held_out import EVALUATION
from autoseg.trust.quality_model import OK
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)

FOLDER = "review"
# NiiVue comes from the cache within this time; a page opened before that shows it when loaded again.
_WAIT_S = 3.0


@dataclass(frozen=True)
class Sources:
    """Where a review takes its files from.

    Attributes:
        source: a data set, a run's folder, or a folder of predictions.
        workspace: where data sets and models lie.
        model: whose held-out predictions judge; for predictions, whose labels they have.
        images: of predictions.
        references: of predictions, if there are any.
        folder: where the review is stored; None: with the results, or in the folder of predictions.
        device, workers: for cases without evidence.
    """

    source: str
    workspace: Workspace
    model: Path | None = None
    images: Path | None = None
    references: Path | None = None
    folder: Path | None = None
    device: str = "auto"
    workers: int | None = None


def find_review(sources: Sources) -> Review:
    """The review of a source, its cases the worst first.

    Raises:
        UsageError: if the source is none of the three, or its images are not named.
        DataError: if files are missing.
        RunError: if a run has no held-out predictions.
    """
    path = Path(sources.source)
    if run := run_of(path):
        return _of_labels(dataset_of_run(run), run, sources)
    if path.is_dir() and not (path / "dataset.json").is_file():
        return _of_predictions(path, sources)
    # Stock nnU-Net puts a dataset.json beside its predictions; images are in a data set alone.
    if path.is_dir() and not (path / "imagesTr").is_dir() and not _lists(path / "dataset.json"):
        return _of_predictions(path, sources)
    return _of_labels(sources.source, sources.model, sources)


def run_of(path: Path) -> Path | None:
    """The model's folder, of it or of one of its folds; None for anything else."""
    for folder in (path, path.parent):
        is_model = (folder / "plans.json").is_file() or (folder / ENSEMBLE).is_file()
        if is_model and (folder == path or path.name.startswith("fold_")):
            return folder
    return None


def _lists(path: Path) -> bool:
    return "dataset" in read_object(path)


# References of a data set, judged by held-out predictions.


def _of_labels(name: str, model: Path | None, sources: Sources) -> Review:
    workspace = sources.workspace
    dataset = as_walked(workspace.find_raw(name).name, workspace)
    judge = model or _best(dataset, workspace)
    judged, order = _judged(dataset, judge, sources)
    known = {case.case for case in judged}
    # A case that no fold has held out has no prediction; it can still be looked at and corrected.
    rest = [
        ReviewCase(case.identifier, case.images, case.label)
        for case in dataset.cases
        if case.identifier not in known
    ]
    return Review(
        title=f"Labels of {dataset.name}",
        kind="labels",
        cases=(*judged, *rest),
        labels=dataset.labels,
        channels=dataset.channels,
        reader=dataset.reader,
        file_ending=dataset.file_ending,
        folder=sources.folder or workspace.results_of(dataset.name) / FOLDER,
        order=order,
        dataset_json=dataset.dataset_json,
        root=dataset.root,
        as_written=None if judge is None else written_by(judge).apply,
    )


def _best(dataset: Dataset, workspace: Workspace) -> Path | None:
    try:
        return best_model(dataset, workspace)
    except RunError as problem:
        log.warning("Without predictions: %s", problem)
        return None


def _judged(dataset: Dataset, judge: Path | None, sources: Sources) -> tuple[list[ReviewCase], str]:
    if judge is None:
        return [], "By name: no model has held-out predictions."
    try:
        found = judge_labels(dataset.name, sources.workspace, judge, sources.device, sources.workers)
    except UsageError:  # cases of one group cannot be compared with each other
        return _by_dice(dataset, judge)
    cases = []
    for each in found.doubts:
        look = each.score >= WORTH_A_LOOK
        numbers = {
            "Doubt": f"{each.score:.1f}",
            "Structure": each.structure,
            "Dice": f"{each.dice:.2f}",
            "Expected Dice": f"{each.expected:.2f}",
        }
        reasons = (each.reason,) if look else ()
        place = found.folds[each.case] / predictions_of(judge)
        cases.append(_held_out(dataset, each.case, place, "look" if look else "", reasons, numbers))
    return (
        cases,
        f"By doubt: how much lower than expected the Dice with {judge.name} is, which had not seen them.",
    )


def _by_dice(dataset: Dataset, model: Path) -> tuple[list[ReviewCase], str]:
    dice: dict[str, tuple[float, Path]] = {}
    for path in model.glob(f"fold_*/{EVALUATION}"):
        values = Evaluation.load(path).values("dice")
        place = path.parent / predictions_of(model)
        dice |= {case: (value, place) for case, value in values.items()}
    cases = [
        _held_out(dataset, case, place, "", (), {"Dice": f"{value:.2f}"})
        for case, (value, place) in sorted(dice.items(), key=lambda item: item[1][0])
    ]
    return cases, f"By Dice with {model.name}, which had not seen them."


def _held_out(
    dataset: Dataset, name: str, place: Path, mark: str, reasons: tuple[str, ...], numbers: Mapping[str, str]
) -> ReviewCase:
    case = dataset.case(name)
    prediction = place / f"{name}{dataset.file_ending}"
    return ReviewCase(name, case.images, case.label, prediction, mark, reasons, numbers)


# Predictions of new images.


def _of_predictions(folder: Path, sources: Sources) -> Review:
    document = _dataset_json(folder, sources)
    parsed, problems = parse_dataset_json(document)
    if parsed is None or problems:
        raise DataError(f"The labels of {folder} cannot be read: {problems[0].message} {problems[0].remedy}")
    if sources.images is None:
        raise UsageError(f"{folder} holds predictions. Name the folder of their images: --images FOLDER.")
    ending = parsed.file_ending
    images = {case.identifier: case for case in find_cases(sources.images, ending)}
    files = {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*{ending}"))}
    paired = [name for name in files if name in images and not name.startswith(".")]
    if not paired:
        raise DataError(
            f"No segmentation of {folder} has its image in {sources.images}: {len(files)} segmentations, "
            f"{len(images)} cases named CASE_0000{ending}. Give the folder that was predicted."
        )
    quality = read_object(folder / JSON_NAME).get("cases") or {}
    reader = reader_for(ending, parsed.overwrite_image_reader_writer, images[paired[0]].images[0])
    ordered = [name for name, _ in worst_first({name: quality[name] for name in paired if name in quality})]
    rest = [name for name in paired if name not in quality]
    return Review(
        title=f"Predictions in {folder.resolve().name}",
        kind="predictions",
        cases=tuple(
            _predicted(images[name], files[name], quality.get(name), sources.references, ending)
            for name in (*ordered, *rest)
        ),
        labels=labels_of(parsed),
        channels=channel_names_of(parsed),
        reader=reader.name,
        file_ending=ending,
        folder=sources.folder or folder / FOLDER,
        order=f"By expected quality ({JSON_NAME})." if ordered else f"By name: there is no {JSON_NAME}.",
        dataset_json=document,
    )


def _predicted(
    case: Case, prediction: Path, quality: Mapping[str, Any] | None, references: Path | None, ending: str
) -> ReviewCase:
    reference = None if references is None else references / f"{case.identifier}{ending}"
    if reference is not None and not reference.is_file():
        reference = None
    if quality is None:
        return ReviewCase(case.identifier, case.images, reference, prediction)
    numbers = {
        "Expected Dice": f"{quality['expected_dice']:.2f}",
        "Chance of failure": f"{quality['chance_of_failure']:.0%}",
    }
    mark = quality["flag"] if quality["flag"] != OK else ""
    return ReviewCase(
        case.identifier, case.images, reference, prediction, mark, tuple(quality["reasons"]), numbers
    )


def _dataset_json(folder: Path, sources: Sources) -> Mapping[str, Any]:
    """The dataset.json of predictions: of the model that is named, beside them, or of the data set."""
    places = [sources.model / "dataset.json"] if sources.model else []
    places.append(folder / "dataset.json")
    about = read_object(folder / JSON_NAME).get("about") or {}
    if isinstance(name := about.get("dataset"), str):
        places.append(sources.workspace.dataset_json_of(name))
    for place in places:
        if place.is_file():
            found = read_json(place)
            if isinstance(found, dict):
                return found
    raise UsageError(
        f"What the labels in {folder} mean is not known. Name the model that predicted them: --model FOLDER; "
        f"or the workspace in which it was trained: --workspace."
    )


# What is done with a review.


def serve_review(
    review: Review,
    reviewer: str,
    tell: Callable[[str], None],
    *,
    port: int = 0,
    idle_minutes: float = 60,
    three_d: bool = True,
    opened: Callable[[str], object] | None = None,
) -> str:
    """Serve the page until it is closed, nobody uses it for long, or Ctrl-C.

    Args:
        review: see `find_review`.
        reviewer: the name that decisions are logged under, unless the page is given another.
        tell: prints a line.
        port: 0 for any free one.
        idle_minutes: without a request, after which it ends; 0: never.
        three_d: whether NiiVue is fetched.
        opened: given the address once the server listens.

    Returns:
        Why it ended, in words.

    Raises:
        UsageError: if the port is taken.
        Held: if the review is open elsewhere.
    """
    viewer = ThreeD(three_d)
    try:
        with hold(review.folder / NAME):
            session = Session(review, Journal(review.folder))
            answers = Answers(session, reviewer, viewer)
            with ReviewServer(answers, port, 60 * idle_minutes or None, tell) as server:
                viewer.wait(_WAIT_S)
                tell(f"{len(review.cases)} cases. Open this address, which is good for one browser:")
                tell(f"  {server.address}")
                tell(f"Stored in {review.folder}. End with Ctrl-C; whatever is stored stays.")
                if opened is not None:
                    opened(server.address)
                return server.run()
    except Held as problem:
        raise RunError(f"This review is open elsewhere: {problem}") from None


def export_review(
    review: Review, output: Path, link: bool = False, workers: int | None = None
) -> tuple[Exported, VerifyReport]:
    """Write the corrected data set and verify it; see `write_corrected`."""
    found = write_corrected(review, Journal(review.folder), output, link)
    return found, verify(output, workers)
