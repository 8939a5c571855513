"""Of every trainer: stock nnU-Net has its network, or the refusal says why not and where to go instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import model_folders
import pytest
from model_folders import model_folder

from autoseg.errors import RunError
from autoseg.export import export_nnunet
from autoseg.plugins import built_in

STOCK = {"nnunet", "nnunet_resenc_m", "nnunet_resenc_l", "nnunet_resenc_xl"}


@pytest.mark.parametrize("trainer", sorted(built_in("trainers")))
def test_every_trainer_is_exported_or_told_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str
) -> None:
    none: Mapping[str, Any] = {}
    monkeypatch.setattr(model_folders, "_weights", lambda *given, **more: none)
    model = model_folder(tmp_path, trainer, "2d")
    with pytest.raises(RunError) as refused:
        export_nnunet(model, tmp_path / "exported")
    said = str(refused.value)
    if trainer in STOCK:  # its network was built by nnU-Net, and misses the weights
        assert "does not take the weights" in said
    else:
        assert "is none of nnU-Net's" in said and "(autoseg" not in said and "Its network (" in said
    assert "--to onnx" in said
    assert not (tmp_path / "exported").exists()


def test_there_are_twenty_one() -> None:
    found = set(built_in("trainers"))
    assert len(found) == 21 and found > STOCK
