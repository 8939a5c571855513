"""One configuration of a plan, in nnU-Net's own format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoseg.errors import PlanError

RESAMPLING_KEYS = (
    "resampling_fn_data",
    "resampling_fn_seg",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg_kwargs",
    "resampling_fn_probabilities",
    "resampling_fn_probabilities_kwargs",
)


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
            "arch_kwargs": plain(self.kwargs),
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
            **{key: plain(self.resampling[key]) for key in RESAMPLING_KEYS},
            "architecture": self.architecture.to_json(),
            "batch_dice": self.batch_dice,
            **plain(self.extra),
        }
        stages = {"previous_stage": self.previous_stage, "next_stage": self.next_stage}
        return entry | {key: stage for key, stage in stages.items() if stage is not None}

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> Configuration:
        """Read a configuration whose inheritance is resolved.

        Raises:
            PlanError: if an entry is missing or out of bounds.
        """
        rest = dict(entry)
        rest.pop("inherits_from", None)
        if "UNet_class_name" in rest:
            raise PlanError(
                f"The configuration {name!r} is in the plan format of nnU-Net before 2.5 "
                f"(UNet_class_name instead of architecture). Plan the data set again."
            )
        # Brings pydantic, which a bundle has not: it reads no documents of plans.
        from autoseg.planner.plan_document import check_configuration

        check_configuration(name, rest)
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
                    network["network_class_name"],
                    network["arch_kwargs"],
                    tuple(network["_kw_requires_import"]),
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
                f"The configuration {name!r} has no entry {missing}. Plan the data set again, or "
                f"complete the file."
            ) from None


def plain(value: Any) -> Any:
    """A value in JSON's own types: string keys, lists for tuples."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


PERCENTILE = "PercentileZScoreNormalization"  # autoseg's own: nnU-Net learns of it in the trainers
