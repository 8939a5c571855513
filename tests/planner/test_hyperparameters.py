from __future__ import annotations

import pytest

from autoseg import plugins
from autoseg.errors import PlanError, UsageError
from autoseg.planner.hyperparameters import KINDS, Hyperparameters
from autoseg.training.trainer import Trainer


def test_only_what_is_set_is_given() -> None:
    assert Hyperparameters().given == {}
    found = Hyperparameters.named({"learning_rate": 1e-3, "mirroring": False, "width": 8})
    assert found.given == {"learning_rate": 1e-3, "mirroring": False}
    assert Hyperparameters.from_json(found.given) == found


@pytest.mark.parametrize("name", plugins.available("trainers"))
def test_every_trainers_own_values_are_accepted(name: str) -> None:
    own = Hyperparameters.of(plugins.trainer_class(name))
    assert set(own.given) == set(KINDS), "a trainer leaves none to others"


def test_the_base_class_has_nnunets_values() -> None:
    own = Hyperparameters.of(Trainer)
    assert (own.optimizer_name, own.learning_rate, own.momentum, own.weight_decay) == (
        "sgd",
        0.01,
        0.99,
        3e-5,
    )
    assert (own.schedule, own.epochs, own.steps_per_epoch, own.foreground_oversampling) == (
        "poly",
        1000,
        250,
        0.33,
    )


def test_all_wrong_values_are_named() -> None:
    with pytest.raises(UsageError, match=r"momentum is 1.0; .* epochs is 0; "):
        Hyperparameters(momentum=1.0, epochs=0)


def test_a_plan_of_before_values_were_checked_says_what_it_trained() -> None:
    found = Hyperparameters.from_json({"optimizer_name": "lion", "schedule": "linear", "mirroring": "no"})
    assert found == Hyperparameters(optimizer_name="adamw", schedule="cosine", mirroring=True)


@pytest.mark.parametrize("document", [{"learning_rate": -1.0}, {"epochs": "many"}, {"learning_rat": 1e-3}])
def test_a_plan_that_cannot_have_trained_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(PlanError, match=next(iter(document))):
        Hyperparameters.from_json(document)
