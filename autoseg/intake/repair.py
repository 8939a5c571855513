"""A repaired copy of a raw data set: what can be mended without a guess is, and everything is listed.

| found | in the copy |
|---|---|
| a label whose values are whole but for rounding | whole numbers, of an integer type |
| a label of 0 and 255 where 0 and 1 are declared | 1 for 255 |
| labels that are declared with gaps, such as 0 and 255 | 0, 1, 2, ... in dataset.json and in every label |
| a label along other axes than its image, in the same place | turned, without loss |
| cases stored along other axes than most | image and label turned as the others are |
| NaN and infinity in an image | 0, as training reads them |
| lengths in another unit than mm | mm |
| a file of several channels in four dimensions | a file for each channel |
| numTraining, regions_class_order | the right ones |
| hidden files | left out |

All else is copied as it is, for a person to decide. The data set itself is only read.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autoseg.data.dataset import Case, Dataset, load_dataset
from autoseg.data.orientation import code_of, directions_of, most_common, stored_otherwise
from autoseg.data.readers import read_file
from autoseg.data.region_order import working_order
from autoseg.errors import DataError, UsageError
from autoseg.intake.renumbering import new_numbers, write_renumbered
from autoseg.intake.repair_files import FileRepair, repair_file
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import Finding, VerifyReport
from autoseg.system import progress
from autoseg.system.files import atomic_folder, read_json, temporary_folder, write_json

RECORD = "repairs.json"
# Findings about single files, and how each is mended.
_BY_CODE: Mapping[str, str] = {
    "label_rounded": "whole",
    "label_undeclared": "black_and_white",
    "label_direction_mismatch": "turn_onto_image",
    "not_finite": "finite",
    "four_dimensions": "split",
}


@dataclass(frozen=True)
class Repair:
    """One thing that was mended: the file, from the data set's folder, and what was done."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


@dataclass(frozen=True)
class Repaired:
    """What came of it.

    Attributes:
        root: the copy.
        repairs: what was mended.
        report: what verification finds in the copy.
    """

    root: Path
    repairs: tuple[Repair, ...]
    report: VerifyReport


def write_repaired(root: Path, output: Path, workers: int | None = None) -> Repaired:
    """Write a repaired copy of a data set, whole or not at all, and verify it.

    Args:
        root: the raw folder; only read.
        output: the folder of the copy, which must not be there yet.
        workers: processes that verify.

    Raises:
        DataError: if dataset.json cannot be read, or the data set lists files outside its folder.
        UsageError: if the output is there, or lies in the data set.
    """
    root, output = root.resolve(), output.absolute()
    if output.exists():
        raise UsageError(f"{output} is there already. Give a folder that is not.")
    if output.resolve().is_relative_to(root):
        raise UsageError(f"{output} lies in the data set. Give a folder outside {root}.")
    with ExitStack() as stack:
        repairs: list[Repair] = []
        if numbers := new_numbers(root):
            # Verification reads no data set whose labels are numbered with gaps.
            name = output.with_name(f"{output.name}.renumbered")
            renumbered = stack.enter_context(temporary_folder(name))
            repairs += [Repair(*each) for each in write_renumbered(root, numbers, renumbered)]
            root = renumbered
        dataset = load_dataset(root)
        _refuse_files_outside(dataset)
        report = verify(root, workers)
        with atomic_folder(output) as partial:
            repairs += _copy(dataset, report, partial)
            write_json(partial / RECORD, [asdict(each) for each in repairs])
    return Repaired(output, tuple(repairs), verify(output, workers))


def _refuse_files_outside(dataset: Dataset) -> None:
    for case in dataset.cases:
        for path in (*case.images, *([case.label] if case.label else [])):
            if not path.absolute().is_relative_to(dataset.root):
                raise DataError(f"{path} lies outside {dataset.root}, which is copied. Import the data set.")


