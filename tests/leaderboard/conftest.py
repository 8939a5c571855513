"""One browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import Chromium, chromium, find_chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium (AUTOSEG_CHROMIUM names one)")
    with chromium(program) as started:
        yield started
