"""A trained model as a bundle: one folder or zip that segments without torch, autoseg and nnU-Net.

``networks/*.onnx``, ``model.json`` (all that they need around them), ``card.md``, ``run.py`` with its modules
in ``runner/``, and ``manifest.json`` with the SHA-256 of every file. Nothing in it is pickled.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from autoseg import __version__
from autoseg.bundle.archive import MANIFEST, MODEL, Bundle, is_bundle, manifest_of
from autoseg.bundle.description import READERS, Description, Member
from autoseg.bundle.signature import check_can_sign, sign_folder
from autoseg.data.dataset import labels_from_json
from autoseg.decoding.rules import Decoding
from autoseg.errors import RunError, UsageError
from autoseg.export.card import CARD, write_card
from autoseg.export.runner import write_runner
from autoseg.inference.ensemble import Ensemble, member_folders
from autoseg.inference.model import Model, load_model, trained_folds
from autoseg.inference.onnx_network import check_packages, write_network
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.axes import Axes
from autoseg.preprocessing.case import check_plan
from autoseg.system import progress
from autoseg.system.files import atomic_folder, atomic_path, temporary_folder, write_json
from autoseg.trust.quality_model import FILE_NAME as QUALITY
from autoseg.trust.quality_model import QualityModel

log = logging.getLogger(__name__)


def export_bundle(model: Path, output: Path, key: Path | None = None) -> Path:
    """Write a trained model, with all its trained folds and members, as a bundle.

    A bundle is written again as it is, with the card as it has been edited: its manifest fits then.

    Args:
        model: a model folder, that of an ensemble, or a bundle.
        output: a new folder; or, with the ending ``.zip``, a file.
        key: a private key that signs the bundle, see `autoseg.bundle.signature`; None: it is not signed.

    Returns:
        `output`.

    Raises:
        BundleError: if more of a bundle was changed than its card.
        MissingDependency: without the packages of ``autoseg-medical[onnx]``, or to sign ``[sign]``.
        RunError: if the model is not complete, reads images that a bundle cannot read, or gives something
            else in onnxruntime.
        UsageError: if the output is there already, or the key cannot be read.
    """
    zipped = output.suffix.lower() == ".zip"
    if zipped and output.exists():
        raise UsageError(f"{output} is there already. Remove it, or give another name.")
    if key is not None:
        check_can_sign(key)
    write = _again(model) if is_bundle(model) else _export(model)
    if not zipped:
        with atomic_folder(output) as folder:
            _finish(write, folder, key)
        return output
    with atomic_path(output) as file, temporary_folder(output.with_name(f"{output.name}.parts")) as place:
        _finish(write, Path(place), key)
        _zip(Path(place), file)
    return output


def _finish(write: Callable[[Path], None], folder: Path, key: Path | None) -> None:
    write(folder)
    write_json(folder / MANIFEST, manifest_of(folder))
    if key is not None:
        sign_folder(folder, key)


def _again(path: Path) -> Callable[[Path], None]:
    bundle = Bundle.open(path, edited=(CARD,))

    def write(folder: Path) -> None:
        bundle.unpack(folder)
        (folder / MANIFEST).unlink()

    return write


def _export(model: Path) -> Callable[[Path], None]:
    check_packages()
    models = [_loaded(folder) for folder in member_folders(model)]
    Ensemble(models)  # refuses models that do not segment the same
    return partial(_write, model, models)


def _loaded(folder: Path) -> Model:
    loaded = load_model(folder, trained_folds(folder), torch.device("cpu"), as_trained=True)
    check_plan(loaded.plan, loaded.configuration)
    if loaded.reader not in READERS:
        raise RunError(
            f"{folder.name} reads its images with {loaded.reader}; a bundle has {', '.join(READERS)}. "
            f"Convert the images of the data set to NIfTI or PNG and train again."
        )
    if loaded.configuration.previous_stage is not None:
        raise RunError(f"{folder.name} is the second stage of a cascade, which a bundle cannot hold yet.")
    return loaded


def _write(source: Path, models: list[Model], folder: Path) -> None:
    (folder / "networks").mkdir()
    members, worst = [], 0.0
    with progress.stage("Export", total=sum(len(model.networks) for model in models)) as advance:
        for number, model in enumerate(models):
            names = []
            for index, network in enumerate(model.networks):
                names.append(f"networks/member{number}_network{index}.onnx")
                channels, patch = len(model.configuration.normalization), model.configuration.patch_size
                worst = max(worst, write_network(network, channels, patch, folder / names[-1]))
                advance(detail=names[-1])
            members.append(_member(model, names))
    description = _description(source, models[0], tuple(members), worst)
    write_json(folder / MODEL, description.to_json())
    write_card(folder / CARD, description, models[0].dataset_json, source)
    write_runner(folder)
    log.info("%s: logits in ONNX differ by at most %.1e of their spread.", source.name, worst)


def _member(model: Model, networks: list[str]) -> Member:
    channels = [str(number) for number in range(len(model.configuration.normalization))]
    intensities = {channel: dict(model.plan.intensities.get(channel, {})) for channel in channels}
    plan = Axes(model.plan.transpose, intensities)
    return Member(
        plan,
        model.configuration,
        model.step_size,
        tuple(model.mirror_axes),
        tuple(networks),
        model.averages_probabilities,
    )


def _description(source: Path, model: Model, members: tuple[Member, ...], worst: float) -> Description:
    about = model.dataset_json
    channels = about.get("channel_names", about.get("modality", {}))
    provenance: dict[str, Any] = {
        "dataset": model.plan.dataset,
        "trainer": model.trainer,
        "configuration": model.configuration.name,
        "plan": model.plan.name,
        "version": __version__,
        "exported": datetime.now(UTC).date().isoformat(),
        "difference_to_torch": float(f"{worst:.3g}"),
        "fingerprint": {
            "spacing": model.plan.original_median_spacing,
            "shape": model.plan.original_median_shape,
        },
    }
    return Description(
        name=source.resolve().name,
        channels=tuple(str(name) for name in channels.values()),
        file_ending=str(about["file_ending"]),
        reader=model.reader,
        labels=labels_from_json(about),
        members=members,
        orientation=model.orientation,
        about=provenance,
        postprocessing=Postprocessing.of_model(source),
        decoding=Decoding.of_model(source),
        codes=dict(about.get("codes") or {}),
        quality=QualityModel.load(quality) if (quality := source / QUALITY).is_file() else None,
    )


def _zip(folder: Path, file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                # Weights do not shrink; storing them is faster to open.
                kind = zipfile.ZIP_STORED if path.suffix == ".onnx" else zipfile.ZIP_DEFLATED
                archive.write(path, path.relative_to(folder).as_posix(), kind)
