"""Files of weights, read without running code that they may hold, under names that a network can have."""

from __future__ import annotations

import functools
import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoseg.errors import RunError
from autoseg.nnunet import read_checkpoint

# Of a run's folder, the best first.
CHECKPOINTS = (
    "checkpoint_final.pth",
    "checkpoint_best.pth",
    "checkpoint_latest.pth",
    "checkpoint_pretrained.pth",
)
# Where training scripts put a network's weights beside other things; the first is nnU-Net's and ours.
_ENTRIES = ("network_weights", "state_dict", "model_state_dict", "model", "network")
# What wrappers put in front of every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class WeightFile:
    """A file of weights.

    Attributes:
        path: the file's path.
        sha256: SHA-256 of its content.
        tensors: the tensors by name, without what wrappers put in front.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]


def read_weights(source: Path) -> WeightFile:
    """Read weights: a checkpoint of autoseg or nnU-Net, a state dict (.pth, .pt), or a .safetensors file.

    Args:
        source: a file, or the folder of a model or of one of its folds: then its final checkpoint, of the
            training on all cases if there is one, else of the first fold.

    Raises:
        RunError: if there is no such file, it holds no weights, or anything but weights and numbers.
    """
    path = _file(source)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return WeightFile(path, content_hash(path), _tensors(content, path))


def is_trained_model(source: Path) -> bool:
    """Whether a file is the checkpoint of a finished or running segmentation training, head and all.

    Encoders, bare state dicts and networks that learnt without labels are not.
    """
    path = _file(source)
    return path.suffix != ".safetensors" and _names_a_trainer(path, path.stat().st_mtime_ns)


@functools.lru_cache
def _names_a_trainer(path: Path, mtime_ns: int) -> bool:
    return "trainer_name" in _read_pickle(path)


def content_hash(source: Path) -> str:
    """SHA-256 of the file that `read_weights` would read.

    Raises:
        RunError: if there is none.
    """
    path = _file(source)
    return _sha256(path, path.stat().st_mtime_ns)


@functools.cache
def _sha256(path: Path, mtime_ns: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _file(source: Path) -> Path:
    path = checkpoint_in(source) if source.is_dir() else source
    if not path.is_file():
        raise RunError(f"There is no file of weights {path}. Check the path.")
    return path


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint to start from in a model's or a fold's folder.

    Raises:
        RunError: if there is none.
    """
    folds = sorted(folder.glob("fold_*"), key=lambda fold: (fold.name != "fold_all", fold.name))
    for name in CHECKPOINTS:
        for place in (folder, *folds):
            if (place / name).is_file():
                return place / name
    raise RunError(
        f"{folder} has no checkpoint, and neither has a fold_* in it. Give a model's folder "
        f"(trainer__plan__configuration), one of its folds, or a file."
    )


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as problem:
        raise RunError(f"{path} cannot be read as safetensors: {problem}. Fetch it again.") from None


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = read_checkpoint(path)  # nnU-Net's hold numpy numbers, which are allowed there
    except Exception as problem:  # an unpickler on foreign bytes: whatever it stumbles over, the file is bad
        raise RunError(f"{path} cannot be read as weights: {problem}. Fetch or write it again.") from None
    if not isinstance(content, Mapping):
        raise RunError(f"{path} holds a {type(content).__name__}; expected a state dict or a checkpoint.")
    return content


def _tensors(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    entry = next((content[key] for key in _ENTRIES if isinstance(content.get(key), Mapping)), content)
    tensors = {
        _unwrapped(name): value
        for name, value in entry.items()
        if isinstance(value, Tensor) and isinstance(name, str)
    }
    if not tensors:
        raise RunError(
            f"{path} holds no weights: its entries are {', '.join(map(str, list(content)[:8]))}. Expected a "
            f"state dict, or one under {', '.join(_ENTRIES)}."
        )
    return tensors


def _unwrapped(name: str) -> str:
    while prefix := next((each for each in _WRAPPERS if name.startswith(each)), ""):
        name = name.removeprefix(prefix)
    return name


def aliases(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The same tensors under the names that they may have within a network.

    As they are; as those of an encoder; and both without a first word that all of them share. timm's
    MobileNetV2 also gets torchvision's names.
    """
    variants = [dict(tensors)]
    first = {name.partition(".")[0] for name in tensors}
    if len(first) == 1 and all("." in name for name in tensors):
        variants.append({name.partition(".")[2]: value for name, value in tensors.items()})
    if "conv_stem.weight" in variants[-1]:
        variants.append({_torchvision_name(name): value for name, value in variants[-1].items()})
    return [*variants, *({f"encoder.{name}": value for name, value in each.items()} for each in variants)]


def with_blocks(tensors: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The tensors of one of nnU-Net's networks as those of one with another number of decoder blocks.

    nnU-Net counts decoder blocks from the bottleneck; blocks of the same resolution and width are those with
    the same distance to the last one.
    """
    pattern = re.compile(r"(decoder\.(?:stages|transpconvs|seg_layers)\.)(\d+)(\..*)")
    matches = {name: pattern.fullmatch(name) for name in tensors}
    there = 1 + max((int(match[2]) for match in matches.values() if match), default=blocks - 1)
    return {
        f"{match[1]}{int(match[2]) + blocks - there}{match[3]}" if match else name: tensors[name]
        for name, match in matches.items()
        if not match or int(match[2]) + blocks >= there
    }


# Blocks per stage of MobileNetV2: timm counts stages, torchvision goes on counting.
_STAGES = (1, 2, 3, 4, 3, 3, 1)
_STEM = {
    "conv_stem": "features.0.0",
    "bn1": "features.0.1",
    "conv_head": "features.18.0",
    "bn2": "features.18.1",
}
_FIRST = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
_OTHERS = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}


def _torchvision_name(name: str) -> str:
    """The name that a tensor of timm's MobileNetV2 has in torchvision's."""
    layer, _, kind = name.rpartition(".")
    block = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)", layer)
    if not block:
        return f"{_STEM.get(layer, layer)}.{kind}"
    stage, number = int(block[1]), int(block[2])
    inner = (_FIRST if stage == 0 else _OTHERS).get(block[3], block[3])
    return f"features.{sum(_STAGES[:stage]) + number + 1}.conv.{inner}.{kind}"
