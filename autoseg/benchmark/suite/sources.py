"""What a suite says of things made elsewhere: data sets that are imported first, and results that join."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from autoseg import plugins
from autoseg.leaderboard.foreign.add import Addition


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _layout(name: str) -> str:
    known = ("auto", *plugins.available("layouts"))
    if name not in known and not name.endswith(".py"):
        raise ValueError(
            f"{name!r} is not a layout. Choose from {', '.join(known)}, or give the path of a Python file."
        )
    return name


class FromSource(BaseModel):
    """Where a data set is imported from, before anything else; see `autoseg import`.

    Attributes:
        source: a folder of another layout (relative to the suite's file); None: it is in the workspace.
        layout: the layout of the source: ``auto``, a name of ``autoseg list layouts``, or a Python file.
        options: options of that layout.
        labels: names of the label values in the source's files.
        label_suffix: BIDS: how label files end.
        channels: BIDS and DICOM: what makes up a case.
        resample: whether images on other grids are brought onto their label's.
        orientation: which position holds where a NIfTI header contradicts itself.
        link: symbolic links instead of copies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Path | None = None
    layout: Annotated[str, AfterValidator(_layout)] = "auto"
    labels: Annotated[tuple[tuple[str, int], ...], BeforeValidator(_pairs)] = ()
    label_suffix: str | None = None
    channels: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    resample: bool = False
    orientation: Literal["sform", "qform"] | None = None
    link: bool = False
    options: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_pairs)] = ()

    @model_validator(mode="after")
    def _only_with_a_source(self) -> FromSource:
        given = self.model_fields_set & set(FromSource.model_fields) - {"source"}
        if given and self.source is None:
            raise ValueError(f"{sorted(given)[0]} belongs to an import. Name its source too, source: FOLDER.")
        return self

    @property
    def given(self) -> dict[str, Any]:
        """What the import's job has to know; empty without one."""
        if self.source is None:
            return {}
        fields = self.model_dump(include=set(FromSource.model_fields) - {"options"})
        return {
            **fields,
            "source": str(self.source),
            "labels": dict(self.labels),
            "channels": list(self.channels),
            **({"options": dict(self.options)} if self.options else {}),
        }


def _as_entry(value: Any) -> Any:
    """``PATH`` or ``NAME=PATH``, as `autoseg leaderboard --add` takes it."""
    if not isinstance(value, str):
        return value
    parsed = Addition.parse(value)
    return {"path": parsed.path, "name": parsed.trainer}


class ForeignEntry(BaseModel):
    """Results made elsewhere.

    Attributes:
        path: a file or folder (relative to the suite's file).
        name: its row's name; None: what the file or its path says.
        dataset: a data set of the suite; None: the one that the path names, or the only one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    name: Annotated[str, Field(min_length=1)] | None = None
    dataset: str | None = None


def _entries(value: Any) -> Any:
    listed = [value] if isinstance(value, str | Mapping) else value
    return [_as_entry(item) for item in listed] if isinstance(listed, list | tuple) else listed


ForeignEntries = Annotated[tuple[ForeignEntry, ...], BeforeValidator(_entries)]
