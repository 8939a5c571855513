"""What there is to choose from: trainers, architectures, metrics, layouts, engines."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.architectures import build_network
from autoseg.errors import AutosegError, UsageError
from autoseg.planner.topology import REFERENCE_PATCH, reference_topology

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from torch import nn

log = logging.getLogger(__name__)

# Sizes are listed for one channel, two classes and a patch as nnU-Net plans it for isotropic data.
REFERENCE_CHANNELS, REFERENCE_CLASSES = 1, 2
REFERENCE = (
    f"Millions of parameters, and MB in float32, with {REFERENCE_CHANNELS} channel and "
    f"{REFERENCE_CLASSES} classes; patch "
    + " and ".join(" x ".join(map(str, patch)) for patch in REFERENCE_PATCH.values())
    + "."
)
# Families without networks, whose entries are shown as they are.
PLAIN = ("metrics", "layouts", "engines", "loggers")
# torchvision's README: its models may be subject to the terms of the data that they were trained on.
LICENCE = "none stated by torchvision; ImageNet's: non-commercial research"


def entries(family: str) -> list[dict[str, Any]]:
    """One dictionary per member of a family.

    Raises:
        UsageError: for a family that does not exist.
    """
    if family == "metrics":
        return _metrics()
    tellers: Mapping[str, Callable[[str], dict[str, Any]]] = {
        "trainers": _trainer,
        "architectures": _architecture,
        "layouts": _layout,
        "engines": _engine,
        "loggers": _logger,
    }
    if family in tellers:
        return list(_entries(family, tellers[family]))  # type: ignore[arg-type]  # one of them
    raise UsageError(f"There is no list of {family!r}. Choose {', '.join((*plugins.FAMILIES, 'machine'))}.")


def _layout(name: str) -> dict[str, Any]:
    layout = plugins.find_class("layouts", name)
    return {"name": name, "about": layout.about(), "looks like": layout.looks_like}


def _engine(name: str) -> dict[str, Any]:
    engine = plugins.find_class("engines", name)
    return {"name": name, "about": engine.about(), "needs": engine.needs}


def _logger(name: str) -> dict[str, Any]:
    logger = plugins.find_class("loggers", name)
    about = inspect.getdoc(logger) or ""
    return {"name": name, "about": about.partition(".")[0] + ".", "needs": logger.package}


def _entries(family: plugins.Family, tell: Callable[[str], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each of a family, and where it comes from; what is installed and broken is named and left out."""
    for name, origin in sorted(plugins.origins(family).items()):
        try:
            yield {**tell(name), "from": origin}
        except AutosegError as problem:
            if origin == plugins.BUILT_IN:
                raise
            log.warning("%s is left out. %s", name, problem)


def _metrics() -> list[dict[str, Any]]:
    from autoseg.evaluation.own_metrics import metric_names
    from autoseg.metrics import METRICS

    outside: dict[str, str] = {}
    for name, origin in plugins.origins("metrics").items():
        if origin != plugins.BUILT_IN:
            try:
                outside |= dict.fromkeys(metric_names([name]), origin)
            except AutosegError as problem:
                log.warning("%s is left out. %s", name, problem)
    return [
        {
            "name": each.name,
            "definition": each.definition,
            "unit": each.unit,
            "ranked": each.ranked,
            "from": outside.get(each.name, plugins.BUILT_IN),
        }
        for each in METRICS.values()
        if each.group != "own" or each.name in outside
    ]


def document(family: str) -> dict[str, Any]:
    """The entries as JSON, with the size of the networks that they tell of.

    Raises:
        UsageError: for a family that does not exist.
    """
    found: dict[str, Any] = {family: entries(family)}
    if family not in PLAIN:
        patches = {f"{axes}d": list(patch) for axes, patch in REFERENCE_PATCH.items()}
        found["reference"] = {
            "channels": REFERENCE_CHANNELS,
            "classes": REFERENCE_CLASSES,
            "patch_size": patches,
        }
    return found


def _architecture(name: str) -> dict[str, Any]:
    module = plugins.find("architectures", name)
    first = (module.__doc__ or "").strip().splitlines()[0]
    return {
        "name": name,
        "dimensions": list(module.DIMENSIONS),
        "about": first,
        **_sizes(name, module.DIMENSIONS, {}),
    }


def _trainer(name: str) -> dict[str, Any]:

    trainer = plugins.trainer_class(name)
    architecture = trainer.architecture or trainer.planned_architecture
    return {
        "name": name,
        "dimensions": list(trainer.dimensions),
        "documented": trainer.documented,
        **_sizes(architecture, trainer.dimensions, trainer.architecture_options),
        "paper": trainer.paper,
        # A training starts from random weights unless a person asks for others.
        "loads": "none",
        "fitting_weights": _imagenet(architecture),
    }


