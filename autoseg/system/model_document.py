"""What was decided on a model's held-out cases: one JSON file beside the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from autoseg.errors import RunError
from autoseg.system.files import read_json, write_json


class ModelDocument(ABC):
    """Base of such decisions, which are dataclasses that decide nothing by default.

    Attributes:
        file_name: of the document in the model's folder.
        made_by: the words that tell a user how to make it again.
        evidence: what it rests on.
    """

    file_name: ClassVar[str]
    made_by: ClassVar[str]
    evidence: Mapping[str, Any]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The document."""

    @classmethod
    @abstractmethod
    def from_json(cls, content: Any) -> Self:
        """Read what `to_json` gave.

        Raises:
            ValueError: if it is something else.
        """

    @classmethod
    def of_model(cls, folder: Path) -> Self:
        """What lies beside a model; the default where nothing was decided.

        Raises:
            RunError: if the file cannot be read.
        """
        path = folder / cls.file_name
        if not path.is_file():
            return cls()
        try:
            return cls.from_json(read_json(path, RunError))
        except (ValueError, OverflowError) as problem:  # the second: a number of hundreds of digits
            raise RunError(f"{path} cannot be read: {problem}. {cls.made_by}, or remove it.") from None

    def save(self, folder: Path) -> Path:
        """Write it beside a model, whole or not at all."""
        path = folder / self.file_name
        write_json(path, self.to_json())
        return path

    def without_evidence(self) -> Self:
        """What predicts, alone."""
        return replace(self, evidence={})  # type: ignore[type-var]  # derived classes are dataclasses
