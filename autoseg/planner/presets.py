"""Presets: settings of a planner that do not depend on the data.

The numbers are those of nnU-Net 2.8.1's planners (ExperimentPlanner, nnUNetPlannerResEncM/L/XL; Isensee et
al., Nature Methods 2021 and MICCAI 2024). A preset of one's own is a JSON file with the name of a preset to
start ``from`` and the fields that differ.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import PlanError, UsageError
from autoseg.system.files import read_json


@dataclass(frozen=True)
class Preset:
    """The inputs of the planner that do not depend on the data.

    Attributes:
        name: the preset's name.
        planner: nnU-Net's planner class with these numbers.
        plan_name: the name of the plans that come out.
        residual: a residual encoder (True) or a plain convolutional one.
        encoder_blocks: residual blocks or convolutions of each encoder stage, full resolution first.
        decoder_convolutions: convolutions of each decoder stage.
        memory_gb: GPU memory that the references stand for, and the target unless another is given.
        reference_2d: feature map values of a 2D network that uses this memory at `reference_batch_2d`.
        reference_3d: the same in 3D at `reference_batch_3d`.
        reference_batch_2d: samples.
        reference_batch_3d: samples.
        largest_share: the largest part of the data set's voxels that one batch may hold.
        smallest_batch: samples.
        base_features: channels of the first stage; each further stage has twice as many.
        most_features_2d: upper limit.
        most_features_3d: upper limit.
        shortest_edge: voxels that the coarsest feature maps keep along each axis.
        lowres_below: share of the median case that a 3D patch must see, else 3d_lowres is added.
    """

    name: str
    planner: str
    plan_name: str
    residual: bool
    encoder_blocks: tuple[int, ...]
    decoder_convolutions: tuple[int, ...]
    memory_gb: float
    reference_2d: int
    reference_3d: int
    largest_share: float
    reference_batch_2d: int = 12
    reference_batch_3d: int = 2
    smallest_batch: int = 2
    base_features: int = 32
    most_features_2d: int = 512
    most_features_3d: int = 320
    shortest_edge: int = 4
    lowres_below: float = 0.25

    @property
    def source(self) -> str:
        """Where the rules are from."""
        return f"nnU-Net 2.8.1 {self.planner}"

    def data_identifier(self, configuration: str, plan_name: str) -> str:
        """Name of the folder of preprocessed cases.

        The residual planners resample to the same grids as the default one in 2d and 3d_fullres, so they
        share its folders.
        """
        shared = self.residual and configuration in ("2d", "3d_fullres")
        return f"{DEFAULT.plan_name if shared else plan_name}_{configuration}"


DEFAULT = Preset(
    name="nnunet",
    planner="ExperimentPlanner",
    plan_name="nnUNetPlans",
    residual=False,
    encoder_blocks=(2,) * 14,
    decoder_convolutions=(2,) * 13,
    memory_gb=8,
    reference_2d=85_000_000,
    reference_3d=560_000_000,
    largest_share=0.05,
)

_RESIDUAL_M = Preset(
    name="nnunet_resenc_m",
    planner="nnUNetPlannerResEncM",
    plan_name="nnUNetResEncUNetMPlans",
    residual=True,
    encoder_blocks=(1, 3, 4, *(6,) * 10),
    decoder_convolutions=(1,) * 12,
    memory_gb=8,
    reference_2d=135_000_000,
    reference_3d=680_000_000,
    largest_share=1,
)

_RESIDUAL_L = dataclasses.replace(
    _RESIDUAL_M,
    name="nnunet_resenc_l",
    planner="nnUNetPlannerResEncL",
    plan_name="nnUNetResEncUNetLPlans",
    memory_gb=24,
    reference_2d=380_000_000,
    reference_3d=2_100_000_000,
)

_RESIDUAL_XL = dataclasses.replace(
    _RESIDUAL_M,
    name="nnunet_resenc_xl",
    planner="nnUNetPlannerResEncXL",
    plan_name="nnUNetResEncUNetXLPlans",
    memory_gb=40,
    reference_2d=560_000_000,
    reference_3d=3_600_000_000,
)

PRESETS = {preset.name: preset for preset in (DEFAULT, _RESIDUAL_M, _RESIDUAL_L, _RESIDUAL_XL)}


def find_preset(name: str) -> Preset:
    """A preset by its name, or from a JSON file.

    Raises:
        UsageError: if there is none of that name.
        PlanError: if the file is not a preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name.endswith(".json"):
        return _from_file(Path(name))
    raise UsageError(
        f"There is no preset {name!r}. Choose one of {', '.join(PRESETS)}, or give the path of a JSON file."
    )


def _from_file(path: Path) -> Preset:
    document = read_json(path, PlanError)
    known = {field.name for field in dataclasses.fields(Preset)}
    if not isinstance(document, dict) or document.get("from") not in PRESETS:
        raise PlanError(f"{path} must be an object that names a preset under 'from': {', '.join(PRESETS)}.")
    changes: dict[str, Any] = {key: value for key, value in document.items() if key != "from"}
    if unknown := sorted(set(changes) - known):
        raise PlanError(f"{path} has unknown fields {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return dataclasses.replace(PRESETS[document["from"]], **({"name": path.stem} | changes))
