"""A trained model as a folder, or a zip, that stock nnU-Net opens where there is no autoseg.

Stock prediction reads three things: plans.json, dataset.json and of each fold a checkpoint, which names its
trainer. The weights stay as they are. The trainer becomes nnU-Net's own, which builds the very network that
the plan names; and what only training needs, or only autoseg reads, stays behind.
"""

from __future__ import annotations

import logging
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg import nnunet
from autoseg.decoding.rules import Decoding
from autoseg.errors import RunError, UsageError
from autoseg.inference.ensemble import member_folders
from autoseg.inference.model import stage_before, trained_folds
from autoseg.inference.network import trainer_of
from autoseg.planner.configuration import PERCENTILE, Configuration
from autoseg.planner.plan import Plan
from autoseg.postprocessing.rules import Postprocessing
from autoseg.run import predicting_checkpoints
from autoseg.system.files import atomic_folder, atomic_path, read_json, temporary_folder, write_json

log = logging.getLogger(__name__)

STOCK_TRAINER = "nnUNetTrainer"
# Where nnU-Net's own networks live; it is installed with nnU-Net.
STOCK_NETWORKS = "dynamic_network_architectures."
# Of dataset.json, what lists files of the machine that trained.
_LISTS = ("dataset", "training", "test")


@dataclass(frozen=True)
class Stage:
    """A model folder that stock nnU-Net is to open.

    Attributes:
        model: the folder.
        document: its plan.
        checkpoints: by trained fold.
        first: the first checkpoint's content.
    """

    model: Path
    document: Mapping[str, Any]
    checkpoints: Mapping[str, Sequence[Path]]
    first: Mapping[str, Any]

    @classmethod
    def of(cls, model: Path) -> Stage:
        """Read a model; an ensemble has no plan of its own."""
        if len(member_folders(model)) != 1:
            return cls(model, {}, {}, {})
        document = read_json(model / "plans.json", RunError)
        checkpoints = {fold: predicting_checkpoints(model / f"fold_{fold}") for fold in trained_folds(model)}
        return cls(model, document, checkpoints, nnunet.read_checkpoint(next(iter(checkpoints.values()))[0]))

    @property
    def configuration(self) -> Configuration:
        """What was trained."""
        return Plan.from_json(self.document).configuration(self.first["init_args"]["configuration"])

    @property
    def name(self) -> str:
        """nnU-Net's name for the folder."""
        trainer = _stock_name(self.first, self.document, self.model)
        return f"{trainer}__{self.document['plans_name']}__{self.configuration.name}"


def export_nnunet(model: Path, output: Path) -> Path:
    """Write a trained model so that ``nnUNetv2_predict_from_modelfolder -m OUTPUT`` predicts with it.

    Of a cascade, both stages are written, each in a folder of nnU-Net's name for it below `output`: the first
    predicts, and the second takes the folder of what it made (``-prev_stage_predictions``).

    Args:
        model: a model folder, with all its trained folds; of a cascade, the second stage's.
        output: a new folder; or, with the ending ``.zip``, a file for
            ``nnUNetv2_install_pretrained_model_from_zip``.

    Returns:
        `output`.

    Raises:
        RunError: if the model is not complete, or stock nnU-Net cannot predict with it; says all reasons.
        UsageError: if the output is there already.
    """
    zipped = output.suffix.lower() == ".zip"
    if zipped and output.exists():
        raise UsageError(f"{output} is there already. Remove it, or give another name.")
    stages = [Stage.of(model)]
    if stages[0].document and (before := stages[0].configuration.previous_stage) is not None:
        stages.append(Stage.of(stage_before(model, before)))
    reasons = [
        reason
        for each in stages
        for reason in _reasons(each.model, each.document, each.first, list(each.checkpoints.values()))
    ]
    if reasons:
        raise RunError(
            f"Stock nnU-Net cannot predict with {model.name}: {' '.join(reasons)} "
            f"Export it with --to onnx instead."
        )
    if not zipped:
        with atomic_folder(output) as folder:
            for each in stages:
                _write(each, folder / each.name if len(stages) > 1 else folder)
        return output
    with atomic_path(output) as file, temporary_folder(output.with_name(f"{output.name}.parts")) as folder:
        for each in stages:
            _write(each, Path(folder) / each.name)
        _zip(Path(folder), stages[0].document["dataset_name"], file)
    return output


def _reasons(
    model: Path,
    document: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    weights: Sequence[Sequence[Path]],
) -> Iterator[str]:
    """Why stock nnU-Net cannot predict with a model, each as a sentence."""
    members = member_folders(model)
    if not document:
        yield (
            f"It averages {len(members)} models; stock nnU-Net opens one at a time (export each of "
            f"{', '.join(member.name for member in members)}, and average with nnUNetv2_ensemble)."
        )
        return
    plan = Plan.from_json(document)
    configuration = plan.configuration(checkpoint["init_args"]["configuration"])
    own = getattr(trainer_of(checkpoint["trainer_name"], plan, model), "architecture", None)
    if own is not None or not configuration.architecture.class_path.startswith(STOCK_NETWORKS):
        yield f"Its network ({own or configuration.architecture.class_path}) is none of nnU-Net's."
    if PERCENTILE in configuration.normalization:
        yield f"Its images are normalised by {PERCENTILE}, which nnU-Net does not have."
    most = max(len(several) for several in weights)
    if most > 1:
        yield f"Each fold averages {most} checkpoints; stock nnU-Net predicts with one."


