"""What an import of DICOM says: notes without a word on patients or paths, and remarks that name files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from autoseg.data.dicom import Found, LeftOut, Stack
from autoseg.intake.incoming import some

# Two volumes whose slices touch, one between the other's slices, look as slices twice as thick as their step.
_OVERLAP = 1.9


def notes_on(found: Found, stacks: Sequence[Stack]) -> list[str]:
    """What was done to the series that are taken; stands in the record."""
    notes = []
    if found.copies:
        notes.append(
            f"{found.copies} frames are copies of others (the same object in two files) and are dropped."
        )
    if tilted := [stack.placing.tilt_mm for stack in stacks if stack.placing.sideways]:
        notes.append(
            f"{len(tilted)} series lie tilted (the gantry's), up to {max(tilted):.3g} mm from first to last "
            f"slice. They are resampled onto upright grids, each slice within its own plane."
        )
    if uneven := [stack for stack in stacks if not stack.placing.even]:
        more = sum(stack.placing.shape[0] - len(stack.frames) for stack in uneven)
        notes.append(
            f"{len(uneven)} series have uneven distances between slices. They are interpolated onto even "
            f"ones ({more:+d} slices)."
        )
    folders = {folder for stack in stacks for folder in stack.folders}
    if broken := sum(each.broken and each.path.parent in folders for each in found.left_out):
        notes.append(
            f"{broken} files beside slices are empty, cut off or damaged; where they were the first or last "
            f"of a series, it is short by them."
        )
    if parts := sum(bool(stack.part) for stack in stacks):
        kinds = some(sorted({stack.part for stack in stacks if stack.part}), 6)
        notes.append(f"Some series hold several volumes ({kinds}); each of the {parts} is one of its own.")
    notes += _overlapping(stacks)
    if inverted := sum(stack.header.inverted for stack in stacks):
        notes.append(
            f"{inverted} series are stored with white as the least value (MONOCHROME1) and are turned round."
        )
    return notes


def _overlapping(stacks: Sequence[Stack]) -> list[str]:
    """Slices that lie half over each other: so reconstructed, or time points of which no header says so."""
    found = [
        (stack, thickness, stack.placing.spacing[0])
        for stack in stacks
        if len(stack.frames) > 2 and (thickness := stack.frames[0].thickness)
        if thickness >= _OVERLAP * stack.placing.spacing[0] > 0
    ]
    if not found:
        return []
    _, thick, step = found[0]
    return [
        f"{len(found)} series have slices that overlap ({thick:.3g} mm thick, {step:.3g} mm apart) and are "
        f"taken for one volume each. If every second slice is of another time point, of which the headers "
        f"say nothing, import each time point from a source of its own."
    ]


def note_on_channels(stacks: Sequence[Stack]) -> list[str]:
    """Whether series that are cases of their own may be the channels of one; no name of one is told."""
    kinds: dict[str, set[str]] = {}
    for stack in stacks:
        kinds.setdefault(stack.header.study, set()).add(stack.header.description)
    several = sum(len(names) > 1 for names in kinds.values())
    if 2 * several <= len(kinds):
        return []
    return [
        f"{several} of {len(kinds)} exams have series of several descriptions, each of which is a case of "
        f"its own. If they are channels of one case, such as T1 and FLAIR, say so: --channels NAME,NAME"
    ]


def remarks_on(left_out: Sequence[LeftOut], source: Path) -> list[str]:
    """What was left out, by reason, with some of the files; for the terminal alone."""
    by_reason: dict[str, list[Path]] = {}
    for each in left_out:
        by_reason.setdefault(each.reason, []).append(each.path.relative_to(source))
    return [
        f"{len(paths)} x {reason}: {some([_name(path) for path in paths])}"
        for reason, paths in by_reason.items()
    ]


def _name(path: Path) -> str:
    """A path as a terminal can show it, whatever bytes a foreign disk has in it."""
    return "".join(c if c.isprintable() else "?" for c in str(path).encode("utf-8", "replace").decode())


def reasons_of(left_out: Sequence[LeftOut]) -> Mapping[Path, str]:
    """File to the reason that it is left out."""
    return {each.path: each.reason for each in left_out}
