"""YAML's own ways: tags, dates, depth, aliases and bad bytes are told with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.benchmark.suite.suite import load_suite, parse_suite
from autoseg.benchmark.suite.yaml_document import read_document
from autoseg.errors import UsageError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nd: 2026-11-29", "line 2: '2026-11-29' is a date to YAML. Put it into quotes"),
        ("d: [2026-11-29T01:02:03Z]", "is a datetime to YAML"),
        ("d: !!binary aGFsbG8=", "is a bytes to YAML"),
        ("2026-11-29: x", "is a date to YAML"),
        ("d: 2026-99-99", "not a value of YAML's kind 'timestamp'"),
        ("d: !!int x", "'x' is not a value of YAML's kind 'int'"),
        ("d: !!float x", "kind 'float'"),
        ("d: !!bool x", "kind 'bool'"),
        ("d: !!timestamp x", "kind 'timestamp'"),
        ("d: " + "9" * 5000, "kind 'int'"),
        ("d: !!python/object/apply:os.system ['true']", "not allowed here. Leave the tag out"),
        ("d: !!set {a, b}", "not allowed here"),
        ("d: [a\0b]", "not YAML: unacceptable character"),
        ("d: " + "[" * 70 + "]" * 70, "nested deeper than 64 levels"),
        ("d: " + "[" * 5000 + "]" * 5000, "nested deeper than 64 levels"),
        ("? [a, b]\n: 1", "line 1: a key is one word"),
        ("d: &d [*d]", "contain themselves"),
    ],
)
def test_what_suites_have_not_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_document(text, "suite.yaml")
    assert words in str(caught.value) and str(caught.value).startswith("suite.yaml")


def test_dates_and_numbers_in_quotes_are_texts() -> None:
    assert read_document("d: ['2026-11-29', '010', 1.5, true, ~]", "x").content == {
        "d": ["2026-11-29", "010", 1.5, True, None]
    }


PIECES = st.sampled_from(
    [
        "a",
        ":",
        " ",
        "\n",
        "-",
        "[",
        "]",
        "{",
        "}",
        "&x",
        "*x",
        "!",
        "!!",
        "|",
        ">",
        "'",
        '"',
        "#",
        "%",
        "<<",
        "1e9",
    ]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join))
def test_any_text_is_a_document_or_refused_in_words(text: str) -> None:
    try:
        read_document(text, "x")
    except UsageError as problem:
        assert str(problem).startswith("x")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "budget: 1m",
            "budget: '1m': expected a mapping with keys of per_run, for_all, steps, small. Write one.",
        ),
        ("budget: {steps: 7}", "multiple of 10. Correct this entry."),
        ("device: tpu", "Correct this entry."),
    ],
)
def test_a_wrong_value_is_told_with_what_to_do(line: str, words: str) -> None:
    text = f"datasets: [a]\ntrainers: [nnunet]\n{line}\n"
    with pytest.raises(UsageError) as caught:
        parse_suite(text, Path("suite.yaml"))
    assert words in str(caught.value)


def test_a_suite_that_is_no_small_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"#" * (5 * 2**20))
    with pytest.raises(UsageError, match="more than 4"):
        load_suite(path)
