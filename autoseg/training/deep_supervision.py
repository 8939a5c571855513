"""Weights of deep supervision that nnU-Net gets wrong."""

from __future__ import annotations

from typing import Any

from autoseg.errors import RunError


def weigh_one_output(loss: Any, stock: bool = False) -> None:
    """Mend nnU-Net's weights of deep supervision where there is a single output (nnU-Net 2.8).

    The last output gets none, and the rest is divided by its sum: of one output, 0/0, so that every loss is
    NaN and the network never learns.

    Args:
        loss: nnU-Net's, of several outputs.
        stock: whether the training is to be nnU-Net's own, unmodified.

    Raises:
        RunError: if it is, and cannot learn.
    """
    if len(loss.weight_factors) == 1:
        if stock:
            raise RunError(
                "nnU-Net itself learns nothing with this plan: its network has a single output, whose weight "
                "in the loss is 0/0. Train nnunet without stock=true, where it has weight 1."
            )
        loss.weight_factors = (1.0,)
