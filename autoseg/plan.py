"""Plans: data only, in nnU-Net's own format.

A plan that is written here is a plan that stock nnU-Net reads; what autoseg knows beyond that format (its
decisions and where they come from) lies under one further key, ``autoseg``, that nnU-Net ignores. Plans that
nnU-Net wrote (2.5 and later) are read as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg.errors import PlanError
from autoseg.files import read_json, write_json

RESAMPLING_KEYS = (
    "resampling_fn_data",
    "resampling_fn_seg",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg_kwargs",
    "resampling_fn_probabilities",
    "resampling_fn_probabilities_kwargs",
)

# Left out of a comparison between a configuration and the one it may be derived from.
_OWN_OF_A_STAGE = {"name": "", "previous_stage": None, "next_stage": None}


@dataclass(frozen=True)
class ArchitectureSpec:
    """The network of a configuration.

    Attributes:
        class_path: dotted path of the network's class.
        kwargs: its keyword arguments as JSON values, without input channels and number of heads.
        requires_import: names of keyword arguments whose values are dotted paths.
    """

    class_path: str
    kwargs: Mapping[str, Any]
    requires_import: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """nnU-Net's ``architecture`` entry."""
        return {
            "network_class_name": self.class_path,
            "arch_kwargs": _plain(self.kwargs),
            "_kw_requires_import": list(self.requires_import),
        }


@dataclass(frozen=True)
class Configuration:
    """One way to preprocess the data and to train on them.

    Attributes:
        name: ``2d``, ``3d_fullres``, ``3d_lowres`` or ``3d_cascade_fullres``.
        spacing: target spacing in mm, axes in the plan's transposed order; two axes for ``2d``.
        patch_size: voxels, same axes.
        batch_size: samples per training step.
        median_shape: median shape of the resampled cases, voxels; can be half-integral as a median is.
        normalization: nnU-Net's scheme for each channel.
        use_mask_for_norm: for each channel, whether only the nonzero part is normalised.
        architecture: the network.
        batch_dice: whether the Dice loss sums over the batch before it divides.
        data_identifier: folder of the preprocessed cases.
        preprocessor: nnU-Net's preprocessor class.
        resampling: the six ``resampling_fn_*`` entries of nnU-Net's plan.
        previous_stage: the configuration whose segmentations are further input.
        next_stage: the configuration that takes this one's segmentations.
        extra: entries of a foreign plan that have no meaning here; written back as they were.
    """

    name: str
    spacing: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    median_shape: tuple[float, ...]
    normalization: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    architecture: ArchitectureSpec
    batch_dice: bool
    data_identifier: str
    preprocessor: str
    resampling: Mapping[str, Any]
    previous_stage: str | None = None
    next_stage: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        """2 or 3: the axes of a patch."""
        return len(self.patch_size)

    def to_json(self) -> dict[str, Any]:
        """nnU-Net's entry for this configuration, in full."""
        entry = {
            "data_identifier": self.data_identifier,
            "preprocessor_name": self.preprocessor,
            "batch_size": self.batch_size,
            "patch_size": list(self.patch_size),
            "median_image_size_in_voxels": list(self.median_shape),
            "spacing": list(self.spacing),
            "normalization_schemes": list(self.normalization),
            "use_mask_for_norm": list(self.use_mask_for_norm),
            **{key: _plain(self.resampling[key]) for key in RESAMPLING_KEYS},
            "architecture": self.architecture.to_json(),
            "batch_dice": self.batch_dice,
            **_plain(self.extra),
        }
        stages = {"previous_stage": self.previous_stage, "next_stage": self.next_stage}
        return entry | {key: stage for key, stage in stages.items() if stage is not None}

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> Configuration:
        """Read a configuration whose inheritance is resolved.

        Raises:
            PlanError: if an entry is missing.
        """
        rest = dict(entry)
        rest.pop("inherits_from", None)
        if "UNet_class_name" in rest:
            raise PlanError(
                f"The configuration {name!r} is in the plan format of nnU-Net before 2.5 "
                f"(UNet_class_name instead of architecture). Plan the data set again."
            )
        try:
            network = rest.pop("architecture")
            return cls(
                name=name,
                spacing=tuple(rest.pop("spacing")),
                patch_size=tuple(rest.pop("patch_size")),
                batch_size=rest.pop("batch_size"),
                median_shape=tuple(rest.pop("median_image_size_in_voxels")),
                normalization=tuple(rest.pop("normalization_schemes")),
                use_mask_for_norm=tuple(rest.pop("use_mask_for_norm")),
                architecture=ArchitectureSpec(
                    network["network_class_name"], network["arch_kwargs"], tuple(network["_kw_requires_import"])
                ),
                batch_dice=rest.pop("batch_dice"),
                data_identifier=rest.pop("data_identifier"),
                preprocessor=rest.pop("preprocessor_name"),
                resampling={key: rest.pop(key) for key in RESAMPLING_KEYS},
                previous_stage=rest.pop("previous_stage", None),
                next_stage=rest.pop("next_stage", None),
                extra=rest,
            )
        except KeyError as missing:
            raise PlanError(
                f"The configuration {name!r} has no entry {missing}. Plan the data set again, or complete the file."
            ) from None


@dataclass(frozen=True)
class Decision:
    """One choice of the planner, for whoever wants to know why.

    Attributes:
        name: what was decided, such as ``3d_fullres.patch_size``.
        value: the outcome.
        rule: one plain sentence, with its thresholds.
        inputs: the numbers that the rule was applied to.
        source: where the rule comes from.
    """

    name: str
    value: Any
    rule: str
    inputs: Mapping[str, Any]
    source: str

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


