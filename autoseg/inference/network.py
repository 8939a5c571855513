"""The network of a checkpoint: from the plan where that names it, else from its trainer.

Importing a trainer brings all that training needs, which takes longer than many predictions. Where the plan
says all of the network, it is built from there. (A plan may come from anywhere; `autoseg.planner.class_paths`
sees to it that it names classes of trusted packages only.)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from autoseg import nnunet
from autoseg.data.dataset import labels_from_json
from autoseg.errors import AutosegError, PlanError, RunError
from autoseg.inference.trained import Trained, fill
from autoseg.names import shown
from autoseg.planner.cascade import stage_channels
from autoseg.planner.plan import Configuration, Plan
from autoseg.planner.presets import PRESETS

STOCK_TRAINER = "nnUNetTrainer"


def build_network(
    trained: Trained, plan: Plan, dataset_json: Mapping[str, Any], as_planned: bool = False
) -> nn.Module:
    """The network of a checkpoint with its weights, on the processor, in training mode.

    Args:
        trained: what the checkpoint holds.
        plan: the model's plan.
        dataset_json: of the data set that it learnt from; channels and labels are read.
        as_planned: take the network that the plan names, whatever the trainer's name.

    Raises:
        PlanError: if the plan makes no network.
        RunError: if the trainer cannot be found, or the weights are those of another network.
    """
    trained = replace(trained, weights={_bare(key): value for key, value in trained.weights.items()})
    configuration = plan.configuration(trained.configuration)
    if as_planned or is_planned(trained.trainer, plan, configuration):
        network = planned_network(configuration, dataset_json, trained.path)
        if as_planned or trained.trainer == STOCK_TRAINER or _same_names(network, trained):
            fill(network, trained)
            return network
    network = _network_of_trainer(trained, plan, dataset_json)
    fill(network, trained)
    return network


def is_planned(trainer: str, plan: Plan, configuration: Configuration) -> bool:
    """Whether a trainer's network is known to be the one that the plan names, without importing it."""
    path = configuration.architecture.class_path
    if trainer == STOCK_TRAINER:
        return True
    file = None if plan.training is None else plan.training.trainer_file
    if plan.training is None or file is not None:
        return False
    from autoseg import plugins

    if trainer not in plugins.built_in("trainers"):
        return False
    return path.startswith("autoseg.") or (
        trainer in PRESETS and path.startswith("dynamic_network_architectures.")
    )


def planned_network(configuration: Configuration, dataset_json: Mapping[str, Any], path: Path) -> nn.Module:
    """The network that a plan names, with weights of no meaning. `path` of the checkpoint is for messages.

    Raises:
        PlanError: if it names what is no network, or its numbers make none.
    """
    spec = configuration.architecture
    kwargs = dict(spec.kwargs)
    for key in spec.requires_import:
        if kwargs.get(key) is not None:
            kwargs[key] = _located(str(kwargs[key]))
    kind = _located(spec.class_path)
    channels, heads = channels_of(configuration, dataset_json), labels_from_json(dataset_json).num_heads
    return _built(
        lambda: kind(input_channels=channels, num_classes=heads, deep_supervision=False, **kwargs), path
    )


def channels_of(configuration: Configuration, dataset_json: Mapping[str, Any]) -> int:
    """Channels that a network takes; the second stage of a cascade has one more for each foreground label."""
    channels = len(dataset_json.get("channel_names") or dataset_json.get("modality") or {})
    return channels + stage_channels(configuration, labels_from_json(dataset_json))


def trainer_of(name: str, plan: Plan, folder: Path) -> type[Any]:
    """The trainer of that name, or of the file that the plan names, else nnU-Net's own look-up.

    Raises:
        RunError: if there is none; it says what to do.
    """
    from autoseg import plugins

    file = None if plan.training is None else plan.training.trainer_file
    if file is not None or name in plugins.available("trainers"):
        return plugins.trainer_of_plan(name, file, f"The model {folder}")
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        found: type[Any] = recursive_find_trainer_class_by_name(name)
    except (RuntimeError, AssertionError, ImportError, SyntaxError):
        raise RunError(
            f"The model {folder} was trained by {shown(name)}, which neither autoseg nor nnU-Net has. "
            f"Install what brings it, or name its folder in {nnunet.EXTENSION_VARIABLE}. If it changes the "
            f"training and not the network, predict with --network-of-plan."
        ) from None
    return found


def _network_of_trainer(trained: Trained, plan: Plan, dataset_json: Mapping[str, Any]) -> nn.Module:
    folder = trained.path.parents[1]
    trainer = trainer_of(trained.trainer, plan, folder)
    manager = nnunet.plans_manager({**plan.to_json(), "continue_training": False})
    configuration = plan.configuration(trained.configuration)
    channels, heads = channels_of(configuration, dataset_json), labels_from_json(dataset_json).num_heads
    planned = manager.get_configuration(trained.configuration)
    return _built(
        lambda: trainer.build_network_architecture(manager, planned, channels, heads, False), trained.path
    )


def _built(build: Callable[[], nn.Module], path: Path) -> nn.Module:
    try:
        return build()
    except AutosegError:
        raise
    except Exception as problem:  # constructors of other packages with numbers of a file: whatever they raise
        said = " ".join(str(problem).split())[:200]
        raise PlanError(
            f"{path.parents[1] / 'plans.json'} makes no network ({type(problem).__name__}: {said}). Restore "
            f"it from its source, beside the checkpoints that were trained with it."
        ) from problem


def _same_names(network: nn.Module, trained: Trained) -> bool:
    """Whether a network has the checkpoint's weights; one of a trainer of autoseg may be another's."""
    own = network.state_dict()
    return own.keys() == trained.weights.keys()


def _bare(key: str) -> str:
    for wrapper in ("module.", "_orig_mod."):
        key = key.removeprefix(wrapper)
    return key


def _located(path: str) -> Any:
    """A class by its dotted path.

    Raises:
        PlanError: if it is not a class of a network or a layer.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise PlanError(
            f"The plan names {path!r} as part of its network, which cannot be used: {problem}. Give the "
            f"plans.json that the model was trained with."
        ) from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise PlanError(f"The plan names {path!r} as part of its network, which is no class of a layer.")
    return found
