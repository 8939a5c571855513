"""A planned network whose last layer is fitted to some cases: checkpoints whose foreground has a shape.

All other weights are as they were drawn. A training of the planned network takes minutes each hundred steps;
this takes one pass for each case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.data.image import Image
from autoseg.inference.network import planned_network
from autoseg.planner.plan import Plan
from autoseg.preprocessing.case import preprocess_case

# Weight of the last layer's size beside its errors, of one voxel on average.
_RIDGE = 1e-3


def fit_last_layer(
    folder: Path, document: Mapping[str, Any], about: Mapping[str, Any], pairs: Sequence[tuple[Image, Image]]
) -> None:
    """Write fold 0's checkpoint of a plan's 3d_fullres, which stock nnU-Net and autoseg open.

    Args:
        folder: the model's folder.
        document: plans.json.
        about: dataset.json.
        pairs: images and labels of the cases, at most a patch large or cut to one.
    """
    plan = Plan.from_json(document)
    configuration = plan.configuration("3d_fullres")
    torch.manual_seed(0)
    network = planned_network(configuration, about, folder).eval()
    last = [module for module in network.modules() if isinstance(module, nn.Conv3d)][-1]
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    targets = []
    with torch.no_grad():
        for image, label in pairs:
            data, labels, _ = preprocess_case(image, label, plan, configuration, about)
            assert labels is not None
            network(torch.from_numpy(_fitting(data, configuration.patch_size))[None])
            targets.append(torch.from_numpy(_fitting(labels, configuration.patch_size)[0]).clamp(min=0))
    handle.remove()
    features = torch.cat([each[0].flatten(1).T for each in seen]).double()
    truth = torch.cat([each.flatten() for each in targets]).long()
    weights = _least_squares(features, truth, last.out_channels)
    with torch.no_grad():
        last.weight.copy_(weights[:-1].T.reshape(last.weight.shape))
        assert last.bias is not None
        last.bias.copy_(weights[-1])
    write_checkpoint(folder, network, document, about, configuration.name)


def write_checkpoint(
    folder: Path, network: nn.Module, document: Mapping[str, Any], about: Mapping[str, Any], name: str
) -> None:
    """Write fold 0's checkpoint as stock nnU-Net writes one, for a configuration of that name."""
    content = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {
            "plans": dict(document),
            "configuration": name,
            "fold": 0,
            "dataset_json": dict(about),
        },
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")


def _least_squares(features: Tensor, truth: Tensor, heads: int) -> Tensor:
    """Weights and bias (features + 1, heads): 1 for the label, 0 for others; rare labels count more."""
    whole = torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], dim=1)
    share = torch.bincount(truth, minlength=heads).double().clamp(min=1) / len(truth)
    weight = share.rsqrt()[truth][:, None]
    wanted = nn.functional.one_hot(truth, heads).double()
    square = whole.T @ (whole * weight) + _RIDGE * len(whole) * torch.eye(whole.shape[1], dtype=whole.dtype)
    return torch.linalg.solve(square, whole.T @ (wanted * weight)).float()


def _fitting(array: Any, size: Sequence[int]) -> Any:
    """An array (c, z, y, x), its middle cut or padded with zeros to a size."""
    for axis, length in enumerate(size, start=1):
        missing = length - array.shape[axis]
        if missing > 0:
            sides = [(0, 0)] * array.ndim
            sides[axis] = (missing // 2, missing - missing // 2)
            array = np.pad(array, sides)
        else:
            array = array.take(range(-missing // 2, -missing // 2 + length), axis=axis)
    return array
