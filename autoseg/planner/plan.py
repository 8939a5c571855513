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
from autoseg.planner.configuration import ArchitectureSpec, Configuration, plain
from autoseg.planner.training_spec import TrainingSpec
from autoseg.system.files import read_json, write_json

__all__ = ["ArchitectureSpec", "Configuration", "Decision", "Plan"]


@dataclass(frozen=True)
class Decision:
    """One choice of the planner, with its reason.

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
        return {item.name: plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


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
        training: the one training that it is made for; None: it is made for none, or by nnU-Net.
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
    training: TrainingSpec | None = None
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

    def require_training(self) -> TrainingSpec:
        """The training that the plan is made for.

        Raises:
            PlanError: if it is made for none.
        """
        if self.training is None:
            raise PlanError(
                f"The plan {self.name} of {self.dataset} is made for no trainer. "
                f"Make one: autoseg plan {self.dataset} --trainer NAME."
            )
        return self.training

    def trained_configuration(self) -> Configuration:
        """The configuration that is trained.

        Raises:
            PlanError: if the plan is made for no training, or has no such configuration.
        """
        name = self.require_training().configuration
        return self.configuration(name or next(iter(self.configurations), ""))

    def to_json(self) -> dict[str, Any]:
        """nnU-Net's plans document, with ``autoseg`` as a further key."""
        provenance = plain(self.provenance)
        if self.training is not None:
            provenance["training"] = self.training.to_json()
            if self.training.configuration is not None:
                provenance["configuration"] = self.training.configuration
        own = {"decisions": [each.to_json() for each in self.decisions], "provenance": provenance}
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
            "foreground_intensity_properties_per_channel": plain(self.intensities),
            **plain(self.extra),
            **({"autoseg": own} if self.decisions or provenance else {}),
        }

    def _entry(self, configuration: Configuration) -> dict[str, Any]:
        """A later stage that differs from another configuration in nothing else only refers to it."""
        if configuration.previous_stage is not None and configuration.next_stage is None:
            for other in self.configurations.values():
                if other.previous_stage is None and _alone(other) == _alone(configuration):
                    return {"inherits_from": other.name, "previous_stage": configuration.previous_stage}
        return configuration.to_json()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Read a plans document of autoseg or of nnU-Net.

        Raises:
            PlanError: if an entry is missing or out of bounds, or inheritance goes in a circle.
        """
        # Brings pydantic, which a bundle has not: it reads no documents of plans.
        from autoseg.planner.plan_document import check_plan

        check_plan(document)
        rest = dict(document)
        own = rest.pop("autoseg", {})
        provenance = dict(own.get("provenance", {}))
        training = TrainingSpec.of_provenance(provenance)
        if training is not None:
            for key in ("training", "configuration"):
                provenance.pop(key, None)
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
                provenance=provenance,
                training=training,
                extra=rest,
            )
        except TypeError as problem:  # of a decision, whose entries are its arguments
            raise PlanError(f"autoseg.decisions of the plan: {problem}. Plan the data set again.") from None
        except KeyError as missing:
            raise PlanError(
                f"The plan has no entry {missing}. Give a plans file of autoseg or nnU-Net."
            ) from None

    def save(self, path: Path) -> None:
        """Write the plans document, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plans document.

        Raises:
            PlanError: if the file is missing, is not JSON or is not a plan.
        """
        return cls.from_json(read_json(path, PlanError))


def _alone(configuration: Configuration) -> Configuration:
    """A configuration without its name and its place in a cascade."""
    return dataclasses.replace(configuration, name="", previous_stage=None, next_stage=None)


def _resolved(name: str, entries: Mapping[str, Any], visited: tuple[str, ...] = ()) -> dict[str, Any]:
    """The entry of a configuration with everything it inherits."""
    if name in visited:
        raise PlanError(
            f"Configurations inherit in a circle: {' -> '.join((*visited, name))}. Correct the file."
        )
    if name not in entries:
        raise PlanError(
            f"{visited[-1]!r} inherits from {name!r}, which the plan does not have. Correct the file."
        )
    entry = dict(entries[name])
    parent = entry.pop("inherits_from", None)
    return entry if parent is None else _resolved(parent, entries, (*visited, name)) | entry
