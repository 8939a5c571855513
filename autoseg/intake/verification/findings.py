"""Findings about a raw data set: what is wrong, where, how bad it is and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autoseg.errors import DataError, UsageError

Severity = Literal["error", "warning"]

# What a user may declare to be intended, and the errors that are then warnings.
WAIVABLE = {"direction": ("label_direction_mismatch",)}
# Counted up when checks or severities change: reports that were stored before are made anew.
CHECKS = 5
# Warnings about files that are not read: they spoil no model.
HARMLESS = frozenset(("hidden_file", "unknown_reader"))


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        case: the case's identifier; None where it concerns the data set as a whole.
        file: the file to look at; None where there is no single one.
        severity: ``error``: training is not possible or gives no valid model; ``warning``: it may be
            intended.
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
        cases: how many cases were checked.
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

    def accepting(self, accepted: Collection[str]) -> VerifyReport:
        """The same findings, with errors that a user accepts as warnings.

        Args:
            accepted: names of `WAIVABLE`.

        Raises:
            UsageError: for another name.
        """
        if unknown := sorted(set(accepted) - WAIVABLE.keys()):
            raise UsageError(
                f"{unknown[0]!r} cannot be accepted. What can: {', '.join(WAIVABLE)}; correct all else."
            )
        codes = {code for name in accepted for code in WAIVABLE[name]}
        found = [replace(f, severity="warning") if f.code in codes else f for f in self.findings]
        return VerifyReport(self.cases, tuple(sorted(found, key=lambda f: f.severity != "error")))

    @property
    def spoiling(self) -> tuple[str, ...]:
        """What may spoil a model that is trained all the same: a line for each kind of finding."""
        kinds: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.code not in HARMLESS:
                kinds.setdefault(finding.code, []).append(finding)
        return tuple(_line(code, found) for code, found in kinds.items())

    def to_json(self) -> dict[str, Any]:
        """What ``autoseg verify --json`` prints."""
        return {
            "checks": CHECKS,
            "cases": self.cases,
            "findings": [asdict(finding) for finding in self.findings],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> VerifyReport:
        """Read a report that was written earlier.

        Raises:
            DataError: if it is none.
        """
        if document.get("checks") != CHECKS:
            raise DataError("This report of a verification is of another version. Verify again.")
        try:
            return cls(document["cases"], tuple(Finding(**finding) for finding in document["findings"]))
        except (KeyError, TypeError) as problem:
            raise DataError(f"This is not a report of a verification: {problem}. Verify again.") from None


def _line(code: str, found: Sequence[Finding]) -> str:
    first = found[0]
    where = Path(first.file).name if first.file else first.case
    times = "" if len(found) == 1 else f" {len(found)} times, the first"
    return f"{code}{times}{f' in {where}' if where else ''}: {first.message}"
