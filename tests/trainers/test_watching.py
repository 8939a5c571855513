"""A training that chooses by a validation loss never sees the fold's held-out cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoseg.system.files import write_json
from autoseg.training import trainer as _base

HELD_OUT = ["h0", "h1"]
TRAINING = [f"t{i}" for i in range(16)]


@pytest.fixture
def given(make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The cases that a trainer trains on and watches."""

    def cases(**hyperparameters: Any) -> tuple[list[str], list[str]]:
        trainer = make_trainer(**hyperparameters)
        base = Path(trainer.preprocessed_dataset_folder_base)
        write_json(base / "groups.json", {name: f"g{int(name[1:]) // 2}" for name in TRAINING})
        write_json(base / "splits_final.json", [{"train": TRAINING, "val": HELD_OUT}])
        monkeypatch.setattr(_base, "HeldDataset", lambda folder, names, previous: list(names))
        training, watching = trainer.get_tr_and_val_datasets()
        return training, watching

    return cases


@pytest.mark.parametrize("chooses", [{"schedule": "plateau"}, {"best_checkpoints": 3}])
def test_what_chooses_is_watched_on_training_cases(
    given: Callable[..., Any], chooses: dict[str, Any]
) -> None:
    training, watching = given(**chooses)
    assert sorted(training + watching) == sorted(TRAINING)
    # An eighth of sixteen, and here that is one whole group.
    assert len(watching) == 2 and int(watching[0][1:]) // 2 == int(watching[1][1:]) // 2


def test_what_does_not_choose_trains_on_all(given: Callable[..., Any]) -> None:
    assert given() == (TRAINING, HELD_OUT)
