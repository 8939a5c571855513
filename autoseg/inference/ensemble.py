"""Several models that predict together: their probabilities are averaged on the raw image's grid.

An ensemble on disk is a model folder with an ``ensemble.json`` that names the members' model folders beside
it. Each member is a run of its own that stock nnU-Net reads, and stock nnU-Net makes the same ensemble:
``nnUNetv2_predict_from_modelfolder --save_probabilities`` for each member (and each of its best checkpoints,
``-chk checkpoint_best_3.pth``), then ``nnUNetv2_ensemble -i FOLDER ... -o OUT``. It takes probabilities
of resampled logits where autoseg resamples probabilities; on the raw image's grid that is the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import nnunet
from autoseg.data import readers as images
from autoseg.data.dataset import labels_from_json
from autoseg.decoding.decoded import Saved, decoded
from autoseg.decoding.rules import Decoding
from autoseg.errors import RunError, UsageError
from autoseg.inference.model import Model, load_model
from autoseg.inference.options import Options
from autoseg.inference.window_passes import Certainty
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.restore import restore_probabilities
from autoseg.run import ENSEMBLE, Run
from autoseg.system import progress
from autoseg.system.files import read_json, write_json
from autoseg.system.process_memory import forget_peak, peak_bytes
from autoseg.trust.evidence import Evidence
from autoseg.trust.fold_facts import add_evidence
from autoseg.workspace import Workspace

log = logging.getLogger(__name__)

Preprocessed = tuple[np.ndarray, Mapping[str, Any]]


@dataclass
class Ensemble:
    """Models of the same data set, ready to predict together; each counts as much as any other.

    Attributes:
        models: at least one. A single one predicts as it does alone.
        timings: seconds of each case.
        postprocessing: what is done to the segmentations of new images.
        decoding: how probabilities become segmentations.
    """

    models: Sequence[Model]
    timings: list[float] = field(default_factory=list)
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    decoding: Decoding = field(default_factory=Decoding)

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("An ensemble needs at least one model. Give a run's folder.")
        first, *others = (_meaning(model) for model in self.models)
        for other in others:
            if other != first:
                raise UsageError(
                    f"The models do not segment the same: {first} and {other}. "
                    f"Give models of the same data set."
                )

    @property
    def dataset_json(self) -> Mapping[str, Any]:
        """Of the first model's data set."""
        return self.models[0].dataset_json

    @property
    def reader(self) -> str:
        """nnU-Net's reader class."""
        return self.models[0].reader

    @property
    def orientation(self) -> Mapping[str, Any]:
        """How the images of the first model's data set are stored."""
        return self.models[0].orientation

    def segment_image(
        self, raw: images.Image, evidence: Evidence | None = None, saved: Saved | None = None
    ) -> np.ndarray:
        """The segmentation (z, y, x) of a raw image, on its own grid."""
        segmentation = self.segment([model.preprocess(raw) for model in self.models], evidence, saved)
        return postprocess(segmentation, self.postprocessing, raw.spacing)

    def segment(
        self, case: Sequence[Preprocessed], evidence: Evidence | None = None, saved: Saved | None = None
    ) -> np.ndarray:
        """The segmentation (z, y, x) of a case that is preprocessed for each model, on its raw grid.

        Args:
            case: array and properties for each model.
            evidence: takes in what the probabilities say of the segmentation.
            saved: takes the probabilities, calibrated where the ensemble is.
        """
        began = time.perf_counter()
        (only,) = self.models if len(self.models) == 1 else (None,)
        if only is not None and saved is None and not self.decoding.changes_segmentations:
            segmentation = only.segment(*case[0], evidence)
        else:
            found = self.raw_probabilities(case, evidence, self.decoding.changes_segmentations)
            labels = labels_from_json(self.dataset_json)
            segmentation = decoded(found, self.decoding, labels, evidence, saved)
        self.timings.append(time.perf_counter() - began)
        return segmentation

    def raw_probabilities(
        self, case: Sequence[Preprocessed], evidence: Evidence | None = None, copies_alone: bool = False
    ) -> np.ndarray:
        """Probabilities (heads, z, y, x) on the raw grid, float32; 0 where all models cropped.

        Args:
            case: array and properties for each model.
            evidence: takes in what they say of the segmentation by the largest.
            copies_alone: whether it takes in no more than how mirrored copies agree.
        """
        if len(self.models) == 1:
            return self.models[0].raw_probabilities(*case[0], evidence, copies_alone)
        mean = self.probabilities(case, evidence)
        if evidence is not None and not copies_alone:
            evidence.add_probabilities(mean)
        return mean

    def probabilities(self, case: Sequence[Preprocessed], evidence: Evidence | None = None) -> np.ndarray:
        """Mean probabilities (heads, z, y, x) on the raw grid, float32; 0 where all models cropped.

        One model's are in memory beside the sum. `evidence` takes in how mirrored copies agree.
        """
        total: np.ndarray | None = None
        for model, (data, properties) in zip(self.models, case, strict=True):
            part = model.probabilities(data, evidence).div_(len(self.models)).numpy()
            total = restore_probabilities(part, properties, model.plan, model.configuration, total)
        assert total is not None  # there is a model
        return total


