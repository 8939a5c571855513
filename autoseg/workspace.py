"""Where raw data, preprocessed data and results lie. Nothing else builds such a path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import UsageError
from autoseg.names import RULE, script_problem, shown, whole_number

ROOT_VARIABLE = "AUTOSEG_WORKSPACE"
DEFAULT_ROOT = "autoseg_workspace"
GROUPS_FILE = "groups.json"
_PLACE_FILE = "raw_folder.txt"


def _named(root: Path) -> Path:
    if problem := script_problem(root.name):
        raise UsageError(
            f"The name of the data set {shown(root.name)} {problem}. Runs, jobs and scripts get this name. "
            f"{RULE}, and holds no character that shells and schedulers read as their own. Rename {root}."
        )
    return root


@dataclass(frozen=True)
class Workspace:
    """The three folders of nnU-Net's layout.

    Attributes:
        raw: one folder per raw data set.
        preprocessed: fingerprints, plans, folds and preprocessed cases, one folder per data set.
        results: runs, one folder per data set; records and pages beside them.
    """

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def locate(cls, root: Path | str | None = None) -> Workspace:
        """Find the workspace.

        An explicit `root` wins; else nnU-Net's own variables (``nnUNet_raw``, ``nnUNet_preprocessed``,
        ``nnUNet_results``) where they are set, and for the others a folder below ``AUTOSEG_WORKSPACE`` or,
        without it, below ``autoseg_workspace`` in the current folder.
        """
        base = Path(root or os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT).absolute()

        def folder(name: str) -> Path:
            own = None if root else os.environ.get(f"nnUNet_{name}")
            return Path(own).absolute() if own else base / name

        return cls(folder("raw"), folder("preprocessed"), folder("results"))

    def environment(self) -> dict[str, str]:
        """nnU-Net's three path variables for this workspace."""
        return {f"nnUNet_{name}": str(getattr(self, name)) for name in ("raw", "preprocessed", "results")}

    @property
    def pseudonym_key(self) -> Path:
        """The key of the names that DICOM cases get; beside the data sets, never within one."""
        return self.raw / ".pseudonym_key"

    def find_raw(self, dataset: str | Path) -> Path:
        """The raw folder that `dataset` means: a path, a name (``Dataset004_Hippocampus``) or an id (``4``).

        A name or an id is one of the workspace, or of a folder outside it that was walked here before.

        Raises:
            UsageError: if there is none, an id means several, or its name cannot name files and scripts.
        """
        path = Path(dataset)
        if "\0" not in str(dataset) and (path / "dataset.json").is_file():
            return _named(path.resolve())
        folders = {**self._read_in_place(), **{name: self.raw / name for name in self._raw_names()}}
        there = sorted(folders)
        if (number := whole_number(str(dataset))) is not None:
            matches = [name for name in there if re.match(rf"Dataset0*{number}(_|$)", name)]
        else:
            matches = [name for name in there if name == str(dataset)]
        if len(matches) == 1:
            return _named(folders[matches[0]])
        if matches:
            raise UsageError(
                f"The id {dataset} means several data sets: {', '.join(matches)}. Give the name."
            )
        if path.is_dir():
            raise UsageError(
                f"{path} is not a raw data set: it has no dataset.json. Give the folder that holds "
                f"dataset.json, imagesTr and labelsTr."
            )
        raise UsageError(
            f"There is no data set {str(dataset)!r} in {self.raw} (found: {', '.join(there) or 'none'}). "
            f"Give a name, an id or the path of a raw folder, or choose another --workspace."
        )

    def _raw_names(self) -> list[str]:
        if not self.raw.is_dir():
            return []
        return sorted(folder.name for folder in self.raw.iterdir() if (folder / "dataset.json").is_file())

    def _read_in_place(self) -> dict[str, Path]:
        """The raw folders outside the workspace that were walked here, by name, where they still are."""
        found = {}
        for note in sorted(self.preprocessed.glob(f"*/{_PLACE_FILE}")):
            folder = Path(note.read_text(encoding="utf-8").strip())
            if (folder / "dataset.json").is_file():
                found[note.parent.name] = folder
        return found

    def place_of(self, dataset: str) -> Path:
        """The file that says where a data set lies that is read in place."""
        return self.preprocessed / dataset / _PLACE_FILE

    def preprocessed_of(self, dataset: str) -> Path:
        """The folder of a data set's fingerprint, plans, folds and preprocessed cases."""
        return self.preprocessed / dataset

    def fingerprint_of(self, dataset: str) -> Path:
        """nnU-Net's name for the fingerprint's file."""
        return self.preprocessed / dataset / "dataset_fingerprint.json"

    def kept_cases_of(self, dataset: str) -> Path:
        """What verification and fingerprint found of each case, so that others alone are read again."""
        return self.preprocessed / dataset / ".cases"

    def verification_of(self, dataset: str) -> Path:
        """What the verification found."""
        return self.preprocessed / dataset / "verification.json"

    def plan_of(self, dataset: str, plan: str) -> Path:
        """The file of a plan, by the plan's name."""
        return self.preprocessed / dataset / f"{plan}.json"

    def dataset_json_of(self, dataset: str) -> Path:
        """The copy of dataset.json that lies beside the plans."""
        return self.preprocessed / dataset / "dataset.json"

    def references_of(self, dataset: str) -> Path:
        """nnU-Net's name for the folder of the reference segmentations."""
        return self.preprocessed / dataset / "gt_segmentations"

    def cases_of(self, dataset: str, data_identifier: str) -> Path:
        """The folder of the cases that were preprocessed for one configuration."""
        return self.preprocessed / dataset / data_identifier

    def measures_of(self, dataset: str) -> Path:
        """Which metrics and pixel sizes are requested for a data set, see `autoseg measure`."""
        return self.preprocessed / dataset / "evaluation.json"

    def folds_of(self, dataset: str) -> Path:
        """nnU-Net's name for the folds' file."""
        return self.preprocessed / dataset / "splits_final.json"

    def groups_of(self, dataset: str) -> Path:
        """The group of each case, for whoever divides the cases further; beside the folds."""
        return self.folds_of(dataset).with_name(GROUPS_FILE)

    def pilot_of(self, dataset: str) -> Path:
        """The folder of the short trainings that choose between 2D and 3D."""
        return self.preprocessed / dataset / "pilot"

    def memory_limits_of(self, dataset: str) -> Path:
        """What trainings that ran out of memory have found out."""
        return self.preprocessed / dataset / "memory_limits.json"

    def pretrained_of(self, dataset: str, model: str, fold: int | str) -> Path:
        """The checkpoint of a network that was trained without labels; no run, so not among the models."""
        return self.results / dataset / "pretrained" / model / f"fold_{fold}" / "checkpoint_pretrained.pth"

    def benchmark_of(self, suite: str) -> Path:
        """The folder of a benchmark: job list, outcomes, pages."""
        return self.results / "benchmarks" / suite

    def page_of(self, dataset: str | None = None) -> Path:
        """The leaderboard's page: of a data set, or of all that is in the workspace."""
        return (self.results_of(dataset) if dataset else self.results) / "leaderboard.html"

    def results_of(self, dataset: str) -> Path:
        """The folder of a data set's runs."""
        return self.results / dataset
