"""Fixtures of this folder's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from sound_data import declare, label_volume, volume, write


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four sound cases with two channels and two labels."""
    root = tmp_path / "Dataset042_Sound"
    for case in range(4):
        for channel in range(2):
            write(root / "imagesTr" / f"c{case}_{channel:04d}.nii.gz", volume(10 * case + channel))
        write(root / "labelsTr" / f"c{case}.nii.gz", label_volume(case))
    declare(root)
    return root
