"""Pipes, devices and links to them in a source: nothing waits for them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.errors import DataError
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.workspace import Workspace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A data set in nnU-Net's layout."""
    root = tmp_path / "source"
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for case in ("a", "b"):
        image = sitk.GetImageFromArray(np.eye(8, dtype=np.uint8)[None].repeat(4, 0))
        sitk.WriteImage(image, str(root / f"imagesTr/{case}_0000.nii.gz"))
        sitk.WriteImage(image, str(root / f"labelsTr/{case}.nii.gz"))
    about = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "x": 1}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about))
    return root


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"])
@pytest.mark.parametrize("change", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_told(
    source: Path, tmp_path: Path, place: str, change: Callable[[Path], object]
) -> None:
    (source / place).unlink()
    change(source / place)
    with pytest.raises(DataError):
        import_dataset(source, Workspace.locate(tmp_path / "w"), "A", request=Request(workers=1))
    assert not list((tmp_path / "w" / "raw").glob("Dataset*"))
