"""The checks of single cases, kept: a case whose files and request are as they were is not read again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autoseg import data
from autoseg.data.case_store import CaseStore
from autoseg.data.dataset import Case, Dataset
from autoseg.intake.verification.case_checks import CaseCheck, check_case, read_case

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# These may come from the machine and not from the files, and are looked for every time.
_NOT_KEPT: Final = frozenset(("unreadable", "missing_image", "missing_label"))
# What dataset.json says of the data set as a whole.
_OF_THE_WHOLE: Final = ("numTraining", "name", "description", "reference", "licence", "release")


def without_cases(dataset: Dataset) -> Dataset:
    """What the check of one case may know of its data set: nothing that another case can change."""
    about: Mapping[str, Any] = {
        key: bool(value) if key == "dataset" else value
        for key, value in dataset.dataset_json.items()
        if key not in _OF_THE_WHOLE
    }
    return replace(dataset, cases=(), dataset_json=about)


def store_of_checks(lone: Dataset, folder: Path) -> CaseStore:
    """Where the checks of a data set's cases are kept.

    Args:
        lone: `without_cases`. All of it is part of the request.
        folder: of the store.
    """
    code = [Path(data.__file__).parent, Path(__file__).parent]
    # The order of labels and channels counts, which a hash of objects leaves out.
    order = [list(lone.labels.names), list(lone.dataset_json.get("channel_names") or ())]
    return CaseStore.at(folder, "verify", [order, asdict(lone)], code)


def check_one(dataset: Dataset, case: Case) -> CaseCheck:
    """Read and check one case."""
    images, label, findings = read_case(dataset, case)
    check = check_case(dataset, case, images, label)
    return replace(check, findings=(*findings, *check.findings))


def check_kept(dataset: Dataset, case: Case, store: CaseStore | None) -> CaseCheck:
    """Check one case, from the store where it is known there."""
    if store is None:
        return check_one(dataset, case)
    key = store.key(case)
    if (found := store.read(case, key)) is not None:
        with contextlib.suppress(ValueError):  # another program wrote it: the case is read again
            return _in_json().validate_json(found[0])
    check = check_one(dataset, case)
    if not any(finding.code in _NOT_KEPT for finding in check.findings):
        store.write(case, key, _in_json().dump_json(check))
    return check


@cache
def _in_json() -> TypeAdapter[CaseCheck]:
    from pydantic import TypeAdapter

    return TypeAdapter(CaseCheck)