def _copy(dataset: Dataset, report: VerifyReport, target: Path) -> list[Repair]:
    """Copy every file, mended where that is known."""
    plans = _plans(dataset, report)
    repairs = []
    files = [path for path in sorted(dataset.root.rglob("*")) if path.is_file()]
    with progress.stage("Repair", len(files)) as advance:
        for path in files:
            name = path.relative_to(dataset.root)
            if any(part.startswith(".") for part in name.parts):
                repairs.append(Repair(str(name), "left out, as a hidden file"))
            elif name == Path("dataset.json"):
                repairs += _document(dataset, report, target / name)
            elif path in plans:
                repairs += [Repair(str(name), done) for done in repair_file(plans[path], target / name)]
            else:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / name)
            advance()
    return repairs


def _plans(dataset: Dataset, report: VerifyReport) -> dict[Path, FileRepair]:
    """What is done to each file that has something to be mended."""
    found = defaultdict[Path, list[str]](list)
    for finding in report.findings:
        if finding.file and (step := _BY_CODE.get(finding.code)) and _applies(finding, dataset):
            found[Path(finding.file)].append(step)
    axes = _common_axes(dataset, report)
    plans: dict[Path, FileRepair] = {}
    units = any(finding.code == "other_unit" for finding in report.findings)
    for case in dataset.cases:
        turned = axes and _needs_turning(dataset, case, axes[1])
        for path in (*case.images, *([case.label] if case.label else [])):
            steps = [*found.get(path, ())]
            steps += ["millimetres"] if units and "millimetres" not in steps else []
            steps += ["store_as_others"] if turned else []
            if steps:
                is_label = path == case.label
                plans[path] = FileRepair(
                    path, tuple(steps), is_label, case.images[0], axes[0] if turned and axes else ""
                )
    return plans


def _applies(finding: Finding, dataset: Dataset) -> bool:
    """Whether a finding is of the kind that leaves no choice."""
    if finding.code == "label_undeclared":
        return "instead of 255" in finding.remedy and set(dataset.labels.all_values) == {0, 1}
    return True


def _common_axes(dataset: Dataset, report: VerifyReport) -> tuple[str, Any] | None:
    """Along which axes most cases are stored, in letters and as vectors, where not all are."""
    if not any(finding.code == "mixed_orientation" for finding in report.findings):
        return None
    known = [found for case in dataset.cases if (found := _directions(dataset, case)) is not None]
    common = most_common(known)
    return code_of(common), common


def _needs_turning(dataset: Dataset, case: Case, common: Any) -> bool:
    own = _directions(dataset, case)
    return own is not None and stored_otherwise(own, common)


def _directions(dataset: Dataset, case: Case) -> Any:
    try:
        return directions_of(read_file(case.images[0], dataset.reader))
    except DataError:  # verification has named it
        return None


def _document(dataset: Dataset, report: VerifyReport, target: Path) -> list[Repair]:
    """dataset.json, with what verification says is right."""
    document = read_json(dataset.root / "dataset.json")
    done = []
    for finding in report.findings:
        mend = _MENDS.get(finding.code)
        if mend is not None and (what := mend(document, dataset)):
            done.append(Repair("dataset.json", what))
    write_json(target, document)
    return done


def _count(document: dict[str, Any], dataset: Dataset) -> str:
    before, document["numTraining"] = document.get("numTraining"), len(dataset.cases)
    return f"numTraining {before!r} to {len(dataset.cases)}"


def _order(document: dict[str, Any], dataset: Dataset) -> str:
    found = working_order(dataset.labels)
    if found is None:
        return ""
    regions, order = found
    rest = [name for name in document["labels"] if name not in regions]
    document["labels"] = {name: document["labels"][name] for name in (*rest, *regions)}
    before, document["regions_class_order"] = document.get("regions_class_order"), list(order)
    return f"regions_class_order {before} to {list(order)}"


_MENDS: Mapping[str, Callable[[dict[str, Any], Dataset], str]] = {
    "num_training": _count,
    "region_order": _order,
}
# Findings of which at least some are mended.
MENDED = frozenset({*_BY_CODE, *_MENDS})
