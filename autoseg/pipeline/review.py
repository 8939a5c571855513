"""Which training references to look at again: ranked by doubt over the held-out cases of a finished model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.data.image import finite
from autoseg.data.readers import read_images, read_segmentation
from autoseg.errors import RunError, UsageError
from autoseg.leaderboard.records.files import load_records
from autoseg.pipeline.quality import as_walked, fit_again, training_profiles
from autoseg.pipeline.written import written_by
from autoseg.run import ENSEMBLE
from autoseg.system.files import read_json, write_text
from autoseg.system.tables import table_text
from autoseg.trust.case_page import Listed, Page, write_case_page
from autoseg.trust.doubt import WORTH_A_LOOK, Doubt, doubts_of
from autoseg.trust.held_out import EVALUATION, held_out_of
from autoseg.trust.pictures import Plane, planes_of
from autoseg.workspace import Workspace

CSV_NAME, HTML_NAME = "label_review.csv", "label_review.html"
_HEADER = ("case", "group", "doubt", "structure", "dice", "expected_dice", "reason")


def review_labels(
    source: str,
    workspace: Workspace,
    model: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> tuple[list[Doubt], Path]:
    """Rank the training cases of a data set by how doubtful their references are.

    Args:
        source: a data set's name, id or folder.
        workspace: where its models were trained.
        model: the model whose held-out predictions judge; None: of those with most held-out cases the best.
        device: where to predict, for cases without evidence.
        workers: processes for reading.

    Returns:
        The cases, the most doubtful first, and the page with pictures; a table lies beside it.

    Raises:
        RunError: if no model of the data set has held-out predictions with scores.
        UsageError: if fewer than two groups were held out.
    """
    judged = judge_labels(source, workspace, model, device, workers)
    dataset, judge, doubts, folds = judged.dataset, judged.model, judged.doubts, judged.folds
    place = workspace.results_of(dataset.name)
    write_text(place / CSV_NAME, _table(doubts, judged.groups))
    return doubts, _page(place / HTML_NAME, doubts, folds, dataset, judge)


@dataclass(frozen=True)
class Judged:
    """Training cases, judged by a model that had not seen them.

    Attributes:
        dataset: with its groups.
        model: the model's folder.
        doubts: the most doubtful first.
        folds: the fold's folder that held each case out.
        groups: of each case.
    """

    dataset: Dataset
    model: Path
    doubts: list[Doubt]
    folds: Mapping[str, Path]
    groups: Mapping[str, str]


def judge_labels(
    source: str, workspace: Workspace, model: Path | None, device: str, workers: int | None
) -> Judged:
    """The doubts of `review_labels`, and what they come from; nothing but the model's quality is written."""
    dataset = as_walked(workspace.find_raw(source).name, workspace)
    judge = model or best_model(dataset, workspace)
    fit_again(judge, workspace, device, workers)
    profiles = training_profiles(dataset, workspace, workers)
    folds = sorted(path.parent for path in judge.glob(f"fold_*/{EVALUATION}"))
    written = written_by(judge)
    found = [
        (fold, each) for fold in folds for each in held_out_of(fold, dataset, profiles, workers, written)
    ]
    held_out = [each for _, each in found]
    groups = {each.case: each.group for each in held_out}
    if len(set(groups.values())) < 2:
        raise UsageError(
            f"{judge.name} has held out {len(held_out)} cases of one group; at least two groups are needed "
            f"to compare them. Train further folds: autoseg plan-and-train {dataset.name} --folds all."
        )
    doubts = doubts_of(held_out, list(dataset.labels.structures))
    return Judged(dataset, judge, doubts, {each.case: fold for fold, each in found}, groups)


def dataset_of_run(model: Path) -> str:
    """The name of the data set that a model was trained on.

    Raises:
        RunError: if its plan cannot be read.
    """
    listed = model / ENSEMBLE
    member = (
        model.resolve().parent / str(read_json(listed, RunError)["members"][0]) if listed.is_file() else model
    )
    return str(read_json(member / "plans.json", RunError)["dataset_name"])


def best_model(dataset: Dataset, workspace: Workspace) -> Path:
    """Of the models with most held-out cases the one with the best mean Dice."""
    results = workspace.results_of(dataset.name)
    cases: dict[Path, list[float]] = {}
    for record in load_records(results) if results.is_dir() else ():
        if record.source is not None and record.source.with_name(EVALUATION).is_file():
            values = record.scores.case_scores("dice")
            cases.setdefault(record.source.parent.parent, []).extend(float(value) for value in values)
    if not cases:
        raise RunError(
            f"No model of {dataset.name} has held-out predictions. Run autoseg plan-and-train {dataset.name} "
            f"first."
        )
    return max(cases, key=lambda model: (len(cases[model]), sum(cases[model]) / len(cases[model])))


def _table(doubts: Sequence[Doubt], groups: Mapping[str, str]) -> str:
    rows: list[tuple[object, ...]] = [_HEADER]
    for each in doubts:
        numbers = (round(each.score, 3), each.structure, round(each.dice, 4), round(each.expected, 4))
        rows.append((each.case, groups[each.case], *numbers, each.reason))
    return table_text(rows)


def _page(
    path: Path, doubts: Sequence[Doubt], folds: Mapping[str, Path], dataset: Dataset, model: Path
) -> Path:
    written = written_by(model)

    def pictures(case: str) -> Sequence[Plane]:
        files = dataset.case(case)
        image = finite(read_images(files.images, dataset.reader), files.images)
        name = f"{case}{dataset.file_ending}"
        found = read_segmentation(folds[case] / written.predictions / name, dataset.reader)
        prediction = written.apply(found.array[0], found.spacing)
        reference = None if files.label is None else read_segmentation(files.label, dataset.reader).array[0]
        return planes_of(image, prediction, dataset.labels.structures, reference)

    listed = [
        Listed(
            each.case,
            "look" if each.score >= WORTH_A_LOOK else "",
            True,
            [each.reason] if each.score >= WORTH_A_LOOK else [],
            [f"{each.score:.1f}", each.structure, f"{each.dice:.2f}", f"{each.expected:.2f}"],
        )
        for each in doubts
    ]
    worth = sum(each.score >= WORTH_A_LOOK for each in doubts)
    page = Page(
        kind="label review",
        title=f"Training labels of {dataset.name}",
        verdict=f"{worth} of {len(doubts)} references are worth a look.",
        columns=("Doubt", "Structure", "Dice", "Expected"),
        legend="Each cut where prediction and reference part most. Coloured: the outline that the model "
        "predicted, which had not seen the case; dotted in white: the reference.",
        notes=(
            f"{model.name} predicted every case by networks that had not learnt from it. Doubt is how much "
            f"lower than expected the Dice is, in standard deviations; a case that is hard for the model is "
            f"expected to have a low Dice and is not doubted for it. It is more where the image along the "
            f"outline is unlike that of the other references. From {WORTH_A_LOOK:g} on a reference is worth "
            f"a look.",
            "A doubtful reference is not a wrong one: the model may be the one that errs.",
        ),
    )
    return write_case_page(path, page, listed, dataset.labels.structures, pictures)
