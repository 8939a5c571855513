"""Errors that nobody foresaw, refusals of the operating system, and a reader that has gone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from autoseg.cli import app
from autoseg.cli.unexpected import UNEXPECTED, report_unexpected


@pytest.mark.unforeseen
def test_an_unforeseen_error_is_one_line_and_a_log_file(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ZeroDivisionError("boom")
    except ZeroDivisionError as error:
        assert report_unexpected(error) == UNEXPECTED == 70
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "ZeroDivisionError: boom" in told and "Traceback" not in told
    log = Path(re.search(r"details are in (\S+\.log)", told)[1])  # type: ignore[index]
    assert "Traceback" in log.read_text() and "boom" in log.read_text()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/data/x"), "/data/x: Permission denied. Check the owner"),
        (
            OSError(28, "No space left on device", "/data/x"),
            "/data/x: No space left on device. Check the disk",
        ),
        (OSError(40, "Too many levels of symbolic links", "/l"), "/l: Too many levels of symbolic links"),
    ],
)
def test_what_the_system_refuses_names_path_and_remedy(
    error: OSError, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_unexpected(error) == 1
    assert words in capsys.readouterr().err


@pytest.mark.unforeseen
def test_main_ends_with_that_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 70
    assert "RecursionError: too deep" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_error() -> None:
    command = f"{sys.executable} -m autoseg list trainers | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.unforeseen
def test_a_file_that_ends_too_early_is_no_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise typer.Abort from EOFError("the file ends")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 70
    told = capsys.readouterr().err
    assert "the file ends" in told and "interrupted" not in told


def test_a_folder_for_the_logs_may_be_named_and_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOSEG_ERROR_LOGS", str(tmp_path))
    report_unexpected(ZeroDivisionError("boom"))
    (log,) = tmp_path.glob("autoseg_error_*.log")
    assert str(log) in capsys.readouterr().err
    monkeypatch.setenv("AUTOSEG_ERROR_LOGS", str(tmp_path / "missing"))
    assert report_unexpected(ZeroDivisionError("boom")) == UNEXPECTED
    assert "could not be written" in capsys.readouterr().err
