"""Metrics from outside: those of an installed package, or of a Python file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from autoseg import plugins
from autoseg.errors import UsageError
from autoseg.metrics import METRICS, Metric, find


def metric_names(texts: Sequence[str], folder: Path | None = None) -> tuple[str, ...]:
    """The names of metrics, those that are not built in registered first.

    Args:
        texts: names, ids of definitions, names of installed plug-ins, or paths of Python files; a plug-in
            stands for all the metrics that it registers.
        folder: a folder that paths may be relative to, beside the current one.

    Raises:
        UsageError: for an unknown name, or a plug-in that registers no metric.
    """
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_names_of(text, folder)))
    return tuple(found)


def _names_of(text: str, folder: Path | None) -> list[str]:
    registered = any(text in (each.name, each.definition) for each in METRICS.values())
    if registered or not (text.endswith(".py") or text in plugins.available("metrics")):
        return [find(text).name]
    module = plugins.find("metrics", str(placed(text, folder)) if text.endswith(".py") else text)
    names = [each.name for each in METRICS.values() if _is_of(each, module)]
    if not names:
        raise UsageError(
            f"{text} registers no metric. Put @metric('name.v1', scale) of autoseg.metrics above a formula."
        )
    return names


def _is_of(metric: Metric, module: ModuleType) -> bool:
    """Whether a module, as it is now, registered a metric."""
    return getattr(metric.formula, "__globals__", None) is vars(module)


def placed(text: str, folder: Path | None) -> Path:
    """A plug-in's file, absolute: relative to a folder if it is there, else to the current one."""
    beside = None if folder is None else folder / text
    return beside.absolute() if beside is not None and beside.is_file() else Path(text).absolute()
