"""One stage of the walk by itself, for a command of its own: plan, train, pre-train, predict."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from autoseg import __version__
from autoseg.bundle.archive import is_bundle
from autoseg.data.dataset import load_dataset
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.data.dicom_objects.series_inputs import is_series
from autoseg.data.folds import Fold, chosen_folds
from autoseg.decoding.rules import Decoding
from autoseg.errors import UsageError
from autoseg.pipeline.fast_prediction import rule_for, tell_saved
from autoseg.pipeline.prepare import fingerprinted, planned, prepare, split
from autoseg.pipeline.settings import Settings
from autoseg.planner.cascade import CASCADE
from autoseg.planner.plan import Plan
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.dataset import link_references
from autoseg.run import DECODING, POSTPROCESSING, predicting_checkpoints, sha256_of
from autoseg.system.device import find_device
from autoseg.system.process_memory import USUAL, take_from_system
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.inference.fast_rule import FastRule
    from autoseg.inference.options import Options
    from autoseg.inference.predict import Predicted, Predictor
    from autoseg.run import Checkpoint
    from autoseg.training.pretraining.masked import Pretrained
    from autoseg.trust.assess import Assessor
    from autoseg.trust.quality_model import QualityModel

log = logging.getLogger(__name__)


def planned_from_disk(root: Path, workspace: Workspace, settings: Settings, preset: str) -> tuple[Plan, Path]:
    """nnU-Net's plan of a raw folder, written to the workspace, and its file."""
    dataset = load_dataset(root, settings.groups)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    plan = planned(dataset, fingerprint, workspace, preset, settings.memory_gb)
    return plan, workspace.plan_of(dataset.name, plan.name)


def fitted(root: Path, workspace: Workspace, settings: Settings, trainer: str) -> tuple[Plan, Path]:
    """The plan that a trainer would get, written to the workspace, and its file."""
    from autoseg.pipeline.settings import request_of, started
    from autoseg.pipeline.trial import plan_for
    from autoseg.tailoring.trainer_spec import Choice
    from autoseg.tailoring.variant import Variant

    choice = started(Choice.parse(trainer), settings)
    dataset = load_dataset(root, settings.groups)
    fingerprint = fingerprinted(dataset, workspace, settings.workers)
    request = request_of(settings, settings.total_s)
    if settings.configuration == CASCADE:
        # As where all folds are trained, which each have two trainings then.
        request = dataclasses.replace(request, first_stages=1.0)
    plan = plan_for(Variant(dataset, fingerprint, choice, request), workspace)
    return plan, workspace.plan_of(dataset.name, plan.name)


def train_one(
    source: Path | str, trainer: str, fold: int | str, workspace: Workspace, settings: Settings
) -> Checkpoint:
    """Train one trainer on one fold, or on all cases (``fold="all"``), without evaluating it.

    Raises:
        DataError: if the data set has errors.
        UsageError: for unknown names.
    """
    from autoseg.pipeline.cascade import with_cascade
    from autoseg.pipeline.settings import request_of, started
    from autoseg.pipeline.trial import Trial, train_trial
    from autoseg.tailoring.trainer_spec import Choice

    choice = started(Choice.parse(trainer), settings)
    prepared = prepare(workspace.find_raw(source), workspace, settings, all_cases=fold == "all")
    if fold == "all":
        everything = tuple(case.identifier for case in prepared.dataset.cases)
        chosen = Fold(-1, everything, everything)
    else:
        (chosen,) = chosen_folds(prepared.folds, [int(fold)])
    link_references(prepared.dataset, workspace.references_of(prepared.dataset.name))
    request = request_of(settings, settings.total_s)
    if settings.configuration == CASCADE:
        folds = prepared.folds or split(prepared.dataset, workspace, settings.folds_by)
        prepared = dataclasses.replace(prepared, folds=folds)
        request = with_cascade(prepared, [chosen], request)
    trial = Trial(prepared.dataset, prepared.fingerprint, prepared.folds, choice, chosen, request)
    return train_trial(trial, workspace, settings.workers)


