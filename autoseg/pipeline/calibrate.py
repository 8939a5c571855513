"""The decoding of a finished model: its held-out cases are predicted again, for their probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoseg import nnunet
from autoseg.data.dataset import Dataset, labels_from_json
from autoseg.data.folds import Fold
from autoseg.data.image import Image
from autoseg.data.readers import read_segmentation, write_segmentation
from autoseg.decoding.decide import Observed, decide_decoding
from autoseg.decoding.rules import WAYS, Decoding, segment_by
from autoseg.decoding.temperature import AS_THEY_ARE, Calibration, Sample, calibrated
from autoseg.errors import DataError
from autoseg.pipeline.postprocessing_of_models import decide_for_models
from autoseg.pipeline.quality import held_out_folds, refit
from autoseg.pipeline.written import DECODED, DECODED_EVIDENCE
from autoseg.preprocessing.restore import segment_probabilities
from autoseg.system import progress
from autoseg.system.device import find_device
from autoseg.trust.evidence import Evidence
from autoseg.trust.fold_facts import add_evidence
from autoseg.trust.written import dices
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.inference.ensemble import Ensemble

log = logging.getLogger(__name__)

# Values that are kept of a case: voxels times heads.
_VALUES = 200_000
_FEWEST, _MOST = 1000, 20_000
# A voxel that is of a structure with this probability is looked at, however far from the reference.
_POSSIBLE = 0.05


@dataclass(frozen=True)
class HeldOutProbabilities:
    """A held-out case as its fold's networks see it.

    Attributes:
        case, fold: which.
        probabilities: (heads, z, y, x) on the raw grid; 0 where cropped.
        reference: as it was read.
        evidence: with how the mirrored copies agree; nothing else.
        properties: of the preprocessed case, for writing.
    """

    case: str
    fold: int
    probabilities: NDArray[Any]
    reference: Image
    evidence: Evidence
    properties: dict[str, Any]


def calibrate_model(
    model: Path, workspace: Workspace, device: str = "auto", workers: int | None = None
) -> Decoding:
    """Decide calibration and decoding of a finished model, and write them beside it.

    Its held-out cases are predicted twice; where it is to decide otherwise than it did a third time, whose
    results are stored beside the others, and postprocessing and expected quality follow.

    Args:
        model: a model's folder in the workspace's results.
        workspace: where its data set was prepared.
        device: where to predict.
        workers: processes for reading.

    Raises:
        RunError: if none of its folds has held-out cases with scores.
    """
    dataset, done = held_out_folds(model, workspace)
    source = Source(model, dataset, workspace, device)
    observed = [source.observed(each) for each in source.each(done, "Probabilities")]

    def gains(calibrations: Sequence[Calibration]) -> dict[str, list[float]]:
        known = {each.sample.case: c for each, c in zip(observed, calibrations, strict=True)}
        found = [source.gain(each, known[each.case]) for each in source.each(done, "Ways to decide")]
        return {way: [each[way] for each in found] for way in WAYS}

    before = Decoding.of_model(model)
    decoding = decide_decoding(observed, dataset.labels.has_regions, gains)
    if decoding.changes_segmentations:
        for each in source.each(done, "Segmentations"):
            source.write(each, decoding)
    decoding.save(model)
    if decoding.changes_segmentations or before.changes_segmentations:
        decide_for_models(dataset, [model], again=True)
        refit([model], dataset, workspace, workers)
    return decoding


@dataclass(frozen=True)
class Source:
    """A finished model, whose held-out cases can be predicted again.

    Attributes:
        model: its folder.
        dataset: with groups.
        workspace: where it was prepared.
        device: where to predict.
    """

    model: Path
    dataset: Dataset
    workspace: Workspace
    device: str

    def each(self, folds: Sequence[Fold], what: str) -> Iterator[HeldOutProbabilities]:
        """All held-out cases, predicted by the networks of their fold."""
        with progress.stage(what, total=sum(len(fold.validation) for fold in folds)) as advance:
            for fold in folds:
                for found in self._of_fold(fold):
                    yield found
                    advance(detail=found.case)

    def _of_fold(self, fold: Fold) -> Iterator[HeldOutProbabilities]:
        from autoseg.inference.ensemble import Ensemble, member_folders
        from autoseg.inference.model import load_model

        nnunet.activate(self.workspace)
        members = member_folders(self.model)
        ensemble: Ensemble = Ensemble(
            [load_model(member, [fold.index], find_device(self.device)) for member in members]
        )
        labels, name = labels_from_json(ensemble.dataset_json), self.dataset.name
        folders = [self.workspace.cases_of(name, m.configuration.data_identifier) for m in ensemble.models]
        for case in fold.validation:
            label = self.dataset.case(case).label
            if label is None:
                continue
            preprocessed = [m.preprocessed(f, case) for m, f in zip(ensemble.models, folders, strict=True)]
            evidence = Evidence.of(labels)
            probabilities = ensemble.raw_probabilities(preprocessed, evidence, copies_alone=True)
            reference = read_segmentation(label, self.dataset.reader)
            if reference.array.shape[1:] != probabilities.shape[1:]:
                raise DataError(
                    f"{label} has the shape {reference.array.shape[1:]}, its prediction "
                    f"{probabilities.shape[1:]}. Preprocess the data set again."
                )
            properties = preprocessed[0][1]
            yield HeldOutProbabilities(case, fold.index, probabilities, reference, evidence, properties)

    def observed(self, each: HeldOutProbabilities) -> Observed:
        """Voxels in and around the structures of a case, at most some thousand, drawn by its name."""
        labels, reference = self.dataset.labels, each.reference.array[0]
        whole = calibrated(each.probabilities, AS_THEY_ARE, labels.has_regions)
        near = _region(each, whole, self.dataset)
        index = np.flatnonzero(near) if near.any() else np.arange(near.size)
        most = min(max(_VALUES // len(whole), _FEWEST), _MOST)
        if len(index) > most:
            random = np.random.default_rng([*each.case.encode()])
            index = np.sort(random.choice(index, most, replace=False))
        values = reference.ravel()[index]
        heads = labels.structures.values() if labels.has_regions else [(v,) for v in labels.all_values]
        truth = np.stack([np.isin(values, list(each)) for each in heads], axis=1)
        sample = Sample(each.case, whole.reshape(len(whole), -1).T[index].astype(np.float64), truth)
        return Observed(sample, each.fold, self.dataset.groups.get(each.case, each.case))

    def gain(self, each: HeldOutProbabilities, calibration: Calibration) -> dict[str, float]:
        """What deciding by each of `WAYS` changes in a case's mean Dice."""
        labels, reference = self.dataset.labels, each.reference.array[0]
        given = calibrated(each.probabilities, calibration, labels.has_regions)
        before = dices(segment_probabilities(each.probabilities, labels), reference, labels)
        changes = {}
        for way in WAYS:
            after = dices(segment_by(way, given, labels), reference, labels)
            changes[way] = float(np.mean([after[name] - before[name] for name in before]))
        return changes

    def write(self, each: HeldOutProbabilities, decoding: Decoding) -> None:
        """A held-out case as the model decides it from now on, with what its probabilities say."""
        labels, place = self.dataset.labels, self.model / f"fold_{each.fold}"
        given = decoding.calibrated(each.probabilities, labels)
        segmentation = decoding.segmentation(given, labels)
        each.evidence.add_decided(given, segmentation, labels)
        add_evidence(place, each.case, each.evidence.to_json(labels), DECODED_EVIDENCE)
        target = place / DECODED / f"{each.case}{self.dataset.file_ending}"
        write_segmentation(segmentation, target, each.properties, self.dataset.reader)


def _region(each: HeldOutProbabilities, whole: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Where a structure is, is near, or is thought possible; ignored voxels are left out."""
    from autoseg.metrics.calibration import within_margin

    labels, reference = dataset.labels, each.reference.array[0]
    possible: NDArray[np.bool_] = whole[0 if labels.has_regions else 1 :].max(axis=0) > _POSSIBLE
    there = np.isin(reference, [v for values in labels.structures.values() for v in values])
    if there.any():
        possible |= within_margin(there, tuple(each.reference.spacing))
    if labels.ignore is not None:
        possible &= reference != labels.ignore
    return possible
