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
from autoseg.inference.model import Model, load_model
from autoseg.inference.network import channels_of
from autoseg.inference.onnx_network import check_packages, write_network
from autoseg.postprocessing.rules import Postprocessing
from autoseg.preprocessing.axes import Axes
from autoseg.preprocessing.case import check_plan
from autoseg.system import progress
from autoseg.system.files import atomic_folder, atomic_path, temporary_folder, write_json
from autoseg.trust.quality_model import FILE_NAME as QUALITY
from autoseg.trust.quality_model import QualityModel

log = logging.getLogger(__name__)


def export_bundle(model: Path, output: Path, key: Path | None = None, flat: bool = True) -> Path:
    """Write a trained model, with all its trained folds and members, as a bundle.

    A bundle is written again as it is, with the card as it has been edited: its manifest fits then.

    Args:
        model: a model folder, that of an ensemble, or a bundle.
        output: a new folder; or, with the ending ``.zip``, a file.
        key: a private key that signs the bundle, see `autoseg.bundle.signature`; None: it is not signed.
        flat: whether convolutions in 3D are written as ones in 2D: faster, but not in a browser.

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
    write = _again(model) if is_bundle(model) else _export(model, flat)
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


def _export(model: Path, flat: bool) -> Callable[[Path], None]:
    check_packages()
    models = [_loaded(folder) for folder in member_folders(model)]
    Ensemble([stage for each in models for stage in _stages(each)])  # refuses what does not segment the same
    return partial(_write, model, models, flat)


def _loaded(folder: Path) -> Model:
    loaded = load_model(folder, device="cpu", as_trained=True)
    for stage in _stages(loaded):
        check_plan(stage.plan, stage.configuration)
    if loaded.reader not in READERS:
        raise RunError(
            f"{folder.name} reads its images with {loaded.reader}; a bundle has {', '.join(READERS)}. "
            f"Convert the images of the data set to NIfTI or PNG and train again."
        )
    return loaded


def _stages(model: Model) -> list[Model]:
    """A model after the first stage of its cascade, where it has one.

    Raises:
        RunError: if that has a stage before it as well.
    """
    if model.previous is None:
        return [model]
    if model.previous.previous is not None:
        raise RunError(
            f"{model.configuration.name} is the third stage of a cascade; a bundle has two at most."
        )
    return [model.previous, model]


def _write(source: Path, models: list[Model], flat: bool, folder: Path) -> None:
    (folder / "networks").mkdir()
    members, worst = [], 0.0
    stages = [stage for model in models for stage in _stages(model)]
    with progress.stage("Export", total=sum(len(stage.networks) for stage in stages)) as advance:
        for number, model in enumerate(models):
            member, difference = _written(model, f"member{number}", folder, flat, advance)
            members.append(member)
            worst = max(worst, difference)
    description = _description(source, models[0], tuple(members), worst)
    write_json(folder / MODEL, description.to_json())
    write_card(folder / CARD, description, models[0].dataset_json, source)
    write_runner(folder)
    log.info("%s: logits in ONNX differ by at most %.1e of their spread.", source.name, worst)


def _written(
    model: Model, stem: str, folder: Path, flat: bool, advance: progress.Advance
) -> tuple[Member, float]:
    """Write a model's networks, those of its first stage before; give the largest difference as well."""
    previous, worst = None, 0.0
    if model.previous is not None:
        previous, worst = _written(model.previous, f"{stem}_first", folder, flat, advance)
    names = [f"networks/{stem}_network{index}.onnx" for index in range(len(model.networks))]
    channels, patch = channels_of(model.configuration, model.dataset_json), model.configuration.patch_size
    for name, network in zip(names, model.networks, strict=True):
        worst = max(worst, write_network(network, channels, patch, folder / name, flat))
        advance(detail=name)
    return _member(model, names, previous), worst


def _member(model: Model, networks: list[str], previous: Member | None) -> Member:
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
        previous,
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
