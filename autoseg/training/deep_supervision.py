"""Weights of deep supervision that nnU-Net gets wrong."""

from __future__ import annotations

from typing import Any


def weigh_one_output(loss: Any) -> None:
    """Mend nnU-Net's weights of deep supervision where there is a single output (nnU-Net 2.8).

    The last output gets none, and the rest is divided by its sum: of one output, 0/0, so that every loss is
    NaN and the network never learns.
    """
    if len(loss.weight_factors) == 1:
        loss.weight_factors = (1.0,)
