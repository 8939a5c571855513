"""The boundary to nnunetv2: its environment, and how it learns of autoseg's trainers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoseg.errors import RunError
from autoseg.workspace import Workspace

EXTENSION_VARIABLE = "nnUNet_extTrainer"


def shim_folder() -> Path:
    """The folder that stock nnU-Net finds autoseg's trainers in, for ``nnUNet_extTrainer``."""
    return Path(__file__).parent / "shim"


def activate(workspace: Workspace) -> None:
    """Set nnU-Net's variables for this process and its children.

    nnU-Net reads its paths when they are used (2.8), so this can happen at any time before that.
    """
    os.environ.update(workspace.environment())
    folders = os.environ.get(EXTENSION_VARIABLE, "").split(os.pathsep)
    if str(shim_folder()) not in folders:
        os.environ[EXTENSION_VARIABLE] = os.pathsep.join([*filter(None, folders), str(shim_folder())])


def plans_manager(plans: dict[str, Any]) -> Any:
    """nnU-Net's own view of a plan, which its trainers build their networks from."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    return PlansManager(plans)


def stock_network(plans: dict[str, Any], configuration: str, dataset_json: dict[str, Any]) -> Any:
    """The network that stock prediction builds from a plan, with nnU-Net's own trainer.

    Args:
        plans: nnU-Net's document.
        configuration: one of its configurations.
        dataset_json: content of dataset.json; its channels and labels are read.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    manager = plans_manager(plans)
    chosen = manager.get_configuration(configuration)
    channels = determine_num_input_channels(manager, chosen, dataset_json)
    heads = manager.get_label_manager(dataset_json).num_segmentation_heads
    return nnUNetTrainer.build_network_architecture(
        manager, chosen, channels, heads, enable_deep_supervision=False
    )


def largest_components(rules: Sequence[tuple[Sequence[int], int]]) -> tuple[list[Any], list[dict[str, Any]]]:
    """What ``nnUNetv2_apply_postprocessing`` reads, pickled: functions of nnU-Net and their arguments.

    Args:
        rules: labels of a structure of which the largest component stays, and what the rest becomes.
    """
    from nnunetv2.postprocessing.remove_connected_components import (
        remove_all_but_largest_component_from_segmentation as function,
    )

    arguments = [
        {
            "labels_or_regions": int(values[0]) if len(values) == 1 else tuple(values),
            "background_label": outside,
        }
        for values, outside in rules
    ]
    return [function] * len(arguments), arguments


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of autoseg or nnU-Net without running code that it may hold.

    nnU-Net pickles numpy scalars among its log values, which torch's safe loading refuses; exactly these
    types are allowed, nothing else.

    Raises:
        RunError: if the file is missing, damaged, is not a checkpoint, or holds other objects.
    """
    import numpy as np
    import torch

    if not path.is_file():
        raise RunError(
            f"There is no checkpoint {path}. Finish this training, or choose a fold that is trained."
        )
    scalars = {type(np.dtype(code)) for code in ("?", "i1", "u1", "i2", "i4", "i8", "f2", "f4", "f8")}
    # The type's module has moved between numpy's versions; the object itself knows where it is.
    reconstruct: Any = np.float64(0).__reduce__()[0]
    try:
        _check_sums(path)
        with torch.serialization.safe_globals([reconstruct, np.dtype, *scalars]):
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # an unpickler on foreign bytes: whatever it stumbles over, the file is bad
        said = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise RunError(
            f"{path} cannot be read as a checkpoint ({said}). Restore it from its source, or train again."
        ) from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("network_weights"), dict):
        raise RunError(
            f"{path} is not a checkpoint of autoseg or nnU-Net: it has no network_weights. Give "
            f"a file that a training wrote (checkpoint_final.pth)."
        )
    return checkpoint


def _check_sums(path: Path) -> None:
    """Compare a checkpoint with the check sums that it holds, which torch writes and does not read (2.14).

    Raises:
        ValueError: if they differ. A file that is no archive has none.
    """
    import zipfile

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"its part {damaged} is damaged")
