"""What there is to choose from: trainers, architectures, metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.architectures import Topology, build_network
from autoseg.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

# Sizes are told for one channel, two classes and a patch as nnU-Net plans it for isotropic data.
REFERENCE_PATCH = {2: (256, 256), 3: (128, 128, 128)}


def entries(family: str) -> list[dict[str, Any]]:
    """One dictionary per member of a family.

    Raises:
        UsageError: for a family that does not exist.
    """
    if family == "trainers":
        return [_trainer(name) for name in plugins.available("trainers")]
    if family == "architectures":
        return [_architecture(name) for name in plugins.available("architectures")]
    if family == "metrics":
        from autoseg.metrics import METRICS

        return [
            {"name": each.name, "definition": each.definition, "unit": each.unit, "ranked": each.ranked}
            for each in METRICS.values()
        ]
    raise UsageError(f"There is no list of {family!r}. Choose trainers, architectures or metrics.")


def reference_topology(dimensions: int) -> Topology:
    """Patch and strides at which sizes are told."""
    stages = 6 if dimensions == 3 else 7
    return Topology(
        REFERENCE_PATCH[dimensions],
        (1.0,) * dimensions,
        ((1,) * dimensions, *((2,) * dimensions,) * (stages - 1)),
        ((3,) * dimensions,) * stages,
    )


def _architecture(name: str) -> dict[str, Any]:
    module = plugins.find("architectures", name)
    first = (module.__doc__ or "").strip().splitlines()[0]
    return {
        "name": name,
        "dimensions": list(module.DIMENSIONS),
        "about": first,
        "parameters": _parameters(name),
    }


def _parameters(
    architecture: str, dimensions: Sequence[int] = (), options: Mapping[str, Any] | None = None
) -> dict[str, int]:
    import torch

    found = {}
    for each in dimensions or plugins.find("architectures", architecture).DIMENSIONS:
        with torch.device("meta"):
            network = build_network(architecture, 1, 2, reference_topology(each), **(options or {}))
        found[f"{each}d"] = sum(p.numel() for p in network.parameters())
    return found


def _trainer(name: str) -> dict[str, Any]:
    from autoseg import nnunet

    trainer = nnunet.trainer_class(name)
    architecture = trainer.architecture or trainer.planned_architecture
    parameters = _parameters(architecture, trainer.dimensions, trainer.architecture_options)
    return {
        "name": name,
        "dimensions": list(trainer.dimensions),
        "documented": trainer.documented,
        "parameters": parameters,
        "size_mb": {key: round(count * 4 / 1e6, 1) for key, count in parameters.items()},
        "paper": trainer.paper,
    }


def table(family: str, rows: list[dict[str, Any]]) -> Table:
    """The entries as a table for the terminal."""
    from rich.table import Table

    shown = Table(title=family)
    columns = list(rows[0]) if rows else []
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*(_cell(row[column]) for column in columns))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {item / 1e6:.2f} M" if isinstance(item, int) else f"{key} {item}"
            for key, item in value.items()
        )
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return {True: "yes", False: ""}.get(value, str(value)) if isinstance(value, bool) else str(value)
