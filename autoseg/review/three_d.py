"""The viewer with three dimensions, NiiVue: fetched beside the page, which does not wait for it."""

from __future__ import annotations

import logging
import threading
from typing import Final

from autoseg.system.npm_packages import NIIVUE, PackageUnavailable, package_files

log = logging.getLogger(__name__)

_SCRIPT: Final = "dist/niivue.umd.js"


class ThreeD:
    """NiiVue's script, once it is there.

    Args:
        wanted: whether it is fetched at all; the page's own viewer needs nothing.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._script: bytes | None = None
        self._problem = "" if wanted else "The page was started with its own viewer."
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        if wanted:
            self._thread.start()

    def _fetch(self) -> None:
        try:
            self._script = package_files(NIIVUE, [_SCRIPT])[_SCRIPT]
        except PackageUnavailable as problem:
            self._problem = str(problem)
            log.warning("The page shows three planes and no 3D view: %s", problem)
        except Exception as problem:  # the page has a viewer of its own, whatever went wrong here
            self._problem = f"{type(problem).__name__}: {problem}"
            log.warning("The page shows three planes and no 3D view: %s", self._problem)

    def state(self) -> dict[str, str]:
        """``ready``, ``coming`` or ``missing``, and why it is missing."""
        if self._script is not None:
            return {"state": "ready", "why": ""}
        return {"state": "missing" if self._problem else "coming", "why": self._problem}

    def script(self) -> bytes | None:
        """The script, or None as long as it is not there."""
        return self._script

    def wait(self, seconds: float) -> None:
        """Wait until it is there or cannot be had; from the cache it comes at once."""
        if self._thread.is_alive():
            self._thread.join(seconds)
