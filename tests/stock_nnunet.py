"""Stock nnU-Net beside autoseg: its commands in processes of their own, on the same folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from autoseg.data.readers import Image
from autoseg.nnunet import shim_folder
from autoseg.workspace import Workspace

BIN = Path(sys.executable).parent


def environment(workspace: Workspace) -> dict[str, str]:
    """What a user of stock nnU-Net sets to work on autoseg's folders."""
    own = {**workspace.environment(), "nnUNet_extTrainer": str(shim_folder()), "nnUNet_n_proc_DA": "1"}
    return {**os.environ, **own, "nnUNet_def_n_proc": "1", "OMP_NUM_THREADS": "2"}


def run_stock(workspace: Workspace, command: str, *arguments: object) -> None:
    """Run a command of nnunetv2; an error shows what it printed."""
    line = [str(BIN / command), *map(str, arguments)]
    done = subprocess.run(line, env=environment(workspace), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def predict_with_stock(workspace: Workspace, model: Path, images: list[Path], folder: Path) -> Path:
    """`nnUNetv2_predict` with fold 0 of a model, and the folder of what it made of some images.

    Args:
        workspace: that the model lies in.
        model: its folder, DATASET/TRAINER__PLANS__CONFIGURATION.
        images: files that are named as nnU-Net's raw images are.
        folder: for links to the images, and for the result.
    """
    trainer, plans, configuration = model.name.split("__")
    source, output = folder / f"in_{model.name}", folder / f"out_{model.name}"
    source.mkdir(parents=True)
    for image in images:
        (source / image.name).symlink_to(image.resolve())
    which = ("-d", model.parent.name, "-tr", trainer, "-p", plans, "-c", configuration, "-f", 0)
    options = ("-device", "cpu", "-npp", 1, "-nps", 1)
    run_stock(workspace, "nnUNetv2_predict", "-i", source, "-o", output, *which, *options)
    return output


def stock_segmentation(model: Path, raw: Image, first: np.ndarray | None = None) -> np.ndarray:
    """What stock nnU-Net makes of an image with fold 0, without mirrored copies."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    previous = None if first is None else first[None].astype(np.float32)
    found: np.ndarray = predictor.predict_single_npy_array(
        raw.array.astype(np.float32), dict(raw.properties), previous, None, False
    )
    return found
