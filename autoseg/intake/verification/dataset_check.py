"""Verification of a raw data set: every finding in one pass, each file read once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from autoseg.data.dataset import Case, Dataset, DatasetJsonError, GroupsError, load_dataset
from autoseg.data.readers import READERS
from autoseg.errors import DataError, RunError
from autoseg.intake.verification.case_checks import CaseCheck, check_case, read_case
from autoseg.intake.verification.findings import Finding, VerifyReport, error, warning
from autoseg.intake.verification.kept_checks import check_kept, check_one, store_of_checks, without_cases
from autoseg.intake.verification.label_checks import check_alike, check_regions
from autoseg.intake.verification.together import check_names, check_together
from autoseg.system import progress
from autoseg.system.workers import forked

__all__ = ["Finding", "VerifyReport", "check_case", "check_one", "read_case", "verify"]


def verify(
    dataset: Dataset | Path,
    workers: int | None = None,
    groups: Path | None = None,
    kept: Path | None = None,
) -> VerifyReport:
    """Look for everything that is wrong with a raw data set.

    Nothing that is wrong with the data raises: a broken dataset.json is a finding as a truncated image is.
    Nothing is written but what is kept.

    Args:
        dataset: a data set, or the folder of one.
        workers: processes; as many as there are processors if None.
        groups: a table of groups, where the folder is given.
        kept: a folder where what is found of each case is kept: only new and changed cases are read then.
    """
    findings: list[Finding] = []
    loaded = dataset if isinstance(dataset, Dataset) else _load(Path(dataset), groups, findings)
    if loaded is None:
        return VerifyReport(0, tuple(findings))
    findings += _check_files(loaded)
    checks = _check_cases(loaded, workers, kept)
    findings += [finding for check in checks for finding in check.findings]
    findings += _never_labelled(loaded, checks)
    findings += _ignored_intensities(loaded, checks)
    findings += _duplicates(loaded.cases, checks)
    findings += check_together(loaded, checks)
    findings.sort(key=lambda finding: finding.severity != "error")
    return VerifyReport(len(loaded.cases), tuple(findings))


def _load(root: Path, groups: Path | None, findings: list[Finding]) -> Dataset | None:
    """Load what can be loaded; what cannot is a finding."""
    path = root / "dataset.json"
    try:
        return load_dataset(root, groups)
    except DatasetJsonError as problem:
        for entry in problem.problems:
            findings.append(error("dataset_json", f"{entry.where} {entry.message}", entry.remedy, file=path))
    except GroupsError as problem:
        findings.append(error("groups", str(problem), "Correct the table of groups.", file=groups))
        return load_dataset(root, groups=False)
    except DataError as problem:
        remedy = "Give the folder that holds dataset.json, imagesTr and labelsTr."
        findings.append(error("dataset_json", str(problem), remedy, file=path))
    return None


def _check_files(dataset: Dataset) -> Iterator[Finding]:
    """What dataset.json and the names of the files say without any image."""
    path = dataset.root / "dataset.json"
    announced, found = dataset.dataset_json.get("numTraining"), len(dataset.cases)
    yield from check_names(dataset)
    if announced != found:
        message = f"numTraining is {announced!r}, but there are {found} cases."
        if announced == str(found):
            message = f"numTraining is the text {announced!r}, not the number {found}."
        remedy = f'Restore the missing cases, or write "numTraining": {found}; nnU-Net refuses the data else.'
        yield error("num_training", message, remedy, file=path)
    yield from check_regions(dataset)
    yield from check_alike(dataset)
    reader = dataset.dataset_json.get("overwrite_image_reader_writer") or "None"
    if reader not in (*READERS, "None"):
        message = (
            f"overwrite_image_reader_writer names {reader!r}, which is unknown; {dataset.reader} is used."
        )
        yield warning("unknown_reader", message, f"Write one of {', '.join(READERS)}.", file=path)
    if not dataset.dataset_json.get("dataset"):
        yield from _check_image_names(dataset)
        yield from _check_label_names(dataset)


def _check_image_names(dataset: Dataset) -> Iterator[Finding]:
    for path in _files(dataset.root / "imagesTr", dataset.file_ending):
        if path.name.startswith("."):
            message, remedy = "A hidden file is passed over.", "Delete it: nnU-Net takes it for a case."
            yield warning("hidden_file", message, remedy, file=path)
        elif not re.fullmatch(r".+_\d{4}", path.name.removesuffix(dataset.file_ending)):
            message = f"The name is not CASE_0000{dataset.file_ending}, with four digits for the channel."
            yield error("unexpected_name", message, "Rename the file, or move it elsewhere.", file=path)


def _check_label_names(dataset: Dataset) -> Iterator[Finding]:
    identifiers = {case.identifier for case in dataset.cases}
    for path in _files(dataset.root / "labelsTr", dataset.file_ending):
        name = path.name.removesuffix(dataset.file_ending)
        if name not in identifiers and not name.startswith("."):
            message = f"The label belongs to no image: imagesTr has no {name}_0000{dataset.file_ending}."
            remedy = "Restore the image, or move the label elsewhere."
            yield error("missing_image", message, remedy, case=name, file=path)


def _files(folder: Path, ending: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending)) if folder.is_dir() else []


def _check_cases(dataset: Dataset, workers: int | None, kept: Path | None) -> list[CaseCheck]:
    checks: list[CaseCheck] = []
    lone = without_cases(dataset)
    store = store_of_checks(lone, kept) if kept is not None else None
    with progress.stage("Verify", len(dataset.cases)) as advance:
        try:
            with forked(workers, len(dataset.cases)) as pool:
                for check in pool.map(check_kept, [(lone, case, store) for case in dataset.cases]):
                    checks.append(check)
                    advance()
        except RunError:
            # Some file makes a process die. With a process for each remaining case it can be named.
            for case in dataset.cases[len(checks) :]:
                checks.append(_check_alone(lone, case))
                advance()
    if store is not None:
        store.forget_others(dataset.cases)
    return checks


def _check_alone(dataset: Dataset, case: Case) -> CaseCheck:
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        try:
            return pool.submit(check_one, dataset, case).result()
        except BrokenProcessPool:
            message = (
                "The process that read this case ended without a word: too little memory, or a damaged file."
            )
            remedy = "Verify on a machine with more memory; if that fails too, restore the files of the case."
            file = next(iter(case.images), None)
            return CaseCheck((error("died", message, remedy, case=case.identifier, file=file),), None, {})


def _never_labelled(dataset: Dataset, checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    read = [check.labels for check in checks if check.labels is not None]
    present = frozenset[int]().union(*read)
    for name, values in dataset.labels.structures.items():
        if read and not present & set(values):
            listed = ", ".join(map(str, values))
            message = (
                f"The label {name!r} ({listed}) is declared, but none of {len(read)} label files has it."
            )
            remedy = "Check the label files; what never occurs cannot be learnt."
            yield warning("label_never_present", message, remedy, file=dataset.root / "dataset.json")


def _ignored_intensities(dataset: Dataset, checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    """CT is normalised by what is not background, and nnU-Net counts what is to be ignored to that."""
    ignored = sum(check.ignored[0] for check in checks)
    drawn = sum(check.ignored[1] for check in checks)
    if any(name.casefold() == "ct" for name in dataset.channels) and 2 * ignored > drawn:
        message = (
            f"Of the voxels that are not background, {ignored / drawn:.0%} are to be ignored. nnU-Net's plan "
            f"clips and normalises CT by the intensities of all of them, and so does the one here."
        )
        remedy = (
            "If what is ignored is air or bone beside soft tissue, normalise each image by itself: "
            "--trainers nnunet:normalization=percentile."
        )
        yield warning("ignored_intensities", message, remedy, file=dataset.root / "dataset.json")


def _duplicates(cases: Sequence[Case], checks: Sequence[CaseCheck]) -> Iterator[Finding]:
    seen: dict[str, list[tuple[str, str]]] = defaultdict(list)
    groups = {case.identifier: case.group for case in cases}
    for case, check in zip(cases, checks, strict=True):
        # Constant images are equal for another reason, which has its own finding.
        constant = {finding.file for finding in check.findings if finding.code == "constant_image"}
        for file, content in check.contents.items():
            if file not in constant:
                seen[content].append((case.identifier, file))
    for (original, file), *copies in seen.values():
        for name, copy in copies:
            whose = "another channel of this case" if name == original else f"an image of the case {original}"
            message = f"The file holds the same voxels as {Path(file).name}, {whose}."
            remedy = "Keep one of the two, or give both cases one group so that they stay in one fold."
            if groups[name] is not None and groups[name] == groups[original]:
                remedy = f"Keep one of the two. They are in one group ({groups[name]}), and so in one fold."
            if name == original:
                remedy = "Find out which channel it is, and restore the other one."
            yield warning("duplicate_image", message, remedy, case=name, file=Path(copy))
