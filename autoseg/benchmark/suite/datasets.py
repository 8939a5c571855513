"""What a job graph has to know of data sets before anything is read: their names, folds and sizes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.benchmark.suite.sizes import TYPICAL_VOXELS, voxels_of
from autoseg.benchmark.suite.suite import DEMO, DatasetEntry
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.folds import NUMBER
from autoseg.data.groups import members
from autoseg.errors import AutosegError, UsageError
from autoseg.system.files import read_json
from autoseg.workspace import Workspace

# Of the generated data sets, before they are there.
DEMO_CASES = dict(zip(DEMO, (20, 24), strict=True))
DEMO_VOXELS = dict(zip(DEMO, (75_000, 32_000), strict=True))
# Of a data set that is still to be imported; half of them are labels.
_IMAGES = (".gz", ".nii", ".mha", ".nrrd", ".png", ".jpg", ".tif", ".bmp")


@dataclass(frozen=True)
class Size:
    """How much work a data set is.

    Attributes:
        cases: labelled cases.
        voxels: typical number of voxels of a case and channel.
    """

    cases: int
    voxels: float

    @property
    def total(self) -> float:
        """Voxels of all cases."""
        return self.cases * self.voxels


@dataclass
class Catalogue:
    """Data sets of a workspace, each looked at once."""

    workspace: Workspace
    _sizes: dict[str, Size] = field(default_factory=dict)
    _known: dict[DatasetEntry, tuple[str, int]] = field(default_factory=dict)

    def facts_of(self, entry: DatasetEntry) -> tuple[str, int]:
        """Name and number of folds.

        Raises:
            UsageError: if there is no such data set.
        """
        if entry not in self._known:
            self._known[entry] = self._look_at(entry)
        return self._known[entry]

    def size_of(self, dataset: str) -> Size:
        """The size of a data set that was read."""
        return self._sizes.get(dataset, Size(0, 0.0))

    def _look_at(self, entry: DatasetEntry) -> tuple[str, int]:
        if entry.generated and not (self.workspace.raw / entry.dataset / "dataset.json").is_file():
            self._sizes[entry.dataset] = Size(DEMO_CASES[entry.dataset], DEMO_VOXELS[entry.dataset])
            return entry.dataset, NUMBER
        if entry.source is not None and not (self.workspace.raw / entry.dataset / "dataset.json").is_file():
            return self._to_be_imported(entry, entry.source)
        root = self._find(entry)
        try:
            dataset = load_dataset(root, entry.groups)
        except AutosegError:
            # Verification tells in full what is wrong, as one row of many.
            self._sizes[root.name] = Size(0, TYPICAL_VOXELS)
            return root.name, 1
        self._sizes[dataset.name] = Size(
            len(dataset.cases), voxels_of(dataset, self.workspace.fingerprint_of(root.name))
        )
        return dataset.name, self._folds(dataset)

    def _to_be_imported(self, entry: DatasetEntry, source: Path) -> tuple[str, int]:
        """Before the import only the source is there: its files say roughly how much it is."""
        if not source.is_dir():
            raise UsageError(f"There is no folder {source} to import {entry.dataset} from. Correct source.")
        files = sum(1 for path in source.rglob("*") if path.suffix.lower() in _IMAGES)
        self._sizes[entry.dataset] = Size(max(1, files // 2), TYPICAL_VOXELS)
        return entry.dataset, NUMBER

    def _find(self, entry: DatasetEntry) -> Path:
        try:
            return self.workspace.find_raw(entry.dataset)
        except UsageError as problem:
            raise UsageError(
                f"{problem} With --dataset FOLDER, data sets of yours take the place of the suite's; without "
                f"any data there is `autoseg benchmark generated`."
            ) from None

    def _folds(self, dataset: Dataset) -> int:
        with contextlib.suppress(AutosegError, TypeError):
            return len(read_json(self.workspace.folds_of(dataset.name)))
        together = members((case.identifier for case in dataset.cases), dataset.groups)
        return max(1, min(NUMBER, len(together)))
