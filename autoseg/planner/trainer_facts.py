"""What a trainer says of itself, read from its file without importing it.

Importing a trainer brings torch and nnunetv2, which takes seconds and memory that a plan, or a dry run of
thousands of jobs, does not need. The class attributes stand in the file as plain values; those of base
classes in theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoseg import plugins
from autoseg.plugins.source import class_attributes, own_attributes, trainer_in

# What `auto` can choose for: data of slices and of volumes, photographs and the like, and slices of
# volumes whose dimension is in doubt, in MR and in CT.
SITUATIONS = ("2d", "3d", "pictures", "slices_mr", "slices_ct")


@dataclass(frozen=True)
class TrainerFacts:
    """Attributes of a trainer's class; see `autoseg.training.Trainer`."""

    name: str
    documented: bool = False
    dimensions: tuple[int, ...] = (2, 3)
    preferred_dimension: int | None = None
    epochs: int = 1000
    steps_per_epoch: int = 250
    adaptive_width: bool = False
    smallest_batch: int = 2
    optimizer_name: str = "sgd"
    kind: str = ""
    pace: float = 1.0
    pretrained_encoder: bool = False
    auto: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def moments(self) -> int:
        """Values that the optimiser keeps for each weight."""
        return 1 if self.optimizer_name == "sgd" else 2


_NAMES = tuple(item.name for item in fields(TrainerFacts) if item.name != "name")


def facts(name: str) -> TrainerFacts:
    """The facts of a trainer, by its name or the path of its file.

    Raises:
        UsageError: if there is none.
    """
    path = _file_of(name)
    if path is None:
        # An installed plug-in, which has to be imported after all.
        found = plugins.trainer_class(name)
        attributes = {key: getattr(found, key) for key in _NAMES}
        attributes["auto"] = vars(found).get("auto", {})
    else:
        own = trainer_in(path)
        # What a trainer is chosen for says nothing of those that are derived from it.
        attributes = {**class_attributes(path, own), "auto": own_attributes(path, own).get("auto", {})}
    known: dict[str, Any] = {key: value for key, value in attributes.items() if key in _NAMES}
    if "dimensions" in known:
        known["dimensions"] = tuple(known["dimensions"])
    return TrainerFacts(name, **known)


def _file_of(name: str) -> Path | None:
    if name.endswith(".py"):
        return Path(name)
    own = Path(__file__).parents[1] / "trainers" / f"{name}.py"
    return own if own.is_file() else None
