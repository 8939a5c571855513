"""What all tests share: the real data, where it is at hand."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from autoseg.system import progress

# Beside the checkout on the machines that have it; elsewhere AUTOSEG_TEST_DATA names it.
REAL_DATA = Path(os.environ.get("AUTOSEG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Give the path of a real data set by name; skip the test where it is not at hand."""

    def path_of(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"the real data set {name} is not at hand (AUTOSEG_TEST_DATA names its folder)")
        return path

    return path_of


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The command line, called within a test, sets up messages for a whole process."""
    root, ours = logging.getLogger(), logging.getLogger("autoseg")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    for logger, level in zip((root, ours), levels, strict=True):
        logger.setLevel(level)
    progress.show("off")


Install = Callable[[Mapping[str, str], Mapping[str, Mapping[str, str]]], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path: modules by name, and entry points by group and name."""
    place = tmp_path / "site"

    def make(modules: Mapping[str, str], groups: Mapping[str, Mapping[str, str]]) -> Path:
        about = place / "outside-1.2.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.2\n")
        lines = []
        for group, points in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in modules.items():
            (place / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(place)
        return place

    return make
