"""False and missed alarms of what notices a training that goes astray, on the curves of real trainings.

    python benchmarks/bench_divergence.py FOLDER [FOLDER ...]

Every ``progress.csv`` below the folders is replayed through `autoseg.training.course.Course`, part by part,
as its trainer gave it: nothing may be said. Then faults are planted into the same curves at their start, in
their middle and at their end: a loss that rises above its start, one that stays where it began, a structure
that is found no more. Each has to be noticed; the table says after how many parts. Steps that are not finite
are counted, not judged, and have tests of their own (tests/trainers/test_divergence.py).
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from _machine import machine, write_results

from autoseg.training.course import FOUND_DICE, LEAST_STEPS, Course

NAME, LEAST_PARTS, VOXELS = "divergence", 10, 1000
# Of fewer steps a part nothing is said, for their losses differ by chance.
LEAST_STEPS_IN_ALL = LEAST_PARTS * LEAST_STEPS
# Parts of a training at which a fault begins.
PLACES = {"start": 0.1, "middle": 0.5, "end": 0.8}
RISE = 0.5


@dataclass(frozen=True)
class Part:
    """What one row of a curve says.

    Attributes:
        steps: of this part.
        loss: their mean.
        dice: of each structure; NaN where the patches hold nothing of it.
    """

    steps: int
    loss: float
    dice: tuple[float, ...]


def main() -> None:
    """Replay, plant, write."""
    where = machine()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="workspaces of trainings that have ended")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    paths = sorted({path for folder in options.folders for path in folder.rglob("progress.csv")})
    rows = [measured(path, parts) for path in paths if is_long(parts := read(path))]
    text = report(rows)
    print(text)
    if options.results:
        write_results(NAME, where, rows, text)


def is_long(parts: Sequence[Part]) -> bool:
    """Whether a training has enough parts and steps to say something of."""
    return len(parts) >= LEAST_PARTS and sum(part.steps for part in parts) >= LEAST_STEPS_IN_ALL


def read(path: Path) -> list[Part]:
    """The parts of a curve."""
    parts, before = [], 0
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            dice = tuple(float(value or "nan") for name, value in row.items() if name.startswith("dice "))
            step = int(float(row["step"]))
            parts.append(Part(step - before, float(row["train_loss"] or "nan"), dice))
            before = step
    return parts


def replayed(parts: Sequence[Part]) -> tuple[int, str] | None:
    """The first part at which something is said, and what; None: nothing is."""
    course = Course()
    for number, part in enumerate(parts):
        known = [0.0 if math.isnan(each) else each for each in part.dice]
        there = [not math.isnan(each) for each in part.dice]
        hits = [VOXELS * each for each in known]
        missed = [VOXELS * (1 - each) * held for each, held in zip(known, there, strict=True)]
        why = course.look(part.steps, part.loss, number / len(parts), hits, missed)
        course.note_dice(part.dice)
        if why:
            return number, why
    return (len(parts) - 1, f"the last look: {course.doubt}") if course.doubt else None


def planted(parts: Sequence[Part], fault: str, place: str) -> tuple[list[Part], int] | None:
    """The curve with a fault, and the part that it begins with; None where it cannot happen there."""
    begin = max(1, round(PLACES[place] * len(parts)))
    first = parts[0].loss
    if fault == "the loss rises":
        height = RISE * max(abs(first), RISE)
        lowest = min(part.loss for part in parts)
        return [
            replace(part, loss=part.loss - lowest + first + height) if number >= begin else part
            for number, part in enumerate(parts)
        ], begin
    if fault == "the loss does not fall":
        if place != "start":
            return None
        late = parts[len(parts) // 2 :]
        middle = sum(part.loss for part in late) / len(late)
        # The scatter of the second half about its mean, where the curve is nearly flat, around the start.
        scatter = [part.loss - middle for part in late]
        losses = [first, *(first + abs(scatter[number % len(scatter)]) for number in range(1, len(parts)))]
        return [replace(part, loss=loss) for part, loss in zip(parts, losses, strict=True)], 0
    found = [
        index
        for index in range(len(parts[0].dice))
        if any(part.dice[index] >= FOUND_DICE for part in parts[:begin])
    ]
    if not found:
        return None
    return [
        replace(part, dice=tuple(0.0 if index == found[0] else d for index, d in enumerate(part.dice)))
        if number >= begin
        else part
        for number, part in enumerate(parts)
    ], begin


FAULTS = ("the loss rises", "the loss does not fall", "a structure falls silent")


def measured(path: Path, parts: Sequence[Part]) -> dict[str, Any]:
    """One training: what is said of it, and of it with each fault."""
    dataset, trainer = path.parts[-4], path.parts[-3].split("__")[0]
    said = replayed(parts)
    faults = []
    for fault in FAULTS:
        for place in PLACES:
            if (made := planted(parts, fault, place)) is None:
                continue
            found = replayed(made[0])
            faults.append(
                {
                    "fault": fault,
                    "place": place,
                    "noticed_after": None if found is None else found[0] - made[1],
                    "words": "" if found is None else found[1],
                }
            )
    steps = sum(part.steps for part in parts)
    common = {"dataset": dataset, "trainer": trainer, "parts": len(parts), "steps": steps}
    return {**common, "said": "" if said is None else said[1], "faults": faults}


def report(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    false = [row for row in rows if row["said"]]
    lines = [
        "# Trainings that go astray: false and missed alarms",
        "",
        f"{len(rows)} trainings that were on their way, replayed: something was said of {len(false)}.",
        *(f"- {row['dataset']}, {row['trainer']}: {row['said']}" for row in false),
        "",
        "| data set | trainer | trainings | steps |",
        "|---|---|---|---|",
    ]
    kinds = sorted({(row["dataset"], row["trainer"]) for row in rows})
    for dataset, trainer in kinds:
        of = [row["steps"] for row in rows if (row["dataset"], row["trainer"]) == (dataset, trainer)]
        lines.append(f"| {dataset} | {trainer} | {len(of)} | {min(of)} to {max(of)} |")
    lines += ["", "The same curves with a fault planted:", ""]
    lines += [
        "| fault | begins at | planted | noticed | parts until then, median (most) |",
        "|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        for place, share in PLACES.items():
            of = [e for row in rows for e in row["faults"] if (e["fault"], e["place"]) == (fault, place)]
            if not of:
                continue
            after = [each["noticed_after"] for each in of if each["noticed_after"] is not None]
            delay = f"{median(after):g} ({max(after)})" if after else "-"
            begins = "the first step" if fault == FAULTS[1] else f"{share:.0%}"
            lines.append(f"| {fault} | {begins} | {len(of)} | {len(after)} | {delay} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
