"""How models predict beyond what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoseg.inference.engines import check_engine


@dataclass(frozen=True)
class Options:
    """Choices of whoever predicts.

    Attributes:
        engine: what computes on a processor: ``auto``, ``torch``, ``openvino`` or ``onnxruntime``.
        fast: no mirrored copies for windows whose first pass leaves hardly a voxel in doubt.
        folds: of each model; None: all that are trained.
        as_planned: take the network that a plan names, whatever trainer the checkpoint names.
    """

    engine: str = "torch"
    fast: bool = False
    folds: tuple[int | str, ...] | None = None
    as_planned: bool = False

    def __post_init__(self) -> None:
        check_engine(self.engine)

    @property
    def of_model_folders(self) -> tuple[str, ...]:
        """The command line's names of those that were chosen and that a bundle does not know."""
        chosen = {
            "--engine": self.engine not in ("auto", "torch"),
            "--fast": self.fast,
            "--folds": self.folds is not None,
            "--network-of-plan": self.as_planned,
        }
        return tuple(name for name, is_chosen in chosen.items() if is_chosen)

    @property
    def changes(self) -> dict[str, Any]:
        """Those that change what is predicted, beyond rounding."""
        found: dict[str, Any] = {}
        if self.fast:
            found["fast"] = True
        if self.folds is not None:
            found["folds"] = [str(fold) for fold in self.folds]
        return found
