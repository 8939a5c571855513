"""Trainings of a fixed number of steps, one change at a time, in shapes that `auto` takes on a slow core."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _hearts import NAME as HEARTS
from _hearts import write_hearts
from torch import Tensor

from autoseg import augmentation, nnunet
from autoseg.inference.sliding_window import predict_logits
from autoseg.pipeline.prepare import Prepared, prepare
from autoseg.pipeline.settings import Settings
from autoseg.planner.budget import Shape
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.plan import Plan
from autoseg.planner.training_spec import TrainingSpec
from autoseg.preprocessing.dataset import preprocess_dataset
from autoseg.system.files import read_json
from autoseg.tailoring.fit_to_resources import Fitting
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.trainers.nnunet import nnunet as Network
from autoseg.training.loaders import HeldDataset
from autoseg.workspace import Workspace

CPU = torch.device("cpu")
# What six minutes of `auto` came to on a shared core; see auto.md.
SHAPES = {
    "Dataset004_Hippocampus": ("3d_fullres", Shape(2, 8, 1.0, 1 / 4)),
    "Dataset018_FetalHead": ("2d", Shape(2, 8, 2.0, 1 / 2)),
    "Dataset021_NucleiColor": ("2d", Shape(2, 8, 1.0, 1 / 4)),
    HEARTS: ("2d", Shape(2, 8, 1.25, 1 / 2)),
}
# Today's short training: `autoseg.tailoring.training_length`.
TODAY = {"optimizer_name": "adamw", "learning_rate": 1e-3, "mirroring": False}
DECAYS = (0.99, 0.995)
LOOKS, LOOK_CASES, MOST_CASES = 6, 6, 16


@dataclass(frozen=True)
class Idea:
    """One change against today's short training.

    Attributes:
        words: what it is.
        hyperparameters: of the trainer.
        light: whether augmentation is lighter; None: as it is.
        constant: whether the learning rate stays until the end, after its warm-up.
        batch_dice: whether the Dice of the loss is taken over the batch; None: as planned.
    """

    words: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    light: str | None = None
    constant: bool = False
    batch_dice: bool | None = None


WARM = {"schedule": "cosine", "warmup": 0.05}
RULE = {**WARM, "learning_rate": 3e-3}
IDEAS = {
    "today": Idea("AdamW at 0.001, poly"),
    "rate 0.003": Idea("warm-up of 5 %, a cosine, three times the rate", RULE),
    "no augmentation": Idea("no augmentation", light="none"),
    "one output": Idea("deep supervision off", {"deep_supervision": False}),
    "foreground 0.66": Idea("two thirds of the samples hold foreground", {"foreground_oversampling": 0.66}),
    "constant": Idea("the rate of 0.001 stays; averages take the place of its fall", constant=True),
    "cosine": Idea("warm-up of 5 %, then a cosine", WARM),
    "batch Dice": Idea("the Dice of the loss over the batch", batch_dice=True),
    "light": Idea("rotation to 15 degrees, scaling 0.85 to 1.15", light="light"),
    "rate 0.01": Idea("warm-up of 5 %, a cosine, ten times the rate", {**WARM, "learning_rate": 1e-2}),
    "decay": Idea("weight decay 0.01", {"weight_decay": 1e-2}),
    "SGD": Idea("SGD at 0.01, poly, as published", {"optimizer_name": "sgd", "learning_rate": 1e-2}),
    "mirrored": Idea("samples and predictions mirrored", {"mirroring": True}),
    "foreground 0.5": Idea("half of the samples hold foreground", {"foreground_oversampling": 0.5}),
    "one cycle": Idea(
        "the rate rises to 0.003 over 30 %, then a cosine", {**WARM, "warmup": 0.3, "learning_rate": 3e-3}
    ),
    "brightness alone": Idea("no rotation, no scaling", light="still"),
    # On top of what became the rule for short trainings.
    "0.003, no augmentation": Idea("rate 0.003 without augmentation", RULE, light="none"),
    "0.003, light": Idea("rate 0.003; rotation to 15 degrees, scaling 0.85 to 1.15", RULE, light="light"),
    "0.003, one output": Idea("rate 0.003, deep supervision off", {**RULE, "deep_supervision": False}),
    "0.003, batch Dice": Idea("rate 0.003, the Dice of the loss over the batch", RULE, batch_dice=True),
    "0.003, foreground 0.66": Idea(
        "rate 0.003, two thirds of the samples hold foreground", {**RULE, "foreground_oversampling": 0.66}
    ),
    "rate 0.006": Idea("warm-up of 5 %, a cosine, six times the rate", {**WARM, "learning_rate": 6e-3}),
}


@dataclass(frozen=True)
class Bench:
    """A data set that is prepared for trainings of one shape."""

    prepared: Prepared
    workspace: Workspace
    plan: Plan
    configuration: str
    facts: Mapping[str, float]  # what the planner's law of the patch goes by

    @classmethod
    def of(cls, name: str, data: Path, place: Path, patch_share: float | None = None) -> Bench:
        """Verify, plan and preprocess, where that is not done; with another patch if its share is given."""
        root = write_hearts(place / "raw") if name == HEARTS else data / name
        workspace = Workspace.locate(place)
        prepared = prepare(root, workspace, Settings(workers=1, device="cpu"))
        configuration, shape = SHAPES[name]
        if patch_share is not None:
            shape = dataclasses.replace(shape, patch_share=patch_share)
        request = Request(CPU, configuration=configuration)
        variant = Variant(prepared.dataset, prepared.fingerprint, Choice("nnunet"), request)
        published = Shape(variant.configuration[0].batch_size, 32, 1.0)
        fitting = Fitting(variant, configuration, published)
        plan = fitting.plan(shape)
        suffix = "" if patch_share is None else f"{patch_share:g}"
        plan = dataclasses.replace(plan, name=f"shortPlans{suffix}")
        planned = plan.configuration(configuration)
        facts = {
            "seen": fitting.seen(shape),
            "structures": fitting.structures_share,
            "axes": planned.dimensions,
        }
        folder = workspace.cases_of(name, planned.data_identifier)
        preprocess_dataset(prepared.dataset, plan, planned, folder, 1)
        return cls(prepared, workspace, plan, configuration, facts)

    @property
    def shape(self) -> str:
        """Patch, batch and width in words."""
        planned = self.plan.configuration(self.configuration)
        return f"{'x'.join(map(str, planned.patch_size))}, batch {planned.batch_size}, width 8"

    def trainer(self, idea: Idea, steps: int, seed: int, fold: int) -> Network:
        """A trainer that is ready for its first step."""
        chosen = Hyperparameters(**{**TODAY, **idea.hyperparameters, "epochs": 1, "steps_per_epoch": steps})
        spec = TrainingSpec("nnunet", hyperparameters=chosen, seed=seed, configuration=self.configuration)
        document = dataclasses.replace(self.plan, training=spec).to_json()
        if idea.batch_dice is not None:
            document["configurations"][self.configuration]["batch_dice"] = idea.batch_dice
        about = dict(read_json(self.workspace.dataset_json_of(self.prepared.dataset.name)))
        nnunet.activate(self.workspace)
        trainer = Network(document, self.configuration, fold, about, CPU)
        trainer.disable_checkpointing = True
        if idea.light is not None:
            trainer.get_training_transforms = functools.partial(lighter, idea.light)
        with quiet():
            trainer.initialize()
            trainer.on_train_start()
        return trainer

    def held_out(self, fold: int, most: int = MOST_CASES) -> list[str]:
        """Cases that are held out, of many every n-th."""
        cases = sorted(self.prepared.folds[fold].validation)
        return cases[:: max(1, -(-len(cases) // most))]

    def dice(self, trainer: Network, cases: list[str]) -> list[float]:
        """Mean Dice over structures of each case, at the spacing of the training."""
        planned = self.plan.configuration(self.configuration)
        network = trainer._bare_network().eval()
        trainer.set_deep_supervision_enabled(False)
        data = HeldDataset(trainer.preprocessed_dataset_folder, cases, None)
        axes = trainer.inference_allowed_mirroring_axes or ()
        found = []
        with torch.inference_mode():
            for case in cases:
                image, labels, *_ = data.load_case(case)
                logits = predict_logits(
                    network, torch.from_numpy(image[:]), planned.patch_size, mirror_axes=axes
                )
                found.append(case_dice(logits.argmax(0).numpy(), labels[0], len(logits)))
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        network.train()
        return found


def case_dice(found: np.ndarray, wanted: np.ndarray, classes: int) -> float:
    """Mean over structures; one that is in neither does not count."""
    values = []
    for label in range(1, classes):
        a, b = found == label, wanted[:] == label
        if total := int(a.sum() + b.sum()):
            values.append(2 * int((a & b).sum()) / total)
    return float(np.mean(values))


class Averages:
    """The averages of weights that are tried, all in one training."""

    def __init__(self, network: torch.nn.Module, steps: int) -> None:
        self.network, self.from_step, self.count = network, 2 * steps // 3, 0
        self.kept = {name: self._copy() for name in (*map("EMA {:g}".format, DECAYS), "last third")}

    def _copy(self) -> list[Tensor]:
        return [value.detach().clone() for value in self.network.parameters()]

    def add(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        now = [value.detach() for value in self.network.parameters()]
        for decay in DECAYS:
            share = 1 - min(decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.kept[f"EMA {decay:g}"], now, share)
        if step > self.from_step:
            self.count += 1
            torch._foreach_lerp_(self.kept["last third"], now, 1 / self.count)

    @contextlib.contextmanager
    def in_place(self, name: str) -> Iterator[None]:
        """Put an average into the network for a while."""
        parameters, own = list(self.network.parameters()), self._copy()
        with torch.no_grad():
            torch._foreach_copy_(parameters, self.kept[name])
            yield
            torch._foreach_copy_(parameters, own)


def measure(bench: Bench, idea: Idea, steps: int, seed: int, fold: int, looks: int) -> dict[str, Any]:
    """Train, and score the last weights and their averages on the held-out cases.

    Returns:
        Dice by case of each kind of weights, the curve of loss and Dice, and CPU seconds of a step.
    """
    trainer = bench.trainer(idea, steps, seed, fold)
    averages = Averages(trainer._bare_network(), steps)
    cases, few = bench.held_out(fold), bench.held_out(fold, LOOK_CASES)
    curve, losses, spent = [], [], 0.0
    for step in range(steps):
        progress = step / steps
        trainer.set_learning_rate(min(progress, trainer.warmup) if idea.constant else progress)
        began = time.process_time()
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        spent += time.process_time() - began
        averages.add(step + 1)
        if looks and (step + 1) % (steps // looks) == 0 and step + 1 < steps:
            dice = {"last": float(np.mean(bench.dice(trainer, few)))}
            with averages.in_place("EMA 0.99"):
                dice["EMA 0.99"] = float(np.mean(bench.dice(trainer, few)))
            curve.append({"step": step + 1, "loss": float(np.mean(losses)), **dice})
            losses = []
    found = {"last": bench.dice(trainer, cases)}
    for name in averages.kept:
        with averages.in_place(name):
            found[name] = bench.dice(trainer, cases)
    return {
        "cases": cases,
        "dice": found,
        "curve": curve,
        "step_cpu_s": spent / steps,
        "loss": float(np.mean(losses[-100:])),
    }


def lighter(
    kind: str, patch_size: Any, rotation: Any, scales: Any, mirror_axes: Any, dummy: bool, **target: Any
) -> Any:
    """nnU-Net's augmentation with smaller turns and scaling, with neither, or nothing at all."""
    made = augmentation.nnunet_transforms(patch_size, rotation, scales, mirror_axes, dummy, **target)
    for each in made.transforms:
        if isinstance(each, augmentation.AffineTransform):
            if kind == "light":
                each.rotation, each.scaling = (-np.pi / 12, np.pi / 12), (0.85, 1.15)
            else:
                each.p_rotation = each.p_scaling = 0.0
    if kind == "none":
        random = augmentation.RandomTransform
        made.transforms = [each for each in made.transforms if not isinstance(each, random)]
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep nnU-Net's prints off the terminal."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
