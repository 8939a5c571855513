"""The plan of a second stage: that of the model it starts from, with a data set's own where it must be.

nnU-Net moves a plan between data sets with a command of its own (``nnUNetv2_move_plans_between_datasets``);
here it is an option of a run. Weights fit a network best that is the very same one, and mean the same only on
images of the same spacing and the same normalisation. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.formats import WITHOUT_SPACING
from autoseg.errors import PlanError
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.planner.spacing import resampled_shapes
from autoseg.system.files import digest

FILE = "plans.json"
_SOURCE = "nnU-Net 2.8.1 nnUNetv2_move_plans_between_datasets"


@dataclass(frozen=True)
class PlanOfModel:
    """The plan that a model was trained with.

    Attributes:
        model: name of the model's folder.
        plan: the plan.
        configuration: the one that was trained.
    """

    model: str
    plan: Plan
    configuration: Configuration

    @property
    def identity(self) -> str:
        """A hash of what is moved: the same for two seeds of one model."""
        document = self.plan.to_json()
        used = {key: document[key] for key in ("foreground_intensity_properties_per_channel",)}
        return digest({**used, "configuration": self.configuration.to_json()})


def plan_of_model(source: Path) -> PlanOfModel:
    """Read the plan beside a checkpoint.

    Args:
        source: a model's folder (``trainer__plan__configuration``), one of its folds, or a checkpoint there.

    Raises:
        PlanError: if there is no plan, or it does not say which of its configurations was trained.
    """
    places = [source, *list(source.parents)[:2]] if source.is_dir() else list(source.parents)[:2]
    folder = next((place for place in places if (place / FILE).is_file()), None)
    if folder is None:
        raise PlanError(
            f"There is no {FILE} beside {source}, so nothing says what its network looks like. Give a "
            f"model's folder (trainer__plan__configuration) or a checkpoint in it, or leave out plan_from."
        )
    plan = Plan.load(folder / FILE)
    name = _trained_configuration(folder, plan)
    if (configuration := plan.configuration(name)).previous_stage is not None:
        raise PlanError(
            f"{folder.name} is the second stage of a cascade, which needs the first. Start from a model of "
            f"another configuration."
        )
    return PlanOfModel(folder.name, plan, configuration)


def _trained_configuration(folder: Path, plan: Plan) -> str:
    named = folder.name.split("__")[-1] if folder.name.count("__") == 2 else ""
    if named in plan.configurations:
        return named
    if len(plan.configurations) == 1:
        return next(iter(plan.configurations))
    raise PlanError(
        f"{folder / FILE} has the configurations {', '.join(plan.configurations)}, and the folder's name "
        f"does not say which was trained. Name the folder as nnU-Net does: trainer__plan__configuration."
    )


def move_plan(
    source: PlanOfModel, dataset: Dataset, fingerprint: Fingerprint, own: Plan, network: str
) -> Plan:
    """A model's plan for another data set.

    Patch, batch, spacing, network, normalisation and intensity statistics are the model's; name, reader and
    order of axes are the data set's. Where the two differ in their number of channels, so are normalisation
    and intensities, which belong to channels.

    Args:
        source: the model's plan.
        dataset: the data set to train on.
        fingerprint: its fingerprint.
        own: the data set's own plan.
        network: dotted path of the class that is to be trained.

    Returns:
        A plan with that one configuration, which has a folder of preprocessed cases of its own.

    Raises:
        PlanError: if the model is of volumes and the data are images, one of the two has no millimetres, or
            the network is another one.
    """
    _check(source, own, network)
    configuration = source.configuration
    same = len(configuration.normalization) == len(dataset.channels)
    intensities = source.plan.intensities if same else own.intensities
    if not same:
        planned = next(iter(own.configurations.values()))
        configuration = dataclasses.replace(
            configuration,
            normalization=planned.normalization,
            use_mask_for_norm=planned.use_mask_for_norm,
        )
    configuration = dataclasses.replace(
        configuration, median_shape=_median_shape(configuration, fingerprint, own), next_stage=None
    )
    key = digest(
        [dataclasses.asdict(configuration), own.transpose, own.image_reader_writer, dict(intensities)]
    )
    configuration = dataclasses.replace(
        configuration, data_identifier=f"movedPlans_{key[:8]}_{configuration.name}"
    )
    about = _about(source, len(dataset.channels))
    return dataclasses.replace(
        own,
        configurations={configuration.name: configuration},
        intensities=intensities,
        planner=source.plan.planner,
        decisions=(*(each for each in own.decisions if each.name == "transpose"), _decision(about)),
        provenance={**own.provenance, "plan_from": about},
    )


def keeps_normalization(plan: Plan) -> bool:
    """Whether a plan was moved with its normalisation, which then stays; False for a data set's own plan."""
    about = plan.provenance.get("plan_from")
    return about is not None and len(set(about["channels"])) == 1


def moved_words(plan: Plan) -> list[str]:
    """What a row says of a moved plan; nothing for other plans."""
    about = plan.provenance.get("plan_from")
    if about is None:
        return []
    there, here = about["channels"]
    kept = "spacing and normalisation" if there == here else "and spacing"
    words = f"network, patch, {kept} from the plan of {about['model']} ({about['dataset']})"
    return [
        words if there == here else f"{words}, normalisation its own: {there} channels there, {here} here"
    ]


def _about(source: PlanOfModel, channels: int) -> dict[str, Any]:
    return {
        "model": source.model,
        "dataset": source.plan.dataset,
        "plan": source.plan.name,
        "configuration": source.configuration.name,
        "identity": source.identity,
        "channels": [len(source.configuration.normalization), channels],
    }


def _decision(about: Mapping[str, Any]) -> Decision:
    return Decision(
        "plan_from",
        about["model"],
        "network, patch, batch, spacing, normalisation and intensity statistics are the model's; name, reader"
        " and order of axes are the data set's and, for another number of channels, normalisation and "
        "intensities. A budget may still reduce the batch, and nothing else",
        about,
        _SOURCE,
    )


def _check(source: PlanOfModel, own: Plan, network: str) -> None:
    configuration, there = source.configuration, source.configuration.architecture.class_path
    if configuration.dimensions not in {each.dimensions for each in own.configurations.values()}:
        raise PlanError(
            f"{source.model} is a model of volumes ({configuration.name}), and {own.dataset} has images of "
            f"one slice. Take the plan of a 2D model, or leave out plan_from."
        )
    readers = (source.plan.image_reader_writer, own.image_reader_writer)
    if len({reader == WITHOUT_SPACING for reader in readers}) == 2:
        raise PlanError(
            f"{source.model} was trained on files read by {readers[0]}, and {own.dataset} is read by "
            f"{readers[1]}: only one of the two knows millimetres, so a spacing cannot be taken over. Leave "
            f"out plan_from; the weights alone can be taken (init)."
        )
    if there != network:
        raise PlanError(
            f"{source.model} has the network {there}, and this trainer has {network}. Choose the trainer "
            f"that the model was made with, or leave out plan_from."
        )


def _median_shape(configuration: Configuration, fingerprint: Fingerprint, own: Plan) -> tuple[float, ...]:
    """Median shape of the data set's cases at the moved spacing, in the plan's order of axes."""
    spacing = list(configuration.spacing)
    whole = [*own.original_median_spacing[: 3 - len(spacing)], *spacing]
    array_order = np.array([whole[axis] for axis in own.transpose_backward])
    shape = np.median(resampled_shapes(fingerprint, array_order), 0)[list(own.transpose)]
    return tuple(shape.tolist()[-len(spacing) :])
