"""Who made a result: what stands in an object about the algorithm, and what objects have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoseg.data.dicom_objects.texts import LONGEST
from autoseg.errors import DISTRIBUTION
from autoseg.system.files import digest

MANUFACTURER = "autoseg"
PRODUCT = DISTRIBUTION


@dataclass(frozen=True)
class Maker:
    """The algorithm behind a result.

    Attributes:
        name: of the model.
        version: of autoseg.
        model_hash: SHA-256 of all that its predictions depend on, hexadecimal.
        options: what else they depend on.
    """

    name: str
    version: str
    model_hash: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, names: Sequence[str], version: str, hashes: Sequence[str], options: Mapping[str, Any]
    ) -> Maker:
        """Of one model, or of several that predict together, whose hashes are hashed once more."""
        one = hashes[0] if len(hashes) == 1 else digest(list(hashes))
        return cls(" + ".join(names), version, one, dict(options))

    @property
    def algorithm(self) -> str:
        """The name, as long as an element holds."""
        return self.name[:LONGEST]

    @property
    def algorithm_version(self) -> str:
        """autoseg's version and the beginning of the model's hash."""
        return f"{PRODUCT} {self.version}, model {self.model_hash[:16]}"[:LONGEST]

    @property
    def parameters(self) -> dict[str, str]:
        """The whole hash, and the options."""
        return {"model_sha256": self.model_hash, **{name: str(value) for name, value in self.options.items()}}

    @property
    def description(self) -> str:
        """Of the series that holds a result."""
        return f"{MANUFACTURER}: {self.name}"[:LONGEST]


def series_number(source: Any) -> int:
    """The number of a result's series: that of the source's, in the thousands."""
    try:
        return 1000 + int(source.get("SeriesNumber") or 0) % 1000
    except (TypeError, ValueError):
        return 1000