def load_ensemble(
    folders: Sequence[Path],
    device: torch.device,
    mirroring: bool = True,
    step_size: float = 0.5,
    postprocessing: bool = True,
    options: Options | None = None,
) -> Ensemble:
    """Load model folders, with all their trained folds, to predict together.

    Args:
        folders: folders of models, or of ensembles, whose members are taken.
        device: where to compute.
        mirroring: whether to average over mirrored copies where a model allows it.
        step_size: step of the sliding window, as a fraction of the patch.
        postprocessing: whether the rules beside a single folder are applied, and its decoding; what several
            make together has none that were decided for it.
        options: further choices; None: the usual ones.

    Raises:
        RunError: if a model is not complete.
        UsageError: if the models are of different labels or channels.
    """
    members = [member for folder in folders for member in member_folders(folder)]
    options = options or Options()
    models = [
        load_model(member, options.folds, device, mirroring, as_planned=options.as_planned)
        for member in members
    ]
    certainty = Certainty() if options.fast else None
    for model in [*models, *(each.previous for each in models if each.previous is not None)]:
        model.step_size, model.engine, model.certainty = step_size, options.engine, certainty
    rules = Postprocessing.of_model(folders[0]) if postprocessing and len(folders) == 1 else Postprocessing()
    # Calibration is of the probabilities and always holds; deciding otherwise is left out on request.
    decoding = Decoding.of_model(folders[0]) if len(folders) == 1 else Decoding()
    return Ensemble(models, postprocessing=rules, decoding=decoding if postprocessing else decoding.plain())


def member_folders(folder: Path) -> tuple[Path, ...]:
    """The model folders of an ensemble's; of any other, itself.

    Raises:
        RunError: if the list of members cannot be read.
    """
    listed = folder / ENSEMBLE
    if not listed.is_file():
        return (folder,)
    names = read_json(listed, RunError)["members"]
    return tuple(folder.resolve().parent / name for name in names)


def save_ensemble(row: Run, members: Sequence[Run]) -> None:
    """Write which models predict together, in the model folder of their common row."""
    write_json(row.ensemble, {"members": [member.model_folder.name for member in members]})


def predict_validation(
    row: Run, members: Sequence[Run], workspace: Workspace, device: torch.device, cases: Sequence[str]
) -> Path:
    """Predict the cases that a fold has not seen, from their preprocessed arrays, onto the original grid.

    A case that is predicted already is not predicted again.

    Args:
        row: whose folder the predictions go to.
        members: the trained runs; of a row that is not an ensemble, the row alone.
        workspace: where the preprocessed cases lie.
        device: where to compute.
        cases: held out.

    Returns:
        The folder of the predictions.
    """
    nnunet.activate(workspace)
    ending = read_json(workspace.dataset_json_of(row.dataset), RunError)["file_ending"]
    waiting = [case for case in cases if not (row.predictions / f"{case}{ending}").is_file()]
    if not waiting:
        return row.predictions
    began = time.monotonic()
    forget_peak(device)
    ensemble = Ensemble([load_model(run.model_folder, [run.fold], device) for run in members])
    folders = [
        workspace.cases_of(row.dataset, model.configuration.data_identifier) for model in ensemble.models
    ]
    passes, labels = [], labels_from_json(ensemble.dataset_json)
    with progress.stage(f"Predict {row.trainer}", total=len(waiting)) as advance:
        for case in waiting:
            preprocessed = [m.preprocessed(f, case) for m, f in zip(ensemble.models, folders, strict=True)]
            passes.append(
                [m.passes(data.shape[1:]) for m, (data, _) in zip(ensemble.models, preprocessed, strict=True)]
            )
            target = row.predictions / f"{case}{ending}"
            properties, evidence = preprocessed[0][1], Evidence.of(labels)
            segmentation = ensemble.segment(preprocessed, evidence)
            # Before the prediction: where that is there, its evidence is.
            add_evidence(row.folder, case, evidence.to_json(labels))
            images.write_segmentation(segmentation, target, properties, ensemble.reader)
            advance(detail=case)
    _write_cost(row, ensemble.timings, time.monotonic() - began, peak_bytes(device), passes)
    return row.predictions


def gather_evidence(
    folder: Path, fold: int, workspace: Workspace, device: torch.device, cases: Sequence[str]
) -> None:
    """Predict held-out cases again for what their probabilities say; their segmentations stay as they are.

    Args:
        folder: the model's folder, or that of an ensemble.
        fold: the one that held the cases out.
        workspace: where the preprocessed cases lie.
        device: where to compute.
        cases: those without evidence.
    """
    if not cases:
        return
    nnunet.activate(workspace)
    ensemble = Ensemble([load_model(member, [fold], device) for member in member_folders(folder)])
    labels, name = labels_from_json(ensemble.dataset_json), ensemble.models[0].plan.dataset
    folders = [workspace.cases_of(name, model.configuration.data_identifier) for model in ensemble.models]
    with progress.stage(f"Evidence of fold {fold}", total=len(cases)) as advance:
        for case in cases:
            evidence = Evidence.of(labels)
            inputs = [m.preprocessed(f, case) for m, f in zip(ensemble.models, folders, strict=True)]
            ensemble.segment(inputs, evidence)
            add_evidence(folder / f"fold_{fold}", case, evidence.to_json(labels))
            advance(detail=case)


def _meaning(model: Model) -> tuple[Any, ...]:
    """What models must have in common: labels, regions and channels."""
    about = model.dataset_json
    labels = labels_from_json(about)
    channels = about.get("channel_names", about.get("modality", {}))
    return dict(labels.names), labels.region_order, len(channels)


def _write_cost(
    run: Run, timings: Sequence[float], seconds: float, peak: int, passes: Sequence[Sequence[int]]
) -> None:
    # The first case warms up allocators and caches.
    counted = list(timings[1:]) or list(timings)
    write_json(
        run.inference,
        {
            "inference_s_per_case": float(np.median(counted)),
            "inference_s_per_case_p95": float(np.percentile(counted, 95)),
            "cases": len(timings),
            "predict_s": round(seconds, 2),
            "peak_memory_mb": round(peak / 1e6, 1),
            # Of each member, patches for the median case.
            "patches_per_case": np.median(passes, axis=0).tolist(),
        },
    )
