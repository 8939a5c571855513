"""The table of a model on other people's data."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from autoseg.cli.validation import _table
from autoseg.pipeline.external_validation import Mean, Transfer


@pytest.mark.parametrize(
    ("structures", "shown"), [(["organ"], ["organ"]), (["a", "b"], ["all in common", "a", "b"])]
)
def test_a_mean_over_one_structure_is_not_said_twice(structures: list[str], shown: list[str]) -> None:
    mean = Mean(0.8, None, 3, 3)
    rows = [Transfer(name, mean, mean, 0.0, None) for name in ("", *structures)]
    found = cast(Any, SimpleNamespace(dataset="Dataset104_OtherSite", model="nnunet", rows=rows))
    assert list(_table(found).columns[0].cells) == shown
