"""What a fingerprint's file may hold: it is checked once, before anything is planned from it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError, model_validator

from autoseg.errors import DataError
from autoseg.names import shown

_MOST_LISTED: Final = 3
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Size = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
# The third spacing of a single slice, in nnU-Net's convention, is 999 times the larger of the others.
Spacing = Annotated[float, Field(strict=True, gt=0, lt=1e9, allow_inf_nan=False)]
Length = Annotated[StrictInt, Field(ge=1, le=2**20)]
Axes = Field(min_length=3, max_length=3)


class _Components(BaseModel):
    model_config = ConfigDict(extra="allow")

    per_case: Size = 0.0
    median_voxels: Size = 0.0
    median: Size = 0.0
    extent: Annotated[list[Size], Axes] | None = None


class _Structure(BaseModel):
    model_config = ConfigDict(extra="allow")

    cases: Annotated[StrictInt, Field(ge=0)] = 0
    voxels: Annotated[StrictInt, Field(ge=0)] = 0
    median_voxels: Size = 0.0
    min: Size = 0.0
    median: Size = 0.0
    max: Size = 0.0
    components: _Components | None = None


class _ClassSizes(BaseModel):
    model_config = ConfigDict(extra="allow")

    unit: StrictStr = ""
    structures: dict[str, _Structure] = {}
    voxels: dict[str, dict[str, Annotated[StrictInt, Field(ge=0)]]] = {}


class _Orientation(BaseModel):
    model_config = ConfigDict(extra="allow")

    codes: dict[str, Annotated[StrictInt, Field(ge=0)]] = {}
    directions: Annotated[list[Annotated[list[Number], Axes]], Axes] | None = None
    otherwise: Annotated[StrictInt, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> _Orientation:
        if self.model_fields_set and (self.directions is None or self.otherwise is None):
            raise ValueError("an orientation has the entries directions and otherwise")
        return self


class _Fingerprint(BaseModel):
    model_config = ConfigDict(extra="allow")

    spacings: list[Annotated[list[Spacing], Axes]] = Field(min_length=1)
    shapes_after_crop: list[Annotated[list[Length], Axes]] = Field(min_length=1)
    foreground_intensity_properties_per_channel: dict[
        Annotated[str, Field(pattern=r"^\d{1,4}$")], dict[str, Number]
    ] = Field(min_length=1)
    median_relative_size_after_cropping: Annotated[float, Field(strict=True, gt=0, le=1)]
    class_sizes: _ClassSizes = _ClassSizes()
    hash: StrictStr = ""
    orientation: _Orientation = _Orientation()

    @model_validator(mode="after")
    def _of_as_many_cases(self) -> _Fingerprint:
        spacings, shapes = len(self.spacings), len(self.shapes_after_crop)
        if spacings != shapes:
            raise ValueError(f"{spacings} spacings and {shapes} shapes_after_crop; each case has one of both")
        return self


def check_fingerprint(document: Any) -> None:
    """Check the content of a fingerprint's file, autoseg's or nnU-Net's.

    Raises:
        DataError: listing what is wrong, with the values found.
    """
    try:
        _Fingerprint.model_validate(document)
    except ValidationError as error:
        found = error.errors()
        more = f" ({len(found) - _MOST_LISTED} more)" if len(found) > _MOST_LISTED else ""
        raise DataError(
            f"The fingerprint is not valid: {'; '.join(map(_words, found[:_MOST_LISTED]))}{more}. Extract it "
            f"again: autoseg fingerprint."
        ) from None


def _words(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the document"
    if item["type"] == "missing":
        return f"it has no entry {where!r}"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{where} is {shown(str(item['input']))}: {item['msg'][0].lower()}{item['msg'][1:]}"
