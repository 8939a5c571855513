"""From a fingerprint to a plan: the order of the decisions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner.lowres import plan_lowres
from autoseg.planner.normalization_schemes import normalization
from autoseg.planner.patch import Resources
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.planner.plan_configuration import Common, plan_configuration
from autoseg.planner.presets import Preset, find_preset
from autoseg.planner.spacing import axis_order, resampled_shapes, target_spacing

if TYPE_CHECKING:
    from autoseg.data.dataset import Dataset

Floats = NDArray[np.float64]


def plan_experiment(
    dataset: Dataset | Mapping[str, Any],
    fingerprint: Fingerprint,
    preset: str = "nnunet",
    *,
    memory_gb: float | None = None,
    spacing: Sequence[float] | None = None,
    transpose: bool | Sequence[int] = True,
    plan_name: str | None = None,
    dataset_name: str | None = None,
    preprocessor: str = "DefaultPreprocessor",
) -> Plan:
    """Decide how a data set is preprocessed and trained on, as nnU-Net 2.8.1 does.

    Args:
        dataset: a data set, or the content of its dataset.json where there are no images.
        fingerprint: the fingerprint of the same data set.
        preset: ``nnunet``, ``nnunet_resenc_m``, ``nnunet_resenc_l``, ``nnunet_resenc_xl`` or a JSON file.
        memory_gb: GPU memory target; the preset's own if None.
        spacing: target spacing of ``3d_fullres`` and ``2d`` in mm, array order; from the data if None.
        transpose: whether the coarsest axis is moved to the front; or the order of the axes, for slices along
            another one. An order that nnU-Net would not choose gets preprocessed folders of its own.
        plan_name: nnU-Net's name for the preset if None.
        dataset_name: the name to use with a dataset.json; its ``name`` if None.
        preprocessor: nnU-Net's preprocessor class.

    Raises:
        PlanError: if the fingerprint or dataset.json cannot be planned from, or nothing fits the memory.
        UsageError: for an unknown preset.
    """
    rules = find_preset(preset)
    about, name, reader = _known(dataset)
    memory_gb = _memory_target(rules, memory_gb)
    target, decisions = target_spacing(fingerprint, spacing)
    order, order_decision = axis_order(target, transpose)
    schemes, masks, normalization_decision = normalization(_channels(about).values(), fingerprint)
    common = Common(
        resources=Resources(rules, memory_gb, len(_entry(about, "labels"))),
        plan_name=plan_name or rules.plan_name,
        normalization=schemes,
        use_mask_for_norm=masks,
        preprocessor=preprocessor,
        cases=about.get("numTraining", len(fingerprint.spacings)),
    )
    median_shape = np.median(resampled_shapes(fingerprint, target), 0)[list(order)]
    configurations, more = _configurations(target[list(order)], median_shape, common)
    own = not isinstance(transpose, bool) and order != axis_order(target)[0]
    return Plan(
        dataset=dataset_name or name,
        name=common.plan_name,
        transpose=order,
        original_median_spacing=_median(fingerprint.spacings, order),
        original_median_shape=tuple(round(n) for n in _median(fingerprint.shapes_after_crop, order)),
        image_reader_writer=reader or _reader(about),
        configurations={each.name: _in_folder_of(order, each) if own else each for each in configurations},
        intensities={str(channel): dict(each) for channel, each in fingerprint.intensities.items()},
        planner=rules.planner,
        decisions=(*decisions, order_decision, normalization_decision, *more),
        provenance=_provenance(rules, memory_gb, fingerprint),
    )


def _known(dataset: Dataset | Mapping[str, Any]) -> tuple[Mapping[str, Any], str, str | None]:
    """The content of dataset.json, the name of the data set, and its reader where the images are there."""
    # An isinstance check of Dataset would import pydantic.
    if isinstance(dataset, Mapping):
        return dataset, dataset.get("name", "Dataset"), None
    return dataset.dataset_json, dataset.name, dataset.reader


def _memory_target(rules: Preset, memory_gb: float | None) -> float:
    target = rules.memory_gb if memory_gb is None else memory_gb
    if not target > 0:
        raise PlanError(f"The memory target is {target} GB; expected a positive number.")
    return target


def _provenance(rules: Preset, memory_gb: float, fingerprint: Fingerprint) -> dict[str, Any]:
    turned = {"orientation": fingerprint.orientation} if fingerprint.orientation else {}
    return {"preset": rules.name, "memory_gb": memory_gb, "fingerprint": fingerprint.hash, **turned}


def _configurations(
    spacing: Floats, median_shape: Floats, common: Common
) -> tuple[list[Configuration], list[Decision]]:
    """All configurations in nnU-Net's order, and why there are these."""
    voxels = float(np.prod(median_shape)) * common.cases
    flat, flat_decisions = plan_configuration(
        "2d", spacing.tolist()[1:], median_shape.tolist()[1:], voxels, common
    )
    flat = dataclasses.replace(flat, batch_dice=True)
    planned = _dimension_decision(median_shape, common)
    if median_shape[0] == 1:
        return [flat], [planned, *flat_decisions]
    full, full_decisions = plan_configuration(
        "3d_fullres", spacing.tolist(), median_shape.tolist(), voxels, common
    )
    low, low_decisions = plan_lowres(full, median_shape.tolist(), common)
    decisions = [planned, *flat_decisions, *full_decisions, *low_decisions]
    if low is None:
        return [flat, full], decisions
    # A patch that needs a cascade may hold no foreground at all; the Dice loss then sums over the batch.
    full = dataclasses.replace(full, batch_dice=True)
    low = dataclasses.replace(low, next_stage="3d_cascade_fullres")
    cascade = dataclasses.replace(full, name="3d_cascade_fullres", previous_stage="3d_lowres")
    return [flat, low, full, cascade], decisions


def _in_folder_of(order: Sequence[int], configuration: Configuration) -> Configuration:
    """The configuration with a folder that tells the order of its axes."""
    folder = f"{configuration.data_identifier}_axes{''.join(map(str, order))}"
    return dataclasses.replace(configuration, data_identifier=folder)


def _dimension_decision(median_shape: Floats, common: Common) -> Decision:
    return Decision(
        "dimensions",
        "2d" if median_shape[0] == 1 else "2d and 3d",
        "2d is always planned; 3d unless the median case is a single slice",
        {"median_shape": median_shape.tolist()},
        common.resources.source,
    )


def _median(rows: Sequence[Sequence[float]], order: Sequence[int]) -> tuple[float, ...]:
    return tuple(np.median(np.array(rows, dtype=float), 0)[list(order)].tolist())


def _channels(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """``modality`` is the name of the same entry in nnU-Net's first version."""
    channels: Mapping[str, Any] = _entry(about, "channel_names" if "channel_names" in about else "modality")
    return channels


def _entry(about: Mapping[str, Any], key: str) -> Any:
    if not isinstance(about.get(key), Mapping):
        raise PlanError(f"dataset.json has no {key!r} object. Add it; nnU-Net's dataset format describes it.")
    return about[key]


def _reader(about: Mapping[str, Any]) -> str:
    from autoseg.data.readers import reader_for

    ending = about.get("file_ending")
    if not isinstance(ending, str):
        raise PlanError(f"dataset.json has the file_ending {ending!r}; expected one such as '.nii.gz'.")
    return reader_for(ending, about.get("overwrite_image_reader_writer")).name
