"""What a data set asks to be measured beside the usual, and the pixel size of images whose files have none.

The wishes stand under `evaluation` in dataset.json, or in an `evaluation.json` beside it, or, for raw data
that nobody can write to, in an `evaluation.json` in the workspace, which `autoseg measure` writes:

    {"metrics": ["hc_error", "hc_absolute_error"], "pixel_sizes": "cases.csv:pixel_mm"}

A metric may also be the name of an installed plug-in, or the path of a Python file that registers some, in
dataset.json relative to its folder. Of each of the two keys the workspace's value counts first, then that of
the file beside dataset.json. Where nobody says anything, a `cases.csv` beside dataset.json with exactly one
column of pixel sizes is taken.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoseg import plugins
from autoseg.data.dataset import Dataset
from autoseg.errors import UsageError
from autoseg.evaluation.own_metrics import metric_names, placed
from autoseg.evaluation.pixel_sizes import find_pixel_sizes, size_columns
from autoseg.metrics import find, known
from autoseg.system.files import read_json, write_json

log = logging.getLogger(__name__)

FILE_NAME, KEY, TABLE = "evaluation.json", "evaluation", "cases.csv"
KEYS = ("metrics", "pixel_sizes")


@dataclass(frozen=True)
class Measures:
    """What is measured beside the usual.

    Attributes:
        metrics: names; they are measured for every structure, where they apply.
        pixel_sizes: mm by case, for images of formats without a size; empty: their lengths are in pixels.
    """

    metrics: tuple[str, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)

    def met_by(self, settings: Mapping[str, Any]) -> bool:
        """Whether an evaluation with these settings has all of it."""
        there = set(self.metrics) <= set(settings.get("asked_metrics", ()))
        made = settings.get("definitions", {})
        current = {name: each.definition for name in self.metrics if (each := known(name))}
        there &= all(made.get(name, now) == now for name, now in current.items())
        return there and not (self.pixel_sizes and settings.get("length_unit") != "mm")


def measures_of(dataset: Dataset, stored: Path | None = None) -> Measures:
    """What is to be measured for a data set.

    Args:
        dataset: the raw data set; its dataset.json and the files beside it are read.
        stored: the file in the workspace that holds earlier requests (`Workspace.measures_of`).

    Raises:
        UsageError: for an unknown metric or key, a table that is not there, or a column without sizes.
    """
    requests = _requests(dataset, stored)
    metrics = metric_names(requests.get("metrics", ()), dataset.root)
    if "pixel_sizes" in requests:
        return Measures(metrics, find_pixel_sizes(str(requests["pixel_sizes"]), dataset.root))
    return Measures(metrics, _only_sizes(dataset))


def request_measures(
    dataset: Dataset, stored: Path, metrics: Sequence[str] | None, pixel_sizes: str | None
) -> Measures:
    """Write to the workspace what is to be measured from now on.

    Args:
        dataset: the raw data set.
        stored: the file to write (`Workspace.measures_of`).
        metrics: names, or Python files that register some; None leaves the earlier request.
        pixel_sizes: a table, or TABLE:COLUMN; None leaves the earlier request.

    Raises:
        UsageError: as `measures_of`; then nothing is written.
    """
    wanted = dict(_read(stored))
    if metrics is not None:
        # Whoever reads it may know nothing of a file but what stands there.
        metric_names(metrics, dataset.root)
        wanted["metrics"] = [_stored(text, dataset.root) for text in metrics]
    if pixel_sizes is not None:
        find_pixel_sizes(pixel_sizes, dataset.root)
        names = (pixel_sizes, pixel_sizes.rpartition(":")[0])
        beside = any((dataset.root / name).is_file() for name in names)
        wanted["pixel_sizes"] = pixel_sizes if beside else str(Path(pixel_sizes).absolute())
    write_json(stored, wanted)
    return measures_of(dataset, stored)


def _stored(text: str, folder: Path) -> str:
    if text.endswith(".py"):
        return str(placed(text, folder))
    return text if text in plugins.available("metrics") else find(text).name


def _requests(dataset: Dataset, stored: Path | None) -> dict[str, Any]:
    """By key, the request that counts."""
    found = dict(_checked(dataset.dataset_json.get(KEY, {}), dataset.root / "dataset.json"))
    found |= _read(dataset.root / FILE_NAME)
    if stored is not None:
        found |= _read(stored)
    return found


def _read(path: Path) -> Mapping[str, Any]:
    return _checked(read_json(path), path) if path.is_file() else {}


def _checked(content: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or (set(content) - set(KEYS)):
        raise UsageError(
            f"{path} requests the evaluation {content!r}; expected an object with "
            f'{" and ".join(KEYS)}, such as {{"metrics": ["hc_error"], "pixel_sizes": "cases.csv:pixel_mm"}}.'
        )
    metrics = content.get("metrics", [])
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        raise UsageError(f"{path}: metrics is {metrics!r}; expected a list of names.")
    return content


def _only_sizes(dataset: Dataset) -> Mapping[str, float]:
    """The pixel sizes in cases.csv, if exactly one of its columns has them."""
    table = dataset.root / TABLE
    columns = size_columns(table) if table.is_file() else []
    if len(columns) > 1:
        _say_once(
            f"{table} has the pixel sizes {', '.join(columns)}; lengths are in pixels until one is chosen: "
            f"autoseg measure {dataset.name} --pixel-sizes {table.name}:{columns[0]}"
        )
    if len(columns) != 1:
        return {}
    sizes = find_pixel_sizes(f"{table}:{columns[0]}")
    labelled = {case.identifier for case in dataset.cases if case.label is not None}
    if lacking := sorted(labelled - set(sizes)):
        log.warning("%s has no pixel size of %s: lengths are in pixels.", table, lacking[0])
        return {}
    _say_once(f"Lengths are in mm: the pixel sizes are those of the column {columns[0]} of {table}.")
    return sizes


@functools.cache
def _say_once(message: str) -> None:
    """A message of which one in a process is enough."""
    log.info("%s", message)
