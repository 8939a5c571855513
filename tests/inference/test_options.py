"""Choices of whoever predicts: what they change, and what a bundle does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoseg.errors import UsageError
from autoseg.inference.options import Options
from autoseg.pipeline.single_stages import loaded_models


def test_what_changes_results_is_part_of_what_made_them() -> None:
    assert Options("auto").changes == {} == Options(as_planned=True).changes
    assert Options(fast=True, folds=(0, "all")).changes == {"fast": True, "folds": ["0", "all"]}


def test_an_unknown_engine_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match="auto, torch, openvino"):
        Options("tpu")


def test_a_bundle_says_which_choices_it_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="Leave out --fast, --folds"):
        loaded_models([tmp_path], "cpu", True, 0.5, options=Options(fast=True, folds=(0,)))
