"""The optimisers that a trainer can choose by name."""

from __future__ import annotations

from typing import Any, Literal

import torch

Name = Literal["sgd", "adam", "adamw"]


def make_optimizer(
    name: Name,
    parameters: Any,
    learning_rate: float,
    *,
    weight_decay: float,
    momentum: float,
    epsilon: float,
) -> torch.optim.Optimizer:
    """An optimiser over parameters or groups of them.

    All are fused: they pass once over the weights, which a CPU otherwise reads several times a step.

    Args:
        name: ``sgd`` (with Nesterov's momentum), ``adam`` or ``adamw``.
        parameters: tensors or groups of them, as torch takes them.
        learning_rate: the rate at the start.
        weight_decay: with Adam a penalty on the weights, with AdamW decoupled from the gradient.
        momentum: used by SGD only.
        epsilon: used by Adam and AdamW only.
    """
    if name == "sgd":
        return torch.optim.SGD(
            parameters, learning_rate, momentum, weight_decay=weight_decay, nesterov=momentum > 0, fused=True
        )
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return kind(parameters, learning_rate, eps=epsilon, weight_decay=weight_decay, fused=True)
