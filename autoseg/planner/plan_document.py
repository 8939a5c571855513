"""What a plans document may hold: it comes from outside, so it is checked once, before anything is computed.

Foreign entries are let through. What autoseg and nnU-Net calculate with (sizes, spacings, orders, names of
folders) has its type and its bounds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, ValidationError, field_validator

from autoseg.errors import PlanError
from autoseg.names import name_problem, shown
from autoseg.planner.class_paths import check_class_paths

MOST_CONFIGURATIONS = 64
MOST_CHANNELS = 4096
MOST_LISTED = 4
LARGEST_OF_NETWORK = 2**13
# What nnU-Net's networks take as numbers; a wrong one can show as late as in the first prediction.
_COUNTS = {
    *("n_stages", "features_per_stage", "kernel_sizes", "strides"),
    *("n_conv_per_stage", "n_conv_per_stage_decoder", "n_blocks_per_stage"),
}

Millimetres = Annotated[float, Field(gt=0, lt=1e5, allow_inf_nan=False)]
Voxels = Annotated[StrictInt, Field(ge=1, le=2**20)]
Extent = Annotated[float, Field(ge=0, lt=2**24, allow_inf_nan=False)]
DottedPath = Annotated[str, Field(max_length=300, pattern=r"^[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)*$")]


class _Architecture(BaseModel):
    model_config = ConfigDict(extra="allow")

    network_class_name: DottedPath
    arch_kwargs: dict[str, Any]
    kw_requires_import: list[str] = Field(alias="_kw_requires_import")

    @field_validator("arch_kwargs")
    @classmethod
    def _within_bounds(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Numbers of a network are channels, sizes and rates: a huge one takes all memory at once."""
        for key in _COUNTS & value.keys():
            if not _is_counts(value[key]):
                raise ValueError(f"{key} is {shown(str(value[key]))}; expected whole numbers from 1 on")
        for number in _numbers(value):
            if not abs(number) <= LARGEST_OF_NETWORK:
                raise ValueError(
                    f"a network's numbers are at most {LARGEST_OF_NETWORK}, not {shown(str(number))}"
                )
        return value


class _Configuration(BaseModel):
    model_config = ConfigDict(extra="allow")

    spacing: list[Millimetres] = Field(min_length=2, max_length=3)
    patch_size: list[Voxels] = Field(min_length=2, max_length=3)
    batch_size: Annotated[StrictInt, Field(ge=1, le=100_000)]
    median_image_size_in_voxels: list[Extent] = Field(min_length=2, max_length=3)
    normalization_schemes: list[str] = Field(min_length=1, max_length=MOST_CHANNELS)
    use_mask_for_norm: list[StrictBool]
    architecture: _Architecture
    batch_dice: StrictBool
    data_identifier: str
    preprocessor_name: str
    previous_stage: str | None = None
    next_stage: str | None = None

    @field_validator("data_identifier")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        return _file_name(value)


class _Own(BaseModel):
    model_config = ConfigDict(extra="allow")

    decisions: list[dict[str, Any]] = []
    provenance: dict[str, Any] = {}


class _Plan(BaseModel):
    model_config = ConfigDict(extra="allow")

    dataset_name: str
    plans_name: str
    transpose_forward: list[StrictInt] = Field(min_length=2, max_length=3)
    original_median_spacing_after_transp: list[Millimetres] = Field(min_length=2, max_length=3)
    original_median_shape_after_transp: list[Extent] = Field(min_length=2, max_length=3)
    image_reader_writer: str
    configurations: dict[str, dict[str, Any]] = Field(min_length=1, max_length=MOST_CONFIGURATIONS)
    foreground_intensity_properties_per_channel: dict[str, dict[str, float]]
    experiment_planner_used: str
    label_manager: str = "LabelManager"
    autoseg: _Own = _Own()

    @field_validator("dataset_name", "plans_name")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        return _file_name(value)

    @field_validator("transpose_forward")
    @classmethod
    def _is_an_order(cls, value: list[int]) -> list[int]:
        if sorted(value) != list(range(len(value))):
            raise ValueError(f"expected every axis once, such as {list(range(len(value)))}")
        return value


def check_plan(document: Any) -> None:
    """Check a plans document without its configurations.

    Raises:
        PlanError: listing what is wrong, with the values found.
    """
    _check(_Plan, document, "The plan")
    for name, entry in document["configurations"].items():
        parent = entry.get("inherits_from", "")
        if not isinstance(parent, str):
            raise PlanError(
                f"The configuration {name!r} of the plan inherits from {shown(str(parent))}, no name. "
                f"Correct the file."
            )
        if problem := name_problem(name):
            raise PlanError(f"The name of the configuration {shown(name)} {problem}. Correct the file.")


def check_configuration(name: str, entry: Mapping[str, Any]) -> None:
    """Check a configuration whose inheritance is resolved.

    Raises:
        PlanError: listing what is wrong, with the values found.
    """
    _check(_Configuration, dict(entry), f"The configuration {name!r} of the plan")
    check_class_paths(name, entry["architecture"])
    axes, spacings = len(entry["patch_size"]), len(entry["spacing"])
    if axes != spacings:
        raise PlanError(
            f"The configuration {name!r} of the plan has a patch of {axes} axes and a spacing of {spacings}. "
            f"Both need 2 axes, or both 3. Correct the file."
        )
    schemes, masks = len(entry["normalization_schemes"]), len(entry["use_mask_for_norm"])
    if schemes != masks:
        raise PlanError(
            f"The configuration {name!r} of the plan has {schemes} normalization_schemes and {masks} entries "
            f"in use_mask_for_norm. Each channel needs one of both. Correct the file."
        )


def _is_counts(value: Any) -> bool:
    """Whether it is a whole number from 1 on, or a list of such, or of lists of such."""
    if isinstance(value, list):
        return bool(value) and all(_is_counts(each) for each in value)
    return type(value) is int and value >= 1


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(each)


def _file_name(value: str) -> str:
    if problem := name_problem(value):
        raise ValueError(f"the name {problem}")
    return value


def _check(model: type[BaseModel], document: Any, what: str) -> None:
    try:
        model.model_validate(document)
    except ValidationError as error:
        found = error.errors()
        lines = [_words(item) for item in found[:MOST_LISTED]]
        more = f" ({len(found) - MOST_LISTED} more)" if len(found) > MOST_LISTED else ""
        raise PlanError(
            f"{what} is not valid: {'; '.join(lines)}{more}. Give a plans file of autoseg or nnU-Net."
        ) from None


def _words(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the document"
    if item["type"] == "missing":
        return f"it has no entry {where!r}"
    message = re.sub(r"^Value error, ", "", item["msg"])
    return f"{where} is {shown(str(item['input']))}: {message[0].lower()}{message[1:]}"
