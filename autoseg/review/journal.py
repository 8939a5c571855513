"""The log of a review: who decided what and when, a line each, only ever added to; and corrected files.

A line is on disk before the page hears that it is stored. A line that a kill has cut off is passed over, and
what is written next begins a new one. Corrected segmentations are new files, numbered for each case; earlier
ones stay.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

from autoseg.data.image import Array
from autoseg.errors import DataError
from autoseg.system.documents import DocumentError, parse_json
from autoseg.system.files import atomic_path

log = logging.getLogger(__name__)

LOG_NAME: Final = "review.jsonl"
CORRECTED, DRAFTS = "corrected", "drafts"
LONGEST_COMMENT: Final = 4000
LONGEST_NAME: Final = 100
# accept and reject decide, undecide takes that back; correct adds a file, withdraw goes back to the original.
Action = Literal["accept", "reject", "undecide", "comment", "correct", "withdraw"]
_DECISIONS: Final = {"accept": "accepted", "reject": "rejected", "undecide": ""}


@dataclass(frozen=True)
class CaseState:
    """Where a case stands.

    Attributes:
        decision: ``accepted``, ``rejected`` or empty.
        comment: the latest one.
        corrected: the latest corrected file, if the correction was not withdrawn.
        of: SHA-256 of the file that was corrected.
        reviewer, time: of the latest entry.
    """

    decision: str = ""
    comment: str = ""
    corrected: Path | None = None
    of: str = ""
    reviewer: str = ""
    time: str = ""


class Journal:
    """The log in a folder, with the state of each case that follows from it.

    Args:
        folder: of the review; made at the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOG_NAME
        self._lock = threading.Lock()
        self._states: dict[str, CaseState] = {}
        self.entries = list(_entries(self.path))
        for entry in self.entries:
            self._follow(entry)

    def state(self, case: str) -> CaseState:
        """Where a case stands; an empty state without any entry."""
        return self._states.get(case, CaseState())

    def add(self, case: str, action: Action, reviewer: str, **facts: Any) -> CaseState:
        """Write one entry, on disk when this returns.

        Raises:
            DataError: for an action that there is not, or a text that is too long.
        """
        if action not in get_args(Action):
            raise DataError(
                f"{action!r} is no action of a review. Expected one of {', '.join(get_args(Action))}."
            )
        for what, text, most in (
            ("comment", str(facts.get("comment", "")), LONGEST_COMMENT),
            ("name of the reviewer", reviewer, LONGEST_NAME),
        ):
            if len(text) > most:
                raise DataError(
                    f"The {what} has {len(text)} characters, and at most {most} are stored. Shorten it."
                )
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"time": time, "reviewer": reviewer, "case": case, "action": action, **facts}
        with self._lock:
            _append(self.path, entry)
            self.entries.append(entry)
            self._follow(entry)
            return self.state(case)

    def correct(
        self,
        case: str,
        reviewer: str,
        ending: str,
        write: Callable[[Path], None],
        **facts: Any,
    ) -> CaseState:
        """Store a corrected segmentation as a new file and write it into the log.

        Args:
            case: its identifier.
            reviewer: who corrected it.
            ending: of the file.
            write: writes it to the path that it is given.
            facts: for the log.
        """
        with self._lock:
            number = 1 + len({entry["file"] for entry in self.entries if _is_of(entry, case)})
            folder = self.folder / CORRECTED / case
            # A kill between file and log leaves a file that no entry names; its number is not used again.
            while (path := folder / f"{number:04d}{ending}").exists():
                number += 1
            write(path)
            _sync(path)
        name = path.relative_to(self.folder).as_posix()
        state = self.add(case, "correct", reviewer, file=name, sha256=hash_of(path), **facts)
        self.drop_draft(case)
        return state

    def _follow(self, entry: Mapping[str, Any]) -> None:
        case, action = str(entry["case"]), entry["action"]
        state = replace(self.state(case), reviewer=str(entry["reviewer"]), time=str(entry["time"]))
        if action in _DECISIONS:
            state = replace(state, decision=_DECISIONS[action])
        elif action == "comment":
            state = replace(state, comment=str(entry.get("comment", "")))
        elif action == "withdraw":
            state = replace(state, corrected=None, of="")
        elif action == "correct":
            state = replace(state, corrected=self.folder / entry["file"], of=str(entry.get("of", "")))
        self._states[case] = state

    # What is drawn and not saved yet.

    def save_draft(self, case: str, array: Array, of: str) -> None:
        """Store a drawing that is under way, (z, y, x), with the hash of the file that it began from."""
        with atomic_path(self._draft(case)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, drawing=array, of=np.array(of))

    def draft(self, case: str, of: str) -> Array | None:
        """The drawing under way, if it began from the file of that hash."""
        try:
            with np.load(self._draft(case), allow_pickle=False) as stored:
                return np.asarray(stored["drawing"]) if str(stored["of"]) == of else None
        except FileNotFoundError:
            return None
        except (
            Exception
        ) as problem:  # a file cut off by a full disk: numpy and zipfile each have errors of their own
            log.warning("The drawing under way of %s cannot be read: %s", case, problem)
            return None

    def has_draft(self, case: str) -> bool:
        """Whether there is a drawing under way."""
        return self._draft(case).is_file()

    def drop_draft(self, case: str) -> None:
        """Forget the drawing under way."""
        self._draft(case).unlink(missing_ok=True)

    def _draft(self, case: str) -> Path:
        return self.folder / DRAFTS / f"{case}.npz"


def hash_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_of(entry: Mapping[str, Any], case: str) -> bool:
    return bool(entry["case"] == case and entry["action"] == "correct")


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    """The entries that are whole; those that are not are counted in a warning."""
    if not path.is_file():
        return
    torn = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = parse_json(line)
        except DocumentError:
            torn += bool(line.strip())
            continue
        if _is_entry(entry):
            yield entry
        else:
            torn += 1
    if torn:
        log.warning("%s: %d lines are no entries and are passed over.", path, torn)


def _is_entry(entry: Any) -> bool:
    known = isinstance(entry, dict) and all(key in entry for key in ("time", "reviewer", "case", "action"))
    if not known or entry["action"] not in get_args(Action) or not isinstance(entry["case"], str):
        return False
    if entry["action"] != "correct":
        return True
    # Of a log from elsewhere: a file of a correction lies in its folder, nowhere else.
    parts = Path(str(entry.get("file", ""))).parts
    return len(parts) == 3 and parts[0] == CORRECTED and ".." not in parts


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