def _stock_name(checkpoint: Mapping[str, Any], document: Mapping[str, Any], model: Path) -> str:
    """The trainer that a checkpoint names to stock nnU-Net: one of its own stays."""
    trainer: str = checkpoint["trainer_name"]
    module = trainer_of(trainer, Plan.from_json(document), model).__module__
    return trainer if module.startswith("nnunetv2.") else STOCK_TRAINER


def _write(stage: Stage, folder: Path) -> None:
    model, document, folds = stage.model, stage.document, list(stage.checkpoints)
    about = read_json(model / "dataset.json", RunError)
    about = {key: value for key, value in about.items() if key not in _LISTS}
    plans: dict[str, Any] = {}
    for fold in folds:
        (path,) = predicting_checkpoints(model / f"fold_{fold}")
        checkpoint = nnunet.read_checkpoint(path)
        configuration = checkpoint["init_args"]["configuration"]
        plans = plans or stock_plans(document, configuration)
        _check(plans, configuration, about, checkpoint, path)
        checkpoint["trainer_name"] = _stock_name(checkpoint, document, model)
        _save(checkpoint, plans, about, folder / f"fold_{fold}" / "checkpoint_final.pth")
    write_json(folder / "plans.json", plans)
    write_json(folder / "dataset.json", about)
    _write_postprocessing(Postprocessing.of_model(model), folds, folder)
    decoding = Decoding.of_model(model)
    if decoding.changes_segmentations:
        log.warning(
            "nnU-Net gives each voxel its likeliest label; that %s decides %s is not exported.",
            *(model.name, decoding.way),
        )


def _write_postprocessing(found: Postprocessing, folds: Sequence[str], folder: Path) -> None:
    """Where nnUNetv2_find_best_configuration leaves it, and what ``nnUNetv2_apply_postprocessing`` takes.

    nnU-Net knows the largest component alone; of a rule that does more, nothing is written.
    """
    carried = [rule for rule in found.rules if rule.largest and rule.smallest is None and not rule.fill]
    left = [rule.words(found.unit) for rule in found.rules if rule not in carried]
    if left:
        log.warning(
            "nnU-Net's postprocessing has the largest component alone; not exported: %s.", "; ".join(left)
        )
    if carried:
        place = folder / f"crossval_results_folds_{'_'.join(folds)}"
        place.mkdir(parents=True)
        content = nnunet.largest_components([(rule.values, rule.outside) for rule in carried])
        with (place / "postprocessing.pkl").open("wb") as file:
            pickle.dump(content, file)


def stock_plans(document: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """A plans document with one configuration and those before it in a cascade, without autoseg's part."""
    plan = Plan.from_json(document)
    kept: dict[str, Configuration] = {}
    name: str | None = configuration
    while name is not None:
        kept[name] = plan.configuration(name)
        name = kept[name].previous_stage
    content = {key: value for key, value in plan.to_json().items() if key != "autoseg"}
    return {**content, "configurations": {name: each.to_json() for name, each in kept.items()}}


def _check(
    plans: dict[str, Any],
    configuration: str,
    about: dict[str, Any],
    checkpoint: Mapping[str, Any],
    path: Path,
) -> None:
    """Make sure that the network of nnU-Net's own trainer takes the weights."""
    network = nnunet.stock_network(plans, configuration, about)
    try:
        network.load_state_dict(checkpoint["network_weights"])
    except RuntimeError as problem:
        first = str(problem).splitlines()[0]
        raise RunError(
            f"The network that stock nnU-Net builds from this plan does not take the weights of {path} "
            f"({first}). Export the model with --to onnx instead."
        ) from None


def _save(
    checkpoint: Mapping[str, Any], plans: Mapping[str, Any], about: Mapping[str, Any], path: Path
) -> None:
    """What stock prediction reads of a checkpoint, in plain types."""
    import torch

    arguments = checkpoint["init_args"]
    content = {
        "network_weights": checkpoint["network_weights"],
        "trainer_name": checkpoint["trainer_name"],
        "init_args": {
            "plans": plans,
            "configuration": arguments["configuration"],
            "fold": arguments.get("fold"),
            "dataset_json": about,
        },
        "inference_allowed_mirroring_axes": checkpoint.get("inference_allowed_mirroring_axes"),
    }
    path.parent.mkdir(parents=True)
    torch.save(content, path)


def _zip(folder: Path, root: str, file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{root}/{path.relative_to(folder).as_posix()}")
