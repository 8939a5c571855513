"""Which layout a folder has, and by what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType

from autoseg.errors import AutosegError, DataError
from autoseg.intake.layouts.bids import read_bids
from autoseg.intake.layouts.dicom import read_dicom
from autoseg.intake.layouts.dicom_series import is_dicom
from autoseg.intake.layouts.folders import has_pairs, read_folders
from autoseg.intake.layouts.incoming import Incoming, Request, files_below, some
from autoseg.intake.layouts.msd import read_msd
from autoseg.intake.layouts.nnunet import read_nnunet
from autoseg.system.files import read_json

LAYOUTS: Mapping[str, Callable[[Path, Request], Incoming]] = MappingProxyType(
    {
        "nnunet": read_nnunet,
        "msd": read_msd,
        "bids": read_bids,
        "folders": read_folders,
        "dicom": read_dicom,
    }
)
# Files that are looked into for DICOM, which no name tells.
_LOOKED_AT = 200


def detect(source: Path) -> tuple[str, str]:
    """The layout of a folder and what it was recognised by, in a sentence.

    Raises:
        DataError: if it is none that is known; the message says what each looks like.
    """
    about = source / "dataset.json"
    content = _json(about)
    if content is not None:
        if "training" in content and "file_ending" not in content:
            return "msd", "dataset.json lists its cases under 'training', as the Decathlon and nnU-Net v1 do."
        if "file_ending" in content or "channel_names" in content:
            return "nnunet", "dataset.json has file_ending and channel_names, as nnU-Net's raw data sets."
    if (source / "dataset_description.json").is_file():
        return "bids", "it has a dataset_description.json."
    subjects = [path.name for path in sorted(source.glob("sub-*")) if path.is_dir()]
    if subjects and any(source.glob("sub-*/**/sub-*.nii*")):
        return "bids", f"it has folders of subjects ({some(subjects)}) with files named after them."
    dicom = next((path for path in islice(files_below(source), _LOOKED_AT) if is_dicom(path)), None)
    if dicom is not None:
        return "dicom", f"{dicom.relative_to(source)} is a DICOM file."
    if pairs := has_pairs(source):
        return "folders", f"it has images and masks: {pairs}."
    there = [path.name for path in sorted(source.iterdir())]
    raise DataError(
        f"{source} has no layout that is known (in it: {some(there, 6) or 'nothing'}). nnunet: dataset.json "
        f"with file_ending, imagesTr, labelsTr. msd, the Decathlon: dataset.json with 'training'. bids: "
        f"sub-01/anat/... and labels in derivatives. folders: images/ and masks/ with the same "
        f"names. dicom: series in folders."
    )


def _json(path: Path) -> Mapping[str, object] | None:
    try:
        content = read_json(path) if path.is_file() else None
    except AutosegError:
        return None
    return content if isinstance(content, Mapping) else None
