"""Model folders made by stock nnU-Net: planned and trained for a few steps, in its own processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autoseg.system.files import read_json, write_json

PLANS = "nnUNetPlans"
Edit = Callable[[dict[str, Any]], None]
_TRAIN = """
import sys
import torch
from nnunetv2.run.run_training import get_trainer_from_args
torch.set_num_threads(1)
dataset, configuration, trainer, plans, fold, steps = sys.argv[1:]
found = get_trainer_from_args(dataset, configuration, int(fold), trainer, plans, device=torch.device("cpu"))
found.num_epochs, found.num_iterations_per_epoch, found.num_val_iterations_per_epoch = 1, int(steps), 1
found.run_training()
"""
PREDICT = (
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"
)


class StockHome:
    """nnU-Net's three folders below one, with data sets as links.

    Args:
        folder: where everything goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("raw", "preprocessed", "results"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """What nnU-Net reads: its folders, and that one process does everything."""
        own = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        return {
            **os.environ,
            **own,
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, line: Sequence[object], **variables: str) -> None:
        """Run a command to its end; an error shows what it printed."""
        done = subprocess.run(
            list(map(str, line)),
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{line[:3]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")

    def plan(self, raw: Path, planner: str = "ExperimentPlanner", edit: Edit | None = None) -> str:
        """Plan and fingerprint a raw data set, which is linked; the plans' name."""
        link = self.folder / "raw" / raw.name
        if not link.exists():
            link.symlink_to(raw.resolve())
        entry = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import"
        program = f"{entry} plan_and_preprocess_entry as main; main()"
        number = raw.name[7:10]
        options = ("-d", number, "-pl", planner, "-npfp", 1, "--no_pp")
        self.run([sys.executable, "-c", program, *options])
        files = sorted((self.folder / "preprocessed" / raw.name).glob("*Plans.json"), key=os.path.getmtime)
        document = read_json(files[-1])
        if edit is not None:
            edit(document)
            write_json(files[-1], document)
        return files[-1].stem

    def preprocess(self, dataset: str, plans: str, configuration: str) -> None:
        """Preprocess one configuration."""
        entry = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import"
        program = f"{entry} preprocess_entry as main; main()"
        options = ("-d", dataset[7:10], "-plans_name", plans, "-c", configuration, "-np", 1)
        self.run([sys.executable, "-c", program, *options])

    def train(
        self,
        dataset: str,
        plans: str,
        configuration: str,
        steps: int,
        fold: int = 0,
        trainer: str = "nnUNetTrainer",
    ) -> Path:
        """Train for a few steps; the model's folder."""
        given = (dataset, configuration, trainer, plans, fold, steps)
        self.run([sys.executable, "-c", _TRAIN, *given], nnUNet_n_proc_DA="0")
        return self.folder / "results" / dataset / f"{trainer}__{plans}__{configuration}"


def balance_heads(model: Path, images: Path) -> None:
    """Shift the last layer's biases so that all labels occur: so short a training sees background alone.

    Args:
        model: the model's folder; the checkpoint of fold 0 is replaced.
        images: a folder of images, of which the first decides.
    """
    import torch

    from autoseg import nnunet
    from autoseg.data.readers import read_images
    from autoseg.inference.model import load_model

    loaded = load_model(model, [0], "cpu", mirroring=False)
    data, _ = loaded.preprocess(read_images([sorted(images.iterdir())[0]], loaded.reader))
    means = loaded.logits(data).flatten(1).median(1).values
    path = model / "fold_0" / "checkpoint_final.pth"
    content = nnunet.read_checkpoint(path)
    weights = content["network_weights"]
    last = [name for name, value in weights.items() if name.endswith("bias") and len(value) == len(means)][-1]
    weights[last] = weights[last] - means
    torch.save(content, path)
