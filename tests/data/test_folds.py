"""Folds: nnU-Net's without groups; with groups no group in two of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.dataset import Case, Dataset, Labels, load_dataset
from autoseg.data.folds import Fold, folds_from_json, folds_to_json, make_folds, watching_cases
from autoseg.errors import DataError, UsageError

SharedData = Callable[[str], Path]


def made(groups: dict[str, str | None]) -> Dataset:
    """A data set of these cases and groups."""
    cases = tuple(Case(name, (), None, group) for name, group in groups.items())
    labels = Labels({"background": 0, "a": 1})
    return Dataset("Dataset001_Made", Path(), ("T1",), labels, cases, ".nii.gz", "SimpleITKIO", {})


@pytest.mark.parametrize("count", [5, 6, 9, 10, 24, 130, 131])
def test_without_groups_the_folds_are_those_of_nnunet(count: int) -> None:
    stock = pytest.importorskip("nnunetv2.utilities.crossval_split")
    names = [f"case_{i}" for i in range(count)]
    expected = stock.generate_crossval_split(sorted(names), seed=12345, n_splits=5)
    found = folds_to_json(make_folds(made(dict.fromkeys(names))))
    assert found == [{side: [str(c) for c in split[side]] for side in ("train", "val")} for split in expected]


def test_other_numbers_and_seeds_are_those_of_nnunet() -> None:
    stock = pytest.importorskip("nnunetv2.utilities.crossval_split")
    names = [f"c{i:02d}" for i in range(17)]
    expected = stock.generate_crossval_split(names, seed=7, n_splits=3)
    found = make_folds(made(dict.fromkeys(names)), n_folds=3, seed=7)
    assert [list(fold.validation) for fold in found] == [[str(c) for c in split["val"]] for split in expected]


def test_groups_of_one_case_change_nothing() -> None:
    names = [f"c{i}" for i in range(12)]
    assert make_folds(made({name: name.upper() for name in names})) == make_folds(made(dict.fromkeys(names)))


@given(st.lists(st.integers(0, 12), min_size=2, max_size=60), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_folds_divide_the_cases_and_no_group(numbers: list[int], n_folds: int, seed: int) -> None:
    groups: dict[str, str | None] = {f"case_{i:02d}": f"g{number}" for i, number in enumerate(numbers)}
    if len(set(numbers)) < 2:
        with pytest.raises(DataError):
            make_folds(made(groups), n_folds, seed)
        return
    folds = make_folds(made(groups), n_folds, seed)
    assert len(folds) == min(n_folds, len(set(numbers)))
    validated = [case for fold in folds for case in fold.validation]
    assert sorted(validated) == sorted(groups)
    for fold in folds:
        assert fold.training and fold.validation
        assert sorted(fold.training + fold.validation) == sorted(groups)
        assert not {groups[c] for c in fold.training} & {groups[c] for c in fold.validation}
    # No fold exceeds another by more than the largest group.
    sizes = [len(fold.validation) for fold in folds]
    assert max(sizes) - min(sizes) <= max(Counter(numbers).values())
    assert make_folds(made(dict(reversed(groups.items()))), n_folds, seed) == folds


def test_the_seed_decides_where_groups_go() -> None:
    groups: dict[str, str | None] = {f"c{i}": str(i // 2) for i in range(20)}
    assert make_folds(made(groups)) == make_folds(made(groups))
    assert make_folds(made(groups)) != make_folds(made(groups), seed=1)


def test_a_case_named_like_a_group_stays_apart() -> None:
    folds = make_folds(made({"a": None, "b": "a", "c": "a"}))
    assert sorted(fold.validation for fold in folds) == [("a",), ("b", "c")]


def test_real_exams_stay_together(shared_data: SharedData) -> None:
    dataset = load_dataset(shared_data("Dataset018_FetalHead"))
    exam = {case.identifier: case.group for case in dataset.cases}
    assert len(set(exam.values())) < len(exam)
    folds = make_folds(dataset)
    for fold in folds:
        assert not {exam[c] for c in fold.training} & {exam[c] for c in fold.validation}
    assert [len(fold.validation) for fold in folds] == [40] * 5


def test_few_cases_give_fewer_folds_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    folds = make_folds(made({"a": None, "b": None}))
    assert [fold.validation for fold in folds] == [("b",), ("a",)]
    assert "2 cases: 2 folds instead of 5" in caplog.text
    make_folds(made({"a": "x", "b": "x", "c": "y", "d": "z"}))
    assert "3 groups: 3 folds instead of 5" in caplog.text


@pytest.mark.parametrize("groups", [{"a": None}, {"a": "x", "b": "x"}])
def test_one_case_or_group_cannot_be_divided(groups: dict[str, str | None]) -> None:
    with pytest.raises(DataError, match=r"impossible: .*one (case|group).*--fold all"):
        make_folds(made(groups))


def test_fewer_than_two_folds_are_no_cross_validation() -> None:
    with pytest.raises(UsageError, match="not 1"):
        make_folds(made({"a": None, "b": None}), n_folds=1)


def test_json_and_back() -> None:
    folds = make_folds(made(dict.fromkeys("abcdefg")))
    assert folds_from_json(json.loads(json.dumps(folds_to_json(folds)))) == folds


def test_overlap_in_a_foreign_file_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert folds_from_json([{"train": ["a", "b"], "val": ["b"]}]) == (Fold(0, ("a", "b"), ("b",)),)
    assert "same cases: b" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        [{}],
        [{"train": ["a"]}],
        [{"train": ["a"], "val": []}],
        [{"train": "a", "val": ["b"]}],
        [{"train": [1], "val": ["b"]}],
    ],
)
def test_what_are_no_folds_is_refused(content: object) -> None:
    with pytest.raises(DataError, match="list of"):
        folds_from_json(content)


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=30),
    st.integers(0, 3),
)
def test_watching_cases_are_whole_groups_and_few(numbers: list[int], seed: int) -> None:
    groups = {f"c{g}_{i}": f"g{g}" for g, count in enumerate(numbers) for i in range(count)}
    rest, watching = watching_cases(list(groups), groups, seed)
    assert sorted((*rest, *watching)) == sorted(groups)
    assert not {groups[case] for case in rest} & {groups[case] for case in watching}
    assert rest and watching
    assert len(watching) <= max(len(groups) / 8, min(numbers))
    assert (rest, watching) == watching_cases(sorted(groups, reverse=True), groups, seed)


def test_one_group_watches_itself_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rest, watching = watching_cases(["a", "b"], {"a": "g", "b": "g"})
    assert rest == watching == ("a", "b")
    assert "one group" in caplog.text