def pretrain_one(
    source: Path | str,
    trainer: str,
    fold: int | str,
    workspace: Workspace,
    settings: Settings,
    others: Sequence[Path | str] = (),
) -> Pretrained:
    """Train a trainer's network on images alone, within the settings' budget; `init` takes the checkpoint.

    The plan is the one that the trainer gets for that budget, and lies beside the checkpoint. With a fold,
    none of its held-out images is looked at, so that its scores stay honest; ``all`` looks at every image
    with and without labels. All images of the `others` are looked at too, prepared as the plan says.

    Raises:
        DataError: if the data set has errors, or another one has other channels.
        UsageError: for unknown names, or without a budget.
    """
    from autoseg.pipeline.settings import request_of
    from autoseg.pipeline.trial import plan_for
    from autoseg.tailoring.trainer_spec import Choice
    from autoseg.tailoring.variant import Variant
    from autoseg.training.pretraining.masked import Pretraining, pretrain
    from autoseg.training.pretraining.unlabelled import images_of, preprocess_pool

    choice = Choice.parse(trainer)
    prepared = prepare(workspace.find_raw(source), workspace, settings, all_cases=fold == "all")
    more = [load_dataset(workspace.find_raw(each), groups=False) for each in others]
    dataset, request = prepared.dataset, request_of(settings, settings.total_s)
    plan = plan_for(Variant(dataset, prepared.fingerprint, choice, request), workspace)
    configuration = plan.trained_configuration()
    training = None if fold == "all" else chosen_folds(prepared.folds, [int(fold)])[0].training
    folder = workspace.cases_of(dataset.name, f"{configuration.data_identifier}_images")
    cases = images_of(dataset, training)
    names = preprocess_pool([dataset, *more], cases, plan, configuration, folder, settings.workers)
    seen = "_and_".join([str(fold), *(each.name for each in more)])
    output = workspace.pretrained_of(
        dataset.name, f"{choice.trainer}__{plan.name}__{configuration.name}", seen
    )
    plan.save(output.parents[1] / "plans.json")
    how = Pretraining(seconds=settings.total_s, seed=settings.seed)
    return pretrain(folder, plan, configuration.name, choice.name, output, how, request.device, list(names))


def predict_folder(
    model: Path,
    source: Path,
    output: Path,
    *,
    device: str,
    mirroring: bool = True,
    step_size: float = 0.5,
    more: Sequence[Path] = (),
    overwrite: bool = False,
    postprocessing: bool = True,
    quality: bool = True,
    form: Form | None = None,
    mend: bool = False,
    choices: Options | None = None,
    probabilities: bool = False,
) -> Predicted:
    """Segment every case of a folder with all trained folds of a model, or of several together.

    What cannot be predicted is left out and named; a segmentation that is there is retained if the same model
    and options made it of the same images. Of DICOM every series is a case. Quality is said where known.

    Args:
        model: a model's folder, or a bundle.
        source: a folder of images, or DICOM: a folder or a file.
        output: folder; created if need be.
        device: where to compute.
        mirroring: whether to average over mirrored copies.
        step_size: of the sliding window, in patches.
        more: further models.
        overwrite: replace whatever is in the output.
        postprocessing: whether the rules beside the model are applied, and its decoding.
        quality: whether it is said how good predictions will be.
        form: of the results of DICOM series; NIfTI if not given.
        mend: whether series with uneven distances between slices are interpolated.
        choices: engine, folds and what else; None: the usual ones.
        probabilities: whether CASE.npz is written beside each segmentation, calibrated where the model is.

    Raises:
        DataError: if the folder holds no case that the model takes.
        RunError: if a model is not complete, or a segmentation would be replaced that was not made here.
        UsageError: if the models are of different labels or channels, or a bundle is to join others.
    """
    # 20 volumes of 35x50x35 in bf16 fetched a tenth of the pages so, and took 5 to 8 % fewer CPU seconds.
    take_from_system(USUAL)
    models = (model, *more)
    loaded, hashes = loaded_models(models, device, mirroring, step_size, postprocessing, choices)
    rule = rule_for(models, loaded, hashes, device, choices)
    options = _options(mirroring, step_size, postprocessing, choices, rule)
    how: dict[str, Any] = {"maker": {"models": hashes, **options}, "overwrite": overwrite}
    how["assessor"] = assessor_of(models, loaded, output) if quality else None
    if is_series(source, loaded.dataset_json["file_ending"]):
        if probabilities:
            _refuse_probabilities(source)
        algorithm = Maker.of(_names(models, loaded), __version__, hashes, options)
        how |= {"form": form or Form(), "algorithm": algorithm, "mend": mend}
        return tell_saved(_predict_series(loaded, source, output, model.name, how), loaded, rule)
    (form or Form()).check_plain(source)
    if probabilities:
        how["probabilities"] = how["maker"]["probabilities"] = True
    return tell_saved(_predict_images(loaded, source, output, model.name, how), loaded, rule)


