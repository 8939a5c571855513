"""What is tried of each generated situation, and how its outcome is judged: right, refused or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoseg.data import readers
from autoseg.data.dataset import Case, load_dataset
from autoseg.data.orientation import directions_of, summary_of
from autoseg.errors import AutosegError
from autoseg.evaluation.scoring import evaluate
from autoseg.inference.inputs import inputs_of
from autoseg.inference.predict import Predicted, predict_cases
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.pipeline.prepare import split
from autoseg.workspace import Workspace

ONE = {"workers": 1}


@dataclass(frozen=True)
class Outcome:
    """What became of one input: right, refused, said (done, with a finding or note) or wrong."""

    case: str
    variant: str
    tried: str
    verdict: str
    words: str


class Stand:
    """A stand-in for a model: bright voxels are the organ, brighter ones the core."""

    dataset_json: Mapping[str, Any] = {"file_ending": ".nii.gz", "channel_names": {"0": "MR"}}
    orientation: Mapping[str, Any] = {}

    def __init__(self, reader: str = "SimpleITKIO", halves: bool = False) -> None:
        self.reader, self.halves = reader, halves

    def segment_image(self, raw: readers.Image) -> np.ndarray:
        """Labels (z, y, x)."""
        from scipy.ndimage import gaussian_filter

        image = gaussian_filter(raw.array[0], 1.0)
        if not self.halves:
            return (image > 130).astype(np.uint8) + (image > 190)
        bright = image > 140
        x = np.indices(bright.shape)[2]
        return np.where(bright, np.where(x < x[bright].mean(), 1, 2), 0)


def array(path: Path) -> np.ndarray:
    """Voxels of any medical file."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def upright(path: Path) -> np.ndarray:
    """Voxels in the order that LPS has, however they are stored."""
    return np.asarray(sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")))


def outcome(case: str, variant: str, tried: str, attempt: Callable[[], tuple[str, str]]) -> Outcome:
    """Try something; an error of the product is a refusal, any other one is wrong."""
    try:
        verdict, words = attempt()
    except AutosegError as error:
        verdict, words = "refused", " ".join(str(error).split())
    except Exception as error:
        verdict, words = "wrong", f"{type(error).__name__}: {error}"
    return Outcome(case, variant, tried, verdict, words)


def verified(root: Path, code: str | None, *allowed: str) -> Callable[[], tuple[str, str]]:
    """Verification that has to find a code, or nothing but what is allowed."""

    def attempt() -> tuple[str, str]:
        report = verify(root, workers=1)
        codes = {finding.code: finding for finding in report.findings}
        if code is None:
            rest = codes.keys() - set(allowed)
            return ("right" if not rest else "wrong"), ", ".join(sorted(codes)) or "no finding"
        found = codes.get(code)
        if found is None:
            return "wrong", ", ".join(sorted(codes)) or "no finding"
        return ("refused" if found.severity == "error" else "said"), f"{found.message} {found.remedy}"

    return attempt


def brought(source: Path, judge: Callable[[Imported], bool], **options: Any) -> Callable[[], tuple[str, str]]:
    """An import whose result is judged."""

    def attempt() -> tuple[str, str]:
        workspace = Workspace.locate(source.parent / f"{source.name}_workspace")
        done = import_dataset(source, workspace, "Case", request=Request(workers=1, **options))
        return ("right" if judge(done) else "wrong"), "; ".join(done.notes)

    return attempt


def scored(
    predictions: Path, references: Path, best: float = 1.0, **options: Any
) -> Callable[[], tuple[str, str]]:
    """An evaluation that has to give a mean Dice, or to refuse."""

    def attempt() -> tuple[str, str]:
        place = next(
            p for p in (references / "dataset.json", references.parent / "dataset.json") if p.is_file()
        )
        about = json.loads(place.read_text())
        found = evaluate(predictions, references=references, labels=about["labels"], **ONE, **options)
        mean = found.mean("dice")
        return ("right" if abs(mean - best) < 1e-6 else "wrong"), f"Dice {mean:.3f}"

    return attempt


def predicted(
    source: Path, output: Path, model: Stand, judge: Callable[[Predicted], tuple[str, str]]
) -> Callable[[], tuple[str, str]]:
    """A prediction of a folder by a stand-in."""

    def attempt() -> tuple[str, str]:
        inputs = inputs_of(source, ".nii.gz", ["MR"])
        done = predict_cases(model, inputs.cases, output, maker={"model": "stand-in"})
        left = (*inputs.left_out, *done.left_out)
        return judge(Predicted(done.files, done.retained, left))

    return attempt


def dice_of(output: Path, truth: Path) -> float:
    """Dice of the foreground of each class, the mean over files."""
    values = []
    for path in sorted(truth.glob("*.nii.gz")):
        one, other = array(path), array(output / path.name)
        values += [
            2 * np.sum((one == k) & (other == k)) / max(np.sum(one == k) + np.sum(other == k), 1)
            for k in np.unique(one)
            if k
        ]
    return float(np.mean(values))


def learnt_from(root: Path) -> Mapping[str, Any]:
    """How the images of a raw data set are stored."""
    loaded = load_dataset(root)
    return summary_of(
        [directions_of(readers.read_images(case.images, loaded.reader)) for case in loaded.cases]
    )


def own_folds(root: Path, workspace: Path, left_out: set[str]) -> Callable[[], tuple[str, str]]:
    """The folds that a user wrote, as they are used."""

    def attempt() -> tuple[str, str]:
        place = Workspace.locate(workspace)
        loaded = load_dataset(root)
        before = place.folds_of(loaded.name).read_bytes()
        folds = split(loaded, place)
        named = {case for fold in folds for case in (*fold.training, *fold.validation)}
        kept = place.folds_of(loaded.name).read_bytes() == before and not named & left_out
        return ("right" if kept else "wrong"), f"{len(folds)} folds of {len(named)} cases"

    return attempt


def with_label(place: Path, like: Path | None = None) -> None:
    """Put a label beside a series that has none: on the grid of an expected volume, or the usual one."""
    if like is not None:
        image = sitk.ReadImage(str(like))
    else:
        image = sitk.Image((36, 32, 12), sitk.sitkFloat32)
        image.SetSpacing((1, 1, 2))
        image.SetOrigin((-10, -20, 30))
    block = np.zeros(image.GetSize()[::-1], np.uint8)
    block[3:9, 8:20, 8:20] = 1
    label = sitk.GetImageFromArray(block)
    label.CopyInformation(image)
    sitk.WriteImage(label, str(place))


def slices_of(count: int, cases: int) -> Callable[[Imported], bool]:
    """Whether so many volumes of so many slices came in, with a label or without."""

    def judge(done: Imported) -> bool:
        images = sorted(done.root.glob("images??/*"))
        return len(images) == cases and all(len(array(path)) == count for path in images)

    return judge


def aligned(slices: int | None = 12, cases: int | None = None) -> Callable[[Imported], bool]:
    """Whether imported volumes have so many slices, and their labels lie on what is bright."""

    def judge(done: Imported) -> bool:
        images = sorted((done.root / "imagesTr").glob("*")) or sorted((done.root / "imagesUn").glob("*"))
        good = bool(images) and (cases is None or len(images) == cases)
        for path in images:
            image = array(path)
            good &= slices is None or len(image) == slices
            label = done.root / "labelsTr" / path.name.replace("_0000", "")
            if label.is_file():
                mask = array(label) > 0
                good &= mask.shape == image.shape and bool(image[mask].mean() - image[~mask].mean() > 100)
        return good

    return judge


def same_labels(truth: Callable[[Path], np.ndarray], cases: int | None = None) -> Callable[[Imported], bool]:
    """Whether every imported label is what the generator meant.

    Args:
        truth: gives for a path in labelsTr what it should hold.
        cases: how many there should be.
    """

    def judge(done: Imported) -> bool:
        files = [path for path in sorted((done.root / "labelsTr").glob("*")) if path.suffix != ".json"]
        good = bool(files) and (cases is None or len(files) == cases)
        return good and all(np.array_equal(read_any(path), truth(path)) for path in files)

    return judge


def read_any(path: Path) -> np.ndarray:
    """A label of any format, as the product reads it."""
    about = json.loads((path.parents[1] / "dataset.json").read_text())
    reader = readers.reader_for(about["file_ending"], about.get("overwrite_image_reader_writer"), path).name
    found = readers.read_segmentation(path, reader).array[0]
    return found[0] if found.shape[0] == 1 else found


def one_case(identifier: str, image: Path) -> Case:
    """A case of one image."""
    return Case(identifier, (image,), None)