def _sizes(architecture: str, dimensions: Sequence[int], options: Mapping[str, Any]) -> dict[str, Any]:
    chosen = tuple(sorted(options.items()))
    parameters = {f"{axes}d": _parameters(architecture, axes, chosen) for axes in dimensions}
    megabytes = {key: round(count * 4 / 1e6, 1) for key, count in parameters.items()}
    return {"parameters": parameters, "size_mb": megabytes}


def _parameters(architecture: str, dimensions: int, options: tuple[tuple[str, Any], ...] = ()) -> int:
    return sum(parameter.numel() for parameter in _network(architecture, dimensions, options).parameters())


@functools.cache
def _network(architecture: str, dimensions: int, options: tuple[tuple[str, Any], ...] = ()) -> nn.Module:
    """A network at the reference size, without memory or random numbers."""
    import torch

    from autoseg.architectures._contract import Numberless

    topology = reference_topology(dimensions)
    with torch.device("meta"), Numberless():
        return build_network(architecture, REFERENCE_CHANNELS, REFERENCE_CLASSES, topology, **dict(options))


@functools.cache
def _imagenet(architecture: str) -> dict[str, str] | None:
    """What ``--init imagenet`` loads into an architecture's encoder; None where there is nothing."""
    from autoseg.transfer.imagenet import PUBLISHED, encoder_of, published_file

    try:
        encoder = encoder_of(_network(architecture, 2))
    except UsageError:
        return None
    name = f"ImageNet, torchvision {PUBLISHED[encoder]}"
    return {"name": name, "source": published_file(encoder).url, "licence": LICENCE}


def table(family: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The entries for the terminal."""
    from rich import box
    from rich.console import Group
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    if family in PLAIN:
        _fill_plainly(shown, rows)
        return shown
    if family == "architectures":
        _fill_with_sizes(shown, rows, {"about": lambda row: row["about"]})
        return Group(REFERENCE, "", shown, *_from_outside(rows))
    marks = _marks(rows)
    loads = {"loads": lambda row: f"{row['loads']} {marks.get(_weights_of(row), '')}"}
    _fill_with_sizes(
        shown,
        sorted(rows, key=lambda row: not row["documented"]),
        {**loads, "paper": lambda row: row["paper"]},
    )
    return Group(REFERENCE, "", shown, "", *_notes(rows), *_from_outside(rows))


def _from_outside(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where those come from that are not built in."""
    outside = [row for row in rows if row["from"] != plugins.BUILT_IN]
    return [f"{row['name']} comes from {row['from']}." for row in outside]


def _fill_plainly(shown: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.markup import escape

    for column in rows[0] if rows else ():
        shown.add_column(column)
    for row in rows:
        cells = ({True: "yes", False: ""}.get(item, item) for item in row.values())
        shown.add_row(*(escape(str(cell)) for cell in cells))


def _fill_with_sizes(
    shown: Table, rows: Sequence[Mapping[str, Any]], more: Mapping[str, Callable[[Mapping[str, Any]], str]]
) -> None:
    """Name, parameters and megabytes by dimension, and what else there is; documented rows apart."""
    keys = ("2d", "3d")
    shown.add_column("name", no_wrap=True)
    for key in keys:
        shown.add_column(key.upper(), justify="right", no_wrap=True)
        shown.add_column("MB", justify="right", no_wrap=True)
    for column in more:
        shown.add_column(column, no_wrap=column == "loads")
    documented = [bool(row.get("documented")) for row in rows]
    for row, this, following in zip(rows, documented, [*documented[1:], False], strict=True):
        sizes = []
        for key in keys:
            count = row["parameters"].get(key)
            sizes += ["-", ""] if count is None else [f"{count / 1e6:.2f}", f"{row['size_mb'][key]:.0f}"]
        cells = [text(row) for text in more.values()]
        shown.add_row(row["name"], *sizes, *cells, end_section=this and not following)


def _weights_of(row: Mapping[str, Any]) -> str:
    return str((row["fitting_weights"] or {}).get("name", ""))


def _marks(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = dict.fromkeys(filter(None, map(_weights_of, rows)))
    return dict(zip(names, "abcdefgh", strict=False))


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the marks stand for."""
    known = {_weights_of(row): row["fitting_weights"] for row in rows}
    notes = [
        "First the documented systems, then the baselines. Every training starts from random weights; with "
        "--init imagenet the encoders that are marked load:"
    ]
    for name, mark in _marks(rows).items():
        notes += [f"  {mark}  {name}", f"     {known[name]['source']}"]
    licences = dict.fromkeys(weights["licence"] for weights in known.values() if weights)
    return [*notes, *(f"     licence: {licence}" for licence in licences)]