def _options(
    mirroring: bool,
    step_size: float,
    postprocessing: bool,
    choices: Options | None,
    rule: FastRule | None,
) -> dict[str, Any]:
    """What a segmentation depends on beside its model and image; later options where they are unusual."""
    found: dict[str, Any] = {"mirroring": mirroring, "step_size": step_size}
    if not postprocessing:
        found["postprocessing"] = False
    found |= choices.changes if choices is not None else {}
    return found | ({"fast": rule.how} if rule is not None else {})


def _refuse_probabilities(source: Path) -> NoReturn:
    raise UsageError(
        f"{source} is DICOM, which has no form for probabilities. Leave out --probabilities, or convert the "
        f"series to NIfTI first."
    )


def _predict_series(
    loaded: Predictor, source: Path, output: Path, name: str, how: Mapping[str, Any]
) -> Predicted:
    """Every series of a folder of DICOM, with the page of those to look at first."""
    from autoseg.inference.predict_dicom import predict_series
    from autoseg.trust.triage import write_triage_of_series

    done = predict_series(loaded, source, output, **how)
    if how["assessor"] is not None:
        write_triage_of_series(how["assessor"], name)
    return done


def _predict_images(
    loaded: Predictor, source: Path, output: Path, name: str, how: Mapping[str, Any]
) -> Predicted:
    """The cases of a folder of images, with the page of those to look at first."""
    from autoseg.inference.inputs import inputs_of
    from autoseg.inference.predict import channels_of, decodes, expect, predict_cases
    from autoseg.inference.say_memory import say_bound, sizes_of

    ending = loaded.dataset_json["file_ending"]
    inputs = inputs_of(source, ending, channels_of(loaded))
    expect(loaded, len(inputs.cases))
    on_the_image = bool(how.get("probabilities")) or decodes(loaded)
    say_bound(loaded, sizes_of(inputs.cases), on_the_image)
    done = predict_cases(loaded, inputs.cases, output, **how)
    if how["assessor"] is not None:
        from autoseg.trust.triage import write_triage

        files = {path.name.removesuffix(ending): path for path in done.files}
        write_triage(how["assessor"], inputs.cases, files, loaded.reader, name)
    return dataclasses.replace(done, left_out=(*inputs.left_out, *done.left_out))


def model_name(path: Path) -> str:
    """What stands for a model in a result: data set and run, or the name of a bundle's file."""
    folder = path.resolve()
    return folder.stem if is_bundle(path) else f"{folder.parent.name} {folder.name}"


def _names(models: Sequence[Path], loaded: Predictor) -> list[str]:
    """The same of several, and of a bundle the name that it has itself."""
    from autoseg.inference.bundled import BundledModel

    if isinstance(loaded, BundledModel):
        return [loaded.segmenter.description.name]
    return list(map(model_name, models))


