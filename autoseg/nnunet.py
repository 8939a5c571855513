"""The boundary to nnunetv2: its environment, and how it learns of autoseg's trainers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autoseg import plugins
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


def trainer_class(name: str) -> type[Any]:
    """The trainer's class, by its name.

    Raises:
        UsageError: if there is none; the message lists what there is.
    """
    module = plugins.find("trainers", name)
    found: type[Any] = getattr(module, Path(name).stem if name.endswith(".py") else name)
    return found
