"""The review's page in a browser: what tests and the benchmark press and read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from chromium import Chromium, Page


class ReviewPage:
    """One tab with a review.

    Args:
        browser: runs it.
        address: with the token.
    """

    def __init__(self, browser: Chromium, address: str, width: int = 1440, scheme: str = "light") -> None:
        self.page: Page = browser.page()
        self.page.media(prefers_color_scheme=scheme)
        self.page.open(address, width)
        self.until("document.body.dataset.ready === 'yes'")

    def until(self, condition: str, seconds: float = 120) -> None:
        """Wait for a condition in the page."""
        end = time.monotonic() + seconds
        while not self.page.run(condition):
            assert time.monotonic() < end, f"{condition}: {self.text('#alert')}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        return str(self.page.run(f"document.querySelector({selector!r})?.textContent ?? ''"))

    @property
    def case(self) -> str:
        return self.text("#case")

    def key(self, key: str, code: str = "", modifiers: int = 0) -> None:
        self.page.press(key, code, modifiers)

    def settled(self) -> None:
        """Until all that was asked of the server is answered."""
        self.page.run("window.review.settled().then(() => true)")

    def go_on(self, key: str = "n") -> str:
        """To another case, by its key."""
        before = self.case
        self.key(key)
        self.until(
            f"!['Loading', {before!r}].some(t => document.querySelector('#case').textContent.startsWith(t))"
        )
        return self.case

    def drawing(self) -> list[int]:
        """How many voxels each label has in the drawing."""
        script = (
            "(() => { const n = new Array(8).fill(0);"
            " for (const v of window.review.state.drawing.values) n[v]++; return n; })()"
        )
        return [int(each) for each in self.page.run(script)]

    def canvas(self, number: int = 0) -> dict[str, Any]:
        """Where a canvas lies."""
        found: dict[str, Any] = self.page.run(
            f"(() => {{ const c = document.querySelectorAll('#views canvas')[{number}];"
            f" const b = c.getBoundingClientRect();"
            f" return {{x: b.x, y: b.y, width: b.width, height: b.height}}; }})()"
        )
        return found

    def violations(self, axe: str) -> list[Any]:
        """What axe-core finds."""
        self.page.run(axe + "; 0")
        found: list[Any] = self.page.run(
            "axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))"
        )
        return found

    def picture(self, path: Path) -> Path:
        time.sleep(0.5)
        return self.page.picture(path)