def assessor_of(models: Sequence[Path], loaded: Predictor, output: Path) -> Assessor | None:
    """What says of each case how good its prediction will be; None where that is not known, which is said."""
    from autoseg.data.dataset import labels_from_json
    from autoseg.trust.assess import Assessor

    found = quality_of(models, loaded)
    return None if found is None else Assessor(found, labels_from_json(loaded.dataset_json), output)


def quality_of(models: Sequence[Path], loaded: Predictor) -> QualityModel | None:
    """What says how good predictions of models will be; None where that is not known, which is said."""
    from autoseg.inference.bundled import BundledModel
    from autoseg.inference.ensemble import Ensemble
    from autoseg.pipeline.written import written_with
    from autoseg.trust.quality_model import FILE_NAME, QualityModel

    if isinstance(loaded, BundledModel):
        found = loaded.segmenter.description.quality
        rules, decoding = loaded.segmenter.rules, loaded.segmenter.decoding
    else:
        rules, decoding = (
            (loaded.postprocessing, loaded.decoding)
            if isinstance(loaded, Ensemble)
            else (Postprocessing(), Decoding())
        )
        path = models[0] / FILE_NAME
        found = QualityModel.load(path) if len(models) == 1 and path.is_file() else None
    if found is None:
        log.info("How good these predictions will be is not known: %s has no %s.", models[0].name, FILE_NAME)
        return None
    if found.about.get("written", "") != written_with(rules, decoding).key:
        log.warning(
            "Expected quality was fitted on segmentations that are made otherwise (%s), so that it is less "
            "sure than it says. Predict with the model's postprocessing, or fit it again: autoseg quality %s",
            "; ".join(found.about.get("written_in_words", ())) or "without postprocessing",
            models[0],
        )
    return found


def loaded_models(
    models: Sequence[Path],
    device: str,
    mirroring: bool,
    step_size: float,
    postprocessing: bool = True,
    options: Options | None = None,
) -> tuple[Predictor, list[str]]:
    """A bundle, or an ensemble of all members of all models, and the hashes of what predicts."""
    from autoseg.inference.zipped import is_stock_zip, unpacked

    if zipped := [path for path in models if is_stock_zip(path)]:
        with ExitStack() as stack:
            folders = [stack.enter_context(unpacked(p)) if p in zipped else p for p in models]
            loaded, hashes = loaded_models(folders, device, mirroring, step_size, postprocessing, options)
        return loaded, hashes
    bundles = [path for path in models if is_bundle(path)]
    if bundles and len(models) > 1:
        raise UsageError(f"{bundles[0]} is a bundle, which predicts by itself. Give no --model beside it.")
    if bundles:
        from autoseg.inference.bundled import BundledModel

        if device not in ("auto", "cpu"):
            raise UsageError(f"A bundle predicts on the processor, not on {device!r}. Leave --device out.")
        if options is not None and options.of_model_folders:
            raise UsageError(
                f"A bundle predicts with all its networks, in onnxruntime. Leave out "
                f"{', '.join(options.of_model_folders)}."
            )
        bundled = BundledModel.load(bundles[0], mirroring, step_size, postprocessing)
        return bundled, [bundled.hash]
    from autoseg.inference.ensemble import load_ensemble, member_folders

    ensemble = load_ensemble(models, find_device(device), mirroring, step_size, postprocessing, options)
    members = [member for folder in models for member in member_folders(folder)]
    stages = [model.folders[1] for model in ensemble.models if len(model.folders) > 1]
    hashes = list(map(model_hash, [*members, *stages]))
    if ensemble.postprocessing.rules:
        hashes.append(sha256_of([models[0] / POSTPROCESSING]))
    if ensemble.decoding != Decoding():
        hashes.append(sha256_of([models[0] / DECODING]))
    return ensemble, hashes


def model_hash(folder: Path) -> str:
    """A hash of all that a model folder's predictions depend on: plan, data set's description, weights."""
    from autoseg.inference.model import trained_folds

    checkpoints = [
        path for fold in trained_folds(folder) for path in predicting_checkpoints(folder / f"fold_{fold}")
    ]
    return sha256_of([folder / "plans.json", folder / "dataset.json", *checkpoints])