@dataclass(frozen=True)
class Plan:
    """How a data set is preprocessed and what is trained on it.

    Attributes:
        dataset: the data set's name.
        name: the plan's name, which is also its file's name.
        transpose: order in which the axes of a raw array are taken.
        original_median_spacing: mm, before resampling, in the transposed order.
        original_median_shape: voxels after the crop, before resampling, in the transposed order.
        image_reader_writer: nnU-Net's reader class.
        configurations: by name, inheritance resolved.
        intensities: foreground intensities for each channel (key ``"0"``, ``"1"``, ...).
        planner: nnU-Net's planner class with the same rules.
        label_manager: nnU-Net's label manager class.
        decisions: why the plan is as it is.
        provenance: preset, memory target, fingerprint and version that it was made with.
        extra: entries of a foreign plan that have no meaning here; written back as they were.
    """

    dataset: str
    name: str
    transpose: tuple[int, ...]
    original_median_spacing: tuple[float, ...]
    original_median_shape: tuple[int, ...]
    image_reader_writer: str
    configurations: Mapping[str, Configuration]
    intensities: Mapping[str, Mapping[str, float]]
    planner: str
    label_manager: str = "LabelManager"
    decisions: tuple[Decision, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def transpose_backward(self) -> tuple[int, ...]:
        """The order that undoes `transpose`."""
        return tuple(self.transpose.index(axis) for axis in range(len(self.transpose)))

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name.

        Raises:
            PlanError: if the plan has none; the message lists what there is.
        """
        try:
            return self.configurations[name]
        except KeyError:
            raise PlanError(
                f"The plan {self.name} of {self.dataset} has no configuration {name!r}. "
                f"Choose one of {', '.join(self.configurations)}."
            ) from None

    def to_json(self) -> dict[str, Any]:
        """nnU-Net's plans document, with ``autoseg`` as a further key."""
        own = {"decisions": [each.to_json() for each in self.decisions], "provenance": _plain(self.provenance)}
        return {
            "dataset_name": self.dataset,
            "plans_name": self.name,
            "original_median_spacing_after_transp": list(self.original_median_spacing),
            "original_median_shape_after_transp": list(self.original_median_shape),
            "image_reader_writer": self.image_reader_writer,
            "transpose_forward": list(self.transpose),
            "transpose_backward": list(self.transpose_backward),
            "configurations": {name: self._entry(each) for name, each in self.configurations.items()},
            "experiment_planner_used": self.planner,
            "label_manager": self.label_manager,
            "foreground_intensity_properties_per_channel": _plain(self.intensities),
            **_plain(self.extra),
            **({"autoseg": own} if self.decisions or self.provenance else {}),
        }

    def _entry(self, configuration: Configuration) -> dict[str, Any]:
        """A later stage that differs from another configuration in nothing else only refers to it."""
        if configuration.previous_stage is not None and configuration.next_stage is None:
            alone = dataclasses.replace(configuration, **_OWN_OF_A_STAGE)
            for other in self.configurations.values():
                if other.previous_stage is None and alone == dataclasses.replace(other, **_OWN_OF_A_STAGE):
                    return {"inherits_from": other.name, "previous_stage": configuration.previous_stage}
        return configuration.to_json()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Read a plans document of autoseg or of nnU-Net.

        Raises:
            PlanError: if an entry is missing or inheritance goes in a circle.
        """
        rest = dict(document)
        own = rest.pop("autoseg", {})
        rest.pop("transpose_backward", None)
        try:
            entries = rest.pop("configurations")
            return cls(
                dataset=rest.pop("dataset_name"),
                name=rest.pop("plans_name"),
                transpose=tuple(rest.pop("transpose_forward")),
                original_median_spacing=tuple(rest.pop("original_median_spacing_after_transp")),
                original_median_shape=tuple(rest.pop("original_median_shape_after_transp")),
                image_reader_writer=rest.pop("image_reader_writer"),
                configurations={
                    name: Configuration.from_json(name, _resolved(name, entries)) for name in entries
                },
                intensities=rest.pop("foreground_intensity_properties_per_channel"),
                planner=rest.pop("experiment_planner_used"),
                label_manager=rest.pop("label_manager", "LabelManager"),
                decisions=tuple(Decision(**each) for each in own.get("decisions", ())),
                provenance=own.get("provenance", {}),
                extra=rest,
            )
        except KeyError as missing:
            raise PlanError(f"The plan has no entry {missing}. Give a plans file of autoseg or nnU-Net.") from None

    def save(self, path: Path) -> None:
        """Write the plans document, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plans document.

        Raises:
            PlanError: if the file is missing, is no JSON or is no plan.
        """
        return cls.from_json(read_json(path, PlanError))


def _resolved(name: str, entries: Mapping[str, Any], visited: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entry of a configuration with everything it inherits."""
    if name in visited:
        raise PlanError(f"Configurations inherit in a circle: {' -> '.join((*visited, name))}. Correct the file.")
    if name not in entries:
        raise PlanError(f"{visited[-1]!r} inherits from {name!r}, which the plan does not have. Correct the file.")
    entry = dict(entries[name])
    parent = entry.pop("inherits_from", None)
    return entry if parent is None else _resolved(parent, entries, (*visited, name)) | entry


def _plain(value: Any) -> Any:
    """The value in JSON's own types: string keys, lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
