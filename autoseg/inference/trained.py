"""What a checkpoint says of the network that it holds, checked before a network is built from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoseg import nnunet
from autoseg.errors import RunError
from autoseg.names import shown
from autoseg.planner.plan import Plan

_REMEDY = "Restore the file from its source, or finish the training again."
_MOST_LISTED = 3


@dataclass(frozen=True)
class Trained:
    """A checkpoint's entries that predicting needs.

    Attributes:
        path: the file.
        trainer: the trainer's name.
        configuration: one of the plan's.
        mirror_axes: axes of the patch that may be mirrored.
        weights: by name.
    """

    path: Path
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]
    weights: Mapping[str, Tensor]


def read_trained(path: Path, plan: Plan) -> Trained:
    """Read a checkpoint and check what it says against the plan.

    Raises:
        RunError: with the entry, its value and what was expected.
    """
    content = nnunet.read_checkpoint(path)
    if unnamed := [name for name in content["network_weights"] if not isinstance(name, str)]:
        raise _wrong(path, "network_weights", unnamed[0], "names of weights")
    trainer = content.get("trainer_name")
    if not isinstance(trainer, str) or not re.fullmatch(r"[A-Za-z_]\w{0,199}", trainer):
        raise _wrong(path, "trainer_name", trainer, "the name of a trainer")
    about = content.get("init_args")
    configuration = about.get("configuration") if isinstance(about, Mapping) else about
    if not isinstance(configuration, str) or configuration not in plan.configurations:
        known = f"one of the plan's: {', '.join(plan.configurations)}"
        raise _wrong(path, "init_args.configuration", configuration, known)
    axes = content.get("inference_allowed_mirroring_axes")
    axes = () if axes is None else axes
    allowed = range(plan.configuration(configuration).dimensions)
    if not isinstance(axes, tuple | list) or any(
        type(axis) is not int or axis not in allowed for axis in axes
    ):
        expected = f"None, or axes from 0 to {len(allowed) - 1}"
        raise _wrong(path, "inference_allowed_mirroring_axes", axes, expected)
    return Trained(path, trainer, configuration, tuple(dict.fromkeys(axes)), content["network_weights"])


def fill(network: torch.nn.Module, trained: Trained) -> None:
    """Give a network its weights.

    Raises:
        RunError: if they are of another network, or not finite.
    """
    wanted, given = network.state_dict(), trained.weights
    problems = [f"it lacks {name}" for name in wanted if name not in given]
    problems += [f"{shown(str(name))} is not in the network" for name in given if name not in wanted]
    problems += [
        f"{name} is {_kind(given[name])}, the network has {_kind(tensor)}"
        for name, tensor in wanted.items()
        if name in given and not _fits(given[name], tensor)
    ]
    if problems:
        more = f", and {len(problems) - _MOST_LISTED} more" if len(problems) > _MOST_LISTED else ""
        raise RunError(
            f"{trained.path} does not fit the network of its plan: "
            f"{'; '.join(problems[:_MOST_LISTED])}{more}. Give the plans.json "
            f"and dataset.json that it was trained with."
        )
    if bad := [name for name, value in given.items() if not bool(torch.isfinite(value).all())]:
        raise RunError(f"{trained.path} holds weights that are not finite, the first in {bad[0]}. {_REMEDY}")
    network.load_state_dict(dict(given))


def _fits(given: Any, wanted: Tensor) -> bool:
    return (
        isinstance(given, Tensor)
        and given.layout == torch.strided
        and given.shape == wanted.shape
        and given.is_floating_point() == wanted.is_floating_point()
        and not given.is_complex()
    )


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{' x '.join(map(str, value.shape)) or 'one number'} of {str(value.dtype).removeprefix('torch.')}"


def _wrong(path: Path, entry: str, value: Any, expected: str) -> RunError:
    return RunError(f"{path} has the {entry} {shown(repr(value))}; expected {expected}. {_REMEDY}")
