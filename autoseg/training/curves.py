"""nnU-Net's picture of the training curves, drawn now and then."""

from __future__ import annotations

import time
from typing import Any

# nnU-Net draws 50 million pixels after every epoch, which takes a second or more.
DRAW_EVERY_S = 60.0


class SeldomDrawn:
    """Leaves the picture out of most ends of epochs: short epochs would spend their time on it.

    It is drawn after the last epoch, and before that where the last time is long enough ago.
    """

    _drawn_at: float | None = None

    def on_epoch_end(self) -> None:
        """nnU-Net's end of an epoch."""
        now = time.monotonic()
        self._drawn_at = now if self._drawn_at is None else self._drawn_at
        if now - self._drawn_at >= DRAW_EVERY_S or self.current_epoch + 1 >= self.num_epochs:
            super().on_epoch_end()  # type: ignore[misc]
            self._drawn_at = time.monotonic()
            return
        draw, self.logger.plot_progress_png = self.logger.plot_progress_png, _nothing
        try:
            super().on_epoch_end()  # type: ignore[misc]
        finally:
            self.logger.plot_progress_png = draw

    # What the trainer brings.
    logger: Any
    current_epoch: int
    num_epochs: int


def _nothing(folder: str) -> None:
    """Draw nothing."""
