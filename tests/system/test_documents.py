"""JSON and tables from outside: bounds, and one kind of error."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autoseg
from autoseg.errors import DataError
from autoseg.system.documents import DocumentError, parse_json
from autoseg.system.files import atomic_folder, read_json
from autoseg.system.tables import plain_cell, read_table, table_text, text_cell


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "NaN is not a number"),
        ("[-Infinity]", "-Infinity"),
        ("1e999", "too large"),
        ("9" * 5000, "5000 digits"),
        ("[" * 100_000, "nested"),
        ("[" * 65 + "]" * 65, "nested"),
        ("{", "Expecting"),
        (b"\xff\xfe", "UTF-8"),
        ("", "Expecting"),
    ],
)
def test_what_is_no_document_is_one_kind_of_error(text: str | bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        parse_json(text)


def test_nnunets_summaries_may_hold_nan() -> None:
    assert str(parse_json("[NaN]", finite=False)) == "[nan]"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_documents_come_back_as_they_were(value: object) -> None:
    assert parse_json(json.dumps(value)) == value


@given(st.binary(max_size=60))
def test_bytes_are_a_document_or_a_document_error(content: bytes) -> None:
    try:
        parse_json(content)
    except DocumentError as problem:
        assert str(problem)


def test_a_folder_and_a_file_without_permission_are_told_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: Is a directory"):
        read_json(tmp_path)


@pytest.mark.parametrize(
    "text", ["=1+1", "+49", "-x", "@sum", "\tx", "'quoted", "plain", "", "-0.5", "1e3", "'=1"]
)
def test_no_cell_is_a_formula_and_each_reads_back(text: str) -> None:
    cell = str(text_cell(text))
    assert plain_cell(cell) == text
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(cell)


@given(st.text())
def test_every_text_reads_back(text: str) -> None:
    assert plain_cell(str(text_cell(text))) == text


def test_numbers_stay_numbers() -> None:
    assert text_cell(-3.5) == -3.5 and text_cell("-3.5") == "-3.5"


def test_rows_are_written_without_a_formula_and_nowhere_else() -> None:
    assert table_text([("case", "dice"), ("=1+1", -0.5), ("@x", None)]) == "case,dice\n'=1+1,-0.5\n'@x,\n"
    package = Path(autoseg.__file__).parent
    writers = [p.name for p in package.rglob("*.py") if re.search(r"csv\.(Dict)?[wW]riter", p.read_text())]
    assert writers == ["tables.py"]


def test_a_table_is_read_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    text = io.StringIO()
    csv.writer(text).writerows([["case", " group"], [text_cell("=a"), "1"], ["b", ""]])
    path.write_text("\ufeff" + text.getvalue(), encoding="utf-8")
    columns, lines = read_table(path)
    assert columns == ["case", "group"]
    assert lines == [(2, {"case": "=a", "group": "1"}), (3, {"case": "b", "group": ""})]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a,b\n\xff\xfe", "UTF-8"), (b"a\0,b", "NUL"), (b'a,b\n"' + b"x" * 200_000, "after line 1")],
)
def test_what_is_no_table_is_told_with_its_path(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(path)
    assert "t.csv" in str(caught.value)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_json(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_table(tmp_path / "pipe")


def test_a_device_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_json(tmp_path / "endless")


def test_a_folder_that_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = platform.node()
    debris, running = tmp_path / f".{ended.pid}-{host}.out", tmp_path / f".1-{host}.out"
    elsewhere = tmp_path / f".{ended.pid}-elsewhere.out"
    for path in (debris, running, elsewhere):
        path.mkdir()
        (path / "half").write_text("x")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("x")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "out", running, elsewhere])
