"""Which folder becomes which case: how whoever has the source finds the patient of a pseudonym again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoseg.intake.incoming import Request
from autoseg.intake.layout import layout_named, recognise
from autoseg.intake.pseudonyms import Pseudonyms
from autoseg.workspace import Workspace


def list_cases(
    source: Path, workspace: Workspace, layout: str = "auto", request: Request | None = None
) -> dict[str, Path]:
    """The cases that an import makes, each with the folder of its first image; no data set is written.

    Args:
        source: the folder of a data set.
        workspace: by whose key pseudonyms are made; the key's file is made where it is missing.
        layout: ``auto``, or which one.
        request: options of the import.

    Raises:
        DataError: as the import does.
    """
    source = source.absolute()
    request = replace(request or Request(), pseudonyms=Pseudonyms(workspace.pseudonym_key))
    name = recognise(source)[0] if layout == "auto" else layout
    found = layout_named(name, request).read(source, request)
    cases = [case for _, cases in found.parts for case in cases]
    return {case.identifier: case.images[0].source.parent for case in cases}
