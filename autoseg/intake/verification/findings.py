"""Findings about a raw data set: what is wrong, where, how bad it is and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from autoseg.errors import DataError

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        case: the case's identifier; None where it concerns the data set as a whole.
        file: the file to look at; None where there is no single one.
        severity: with an error training is not possible or means nothing; a warning may be intended.
        code: one word for each kind of finding, for programs.
        message: what was found and what was expected.
        remedy: what to do.
    """

    case: str | None
    file: str | None
    severity: Severity
    code: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = self.file or self.case
        return f"{self.severity}: {where + ': ' if where else ''}{self.message} {self.remedy} [{self.code}]"


def error(
    code: str, message: str, remedy: str, *, case: str | None = None, file: Path | None = None
) -> Finding:
    """A finding that forbids training."""
    return Finding(case, str(file) if file else None, "error", code, message, remedy)


def warning(
    code: str, message: str, remedy: str, *, case: str | None = None, file: Path | None = None
) -> Finding:
    """A finding that may be intended."""
    return Finding(case, str(file) if file else None, "warning", code, message, remedy)


@dataclass(frozen=True)
class VerifyReport:
    """All findings about a raw data set.

    Attributes:
        cases: how many cases were looked at.
        findings: errors first, each kind in the order of the cases.
    """

    cases: int
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that forbid training."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that may be intended."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    def to_json(self) -> dict[str, Any]:
        """What ``autoseg verify --json`` prints."""
        return {"cases": self.cases, "findings": [asdict(finding) for finding in self.findings]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> VerifyReport:
        """Read a report that was written earlier.

        Raises:
            DataError: if it is none.
        """
        try:
            return cls(document["cases"], tuple(Finding(**finding) for finding in document["findings"]))
        except (KeyError, TypeError) as problem:
            raise DataError(f"This is no report of a verification: {problem}. Verify again.") from None
