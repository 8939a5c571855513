"""What all tests share: the real data, where it is at hand."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium, chromium, find_chromium
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner

from autoseg.cli.unexpected import LOGS_VARIABLE, report_unexpected
from autoseg.errors import AutosegError
from autoseg.system import progress

# A test takes as long as the machine is busy: no example has to end within hypothesis' 200 ms, and none has
# to be drawn quickly.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")

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


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """One browser for the tests of pages."""
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium (AUTOSEG_CHROMIUM names one)")
    with chromium(program) as started:
        yield started


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions in float32 on any processor, as nnU-Net and bundles compute them."""
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)


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


def pytest_configure(config: pytest.Config) -> None:
    """Let every process of the tests, and all that they start, log what nobody foresaw in one folder."""
    config.addinivalue_line("markers", "unforeseen: reaches the last line of defence, and has to.")
    if not hasattr(config, "workerinput"):
        os.environ[LOGS_VARIABLE] = tempfile.mkdtemp(prefix="autoseg_tests_")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(LOGS_VARIABLE, ""), ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how often the last line of defence was reached, planned or not."""
    logs = list(Path(os.environ[LOGS_VARIABLE]).rglob("*.log"))
    terminalreporter.write_line(f"The last line of defence (exit status 70) was reached {len(logs)} times.")


@pytest.fixture(autouse=True)
def _nothing_unforeseen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test fails if a command ends with status 70 in it; one that is marked `unforeseen`, if none does."""
    place = Path(tempfile.mkdtemp(dir=os.environ[LOGS_VARIABLE]))
    monkeypatch.setenv(LOGS_VARIABLE, str(place))
    invoke = CliRunner.invoke

    def counted(self: CliRunner, *words: Any, **options: Any) -> Any:
        """The tests' runner catches what `main` would have reported."""
        result = invoke(self, *words, **options)
        error = result.exception
        if error is not None and not isinstance(error, (AutosegError, SystemExit, KeyboardInterrupt)):
            report_unexpected(error)
        return result

    monkeypatch.setattr(CliRunner, "invoke", counted)
    yield
    reached = [path.read_text(encoding="utf-8") for path in sorted(place.glob("*.log"))]
    if request.node.get_closest_marker("unforeseen"):
        assert reached, "The last line of defence was to be reached, and was not."
    elif reached:
        pytest.fail(f"An error that nobody foresaw, {len(reached)} times. The first:\n{reached[0]}")


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
