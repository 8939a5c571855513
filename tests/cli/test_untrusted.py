"""Files from strangers are read in a process with limits unless the user says that they are trusted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoseg.cli.app import app
from autoseg.errors import DataError, UsageError

OPTIONS = [([], True), (["--untrusted"], True), (["--trusted"], False)]


@pytest.mark.parametrize(("option", "elsewhere"), OPTIONS)
def test_import_reads_in_another_process_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], elsewhere: bool
) -> None:
    def read(*_: Any) -> None:
        raise DataError(f"read by {os.getpid()}. Look.")

    monkeypatch.setattr("autoseg.intake.conversion.import_dataset", read)
    words = ["import", str(tmp_path), "--name=A", f"--workspace={tmp_path / 'w'}", "--quiet", *option]
    found = CliRunner().invoke(app, words).exception
    assert isinstance(found, DataError) and "read by" in str(found)
    assert (str(found) != f"read by {os.getpid()}. Look.") == elsewhere


@pytest.mark.parametrize(("option", "limits"), OPTIONS)
def test_serve_reads_with_limits_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str], limits: bool
) -> None:
    def reader(guarded: bool) -> None:
        raise UsageError(f"limits: {guarded}. Look.")

    monkeypatch.setattr("autoseg.serving.reader_process.ReaderProcess", reader)
    (tmp_path / "model").mkdir()
    (tmp_path / "in").mkdir()
    places = [str(tmp_path / "model"), "--watch", str(tmp_path / "in"), str(tmp_path / "out")]
    found = CliRunner().invoke(app, ["serve", *places, "--quiet", *option]).exception
    assert isinstance(found, UsageError) and str(found) == f"limits: {limits}. Look."
