"""nnU-Net's picture of the curves: after the last epoch, and seldom before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autoseg.training import curves as _curves
from autoseg.training.curves import SeldomDrawn


class Logger:
    """Counts the pictures."""

    drawn = 0

    def plot_progress_png(self, folder: str) -> None:
        """Draw."""
        self.drawn += 1


class Stock:
    """What nnU-Net's trainer does at the end of an epoch."""

    logger: Logger
    current_epoch = 0

    def on_epoch_end(self) -> None:
        """Draw and count."""
        self.logger.plot_progress_png("")
        self.current_epoch += 1


class Drawn(SeldomDrawn, Stock):
    """A trainer of five epochs."""

    num_epochs = 5

    def __init__(self) -> None:
        self.logger = Logger()


def test_short_epochs_are_drawn_once_at_the_end() -> None:
    trainer = Drawn()
    counts = []
    for _ in range(5):
        trainer.on_epoch_end()
        counts.append(trainer.logger.drawn)
    assert counts == [0, 0, 0, 0, 1]
    assert trainer.current_epoch == 5


def test_long_epochs_are_drawn_as_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(0, 1000, 70))
    monkeypatch.setattr(_curves, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    trainer = Drawn()
    for _ in range(4):
        trainer.on_epoch_end()
    assert trainer.logger.drawn == 3
