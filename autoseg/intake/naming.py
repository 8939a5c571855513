"""What an imported data set is called: nnU-Net wants a number before the name, one for each data set."""

from __future__ import annotations

import re

from autoseg.errors import UsageError
from autoseg.workspace import Workspace

# Smaller ones are those of the Decathlon and of other public data sets.
FIRST_FREE_NUMBER = 101


def full_name(name: str, workspace: Workspace) -> str:
    """The folder's name: as given with its number, that of an earlier import, or with the next free number.

    Raises:
        UsageError: for a name that is not a file name, or a number that another data set has.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        raise UsageError(f"{name!r} is not a name of a data set. Use letters, digits, - and _: Hippocampus.")
    folders = (workspace.raw, workspace.preprocessed, workspace.results)
    taken = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    numbers = {int(match[1]): each for each in sorted(taken) if (match := re.match(r"Dataset(\d+)_", each))}
    if match := re.fullmatch(r"Dataset(\d{3,})_.+", name):
        other = numbers.get(int(match[1]), name)
        if other != name:
            raise UsageError(
                f"The number {match[1]} is that of {other}. Choose another one, or --name {name[11:]}."
            )
        return name
    if name.startswith("Dataset"):
        raise UsageError(f"{name!r} is not a name of a data set. Write Dataset101_Name, or only Name.")
    for other in sorted(taken):
        if re.fullmatch(rf"Dataset\d+_{re.escape(name)}", other) and (workspace.raw / other).is_dir():
            return other
    number = next(n for n in range(FIRST_FREE_NUMBER, 10**6) if n not in numbers)
    return f"Dataset{number:03d}_{name}"
