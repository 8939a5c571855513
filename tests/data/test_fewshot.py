"""Subsets of the training cases: nested, whole groups, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.benchmark.suite.matrix import cells, choice_of
from autoseg.benchmark.suite.suite import load_suite, parse_suite
from autoseg.data.few_cases import parse_cases, subset
from autoseg.errors import UsageError
from autoseg.tailoring.trainer_spec import Start

CASES = st.dictionaries(
    st.text("abc0123", min_size=1, max_size=4),
    st.sampled_from([None, "x", "y", "z", "w"]),
    min_size=1,
    max_size=30,
)
SEEDS = st.integers(0, 2**32 - 1)


def named(groups: dict[str, Any]) -> dict[str, str]:
    """The cases that are in a group."""
    return {case: group for case, group in groups.items() if group is not None}


@given(CASES, SEEDS, st.data())
def test_smaller_subsets_lie_in_larger_ones(groups: dict[str, Any], seed: int, data: Any) -> None:
    sizes = st.integers(1, len(groups)) | st.floats(0.001, 1)
    small, large = sorted(
        (subset(list(groups), named(groups), data.draw(sizes), seed) for _ in range(2)), key=len
    )
    assert set(small) <= set(large) <= set(groups)


@given(CASES, SEEDS, st.data())
def test_groups_stay_whole(groups: dict[str, Any], seed: int, data: Any) -> None:
    size = data.draw(st.integers(1, len(groups)))
    chosen = subset(list(groups), named(groups), size, seed)
    inside = {groups[case] for case in chosen} - {None}
    outside = {groups[case] for case in groups if case not in chosen} - {None}
    assert chosen and not inside & outside
    first_group = len(chosen) if len(inside) == 1 and len({groups[case] for case in chosen}) == 1 else 0
    assert len(chosen) <= max(size, first_group)
    if all(group is None for group in groups.values()):
        assert len(chosen) == size


@given(CASES, SEEDS, st.data())
def test_the_seed_decides_and_nothing_else(groups: dict[str, Any], seed: int, data: Any) -> None:
    size = data.draw(st.integers(1, len(groups)))
    shuffled = data.draw(st.permutations(list(groups)))
    assert subset(shuffled, named(groups), size, seed) == subset(list(groups), named(groups), size, seed)


@given(CASES, SEEDS)
def test_everything_is_everything(groups: dict[str, Any], seed: int) -> None:
    assert subset(list(groups), groups, 1.0, seed) == tuple(sorted(groups))
    assert subset(list(groups), groups, len(groups), seed) == tuple(sorted(groups))


def test_seeds_differ_and_every_case_can_be_chosen() -> None:
    cases = [f"case_{n}" for n in range(20)]
    chosen = {subset(cases, {}, 3, seed) for seed in range(60)}
    assert len(chosen) > 50
    assert {case for each in chosen for case in each} == set(cases)


@pytest.mark.parametrize(("part", "number"), [(0.1, 79), (0.3, 239), (0.5, 399), (1.0, 799)])
def test_the_sizes_that_were_published_for_the_fetal_head(part: float, number: int) -> None:
    assert len(subset([f"{n:03d}" for n in range(799)], {}, part)) == number


@given(st.integers(1, 100))
def test_a_percentage_of_a_hundred_cases_is_that_many(percent: int) -> None:
    assert len(subset([f"{n:03d}" for n in range(100)], {}, parse_cases(f"{percent}%"))) == percent


def test_a_group_larger_than_the_subset_is_taken_whole() -> None:
    assert subset(["a1", "a2", "a3"], dict.fromkeys(["a1", "a2", "a3"], "a"), 1) == ("a1", "a2", "a3")


@pytest.mark.parametrize(
    ("text", "size"), [("20", 20), ("1", 1), (" 10% ", 0.1), ("100 %", 1.0), ("0.5%", 0.005)]
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert parse_cases(text) == size and type(parse_cases(text)) is type(size)


@pytest.mark.parametrize("text", ["", "0", "-3", "0%", "101%", "half", "1.5", "nan%", "%"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number of cases"):
        parse_cases(text)


@pytest.mark.parametrize("size", [0, -1, 0.0, 1.5, True, float("nan")])
def test_sizes_without_sense_are_refused(size: Any) -> None:
    with pytest.raises(UsageError, match="size of a subset"):
        subset(["a", "b"], {}, size)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(UsageError, match="3 training cases are requested, and there are 2"):
        subset(["a", "b"], {}, 3)
    with pytest.raises(UsageError, match="1 training cases are requested, and there are 0"):
        subset([], {}, 0.5)


def test_the_shipped_suite_crosses_cases_with_strategies_and_starts() -> None:
    suite = load_suite("fewshot")
    found = cells(suite, lambda entry: (entry.dataset, 5))
    tuned = {(cell.init, cell.finetune, cell.cases) for cell in found if cell.finetune}
    assert tuned >= {("random", "a", "10%"), ("imagenet", "i", "10%"), ("imagenet", "gradual", "all")}
    # A strategy that keeps an encoder as it came is nothing without one that came from somewhere.
    assert not {finetune for init, finetune, _ in tuned if init == "random"} & set("cdefghi")
    curves: dict[Any, set[Any]] = {}
    for cell in found:
        curves.setdefault((cell.dataset, cell.trainer, cell.init, cell.finetune), set()).add(cell.cases)
    assert min(map(len, curves.values())) >= 4
    assert {cell.seed for cell in found} == {0, 1, 2}


def test_a_row_of_a_suite_can_have_a_start_of_its_own(tmp_path: Path) -> None:
    text = "datasets: a\ntrainers: [{nnunet: {finetune: ft_decoder, cases: 10%}}, nnunet]\ncases: [5, all]\n"
    found = cells(parse_suite(text, tmp_path / "mine.yaml"), lambda entry: (entry.dataset, 1))
    starts = [Start.of(choice_of(cell)) for cell in found]
    told = {(str(start.finetune), start.cases) for start in starts}
    assert told == {("None", 5), ("None", None), ("ft_decoder", 0.1)}
