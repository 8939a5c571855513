"""Progress of long work, on standard error.

The library says how far it is; whether and how that is shown is decided once, by the command line
(`show("bar")`, `show("lines")`) and is nothing by default.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Style = Literal["off", "lines", "bar"]
Advance = Callable[..., None]

_style: Style = "off"


def show(style: Style | Literal["auto"]) -> None:
    """Choose how progress is shown; `auto` is a bar on a terminal and plain lines elsewhere."""
    global _style
    _style = ("bar" if sys.stderr.isatty() else "lines") if style == "auto" else style


def style() -> Style:
    """How progress is shown."""
    return _style


@contextmanager
def stage(name: str, total: float, done: float = 0.0) -> Iterator[Advance]:
    """Show one stage of work.

    Args:
        name: of the stage.
        total: how much there is to do.
        done: of it before now, by an earlier start; the time that is left goes by what is done from here on.

    Yields:
        `advance(amount=1, detail="")`: report that `amount` of `total` more is done; `detail` is a few
        words shown behind the bar.
    """
    if _style == "off" or total <= 0:
        yield lambda amount=1, detail="": None
    elif _style == "bar":
        with _bar(name, total, done) as advance:
            yield advance
    else:
        with _lines(name, total, done) as advance:
            yield advance


@contextmanager
def _bar(name: str, total: float, done: float) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, detail="")
        progress.update(task, completed=done)

        def advance(amount: float = 1, detail: str = "") -> None:
            progress.update(task, advance=amount, detail=detail)

        yield advance


@contextmanager
def _lines(name: str, total: float, before: float = 0.0, every_seconds: float = 15.0) -> Iterator[Advance]:
    """Plain lines for logs: at most one in `every_seconds`, and one at the end."""
    start = time.monotonic()
    state = {"done": before, "shown": start}

    def advance(amount: float = 1, detail: str = "") -> None:
        state["done"] += amount
        now = time.monotonic()
        if now - state["shown"] < every_seconds:
            return
        state["shown"] = now
        part = min(1.0, state["done"] / total)
        here = state["done"] - before
        left = (now - start) * max(0.0, total - state["done"]) / here if here > 0 else float("nan")
        words = [f"{name}: {part:.0%}", f"about {left:.0f} s left", *filter(None, [detail])]
        sys.stderr.write(", ".join(words) + "\n")

    yield advance
    sys.stderr.write(f"{name}: done in {time.monotonic() - start:.1f} s\n")
