"""Plans that earlier versions wrote, with settings that nobody had checked, train, resume and predict."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, batch_for, fingerprint_of

from autoseg import plugins
from autoseg.inference.model import load_model
from autoseg.pipeline.trial_record import plan_content
from autoseg.planner import plan_experiment
from autoseg.planner.hyperparameters import Hyperparameters
from autoseg.planner.plan import Plan
from autoseg.planner.training_spec import FewCases, TrainingSpec
from autoseg.system.files import write_json
from autoseg.workspace import Workspace

# As version 0.1.0 wrote it before its settings had types.
OLD: dict[str, Any] = {
    "trainer": "nnunet",
    "options": {"width": 8, "learning_rate": 0.02, "finetune": "ft_decoder", "cases": 6},
    "hyperparameters": {"learning_rate": 0.02, "mirroring": False},
    "seed": 3,
    "init": {"source": "/models/first.pth", "channels": "auto", "kernels": "trilinear", "head": "auto"},
    "init_is_trained_model": True,
    "finetune": "ft_decoder",
    "cases": {"size": 6, "seed": 3},
    "run_seconds": 200.0,
    "changes": ["width 32 -> 8", "schedule of 1000 epochs -> 3.3 min"],
    "train_seconds": 170.0,
}


def document(training: dict[str, Any]) -> dict[str, Any]:
    """A plans document with that entry."""
    plans = plan_experiment(ABOUT, fingerprint_of((1, 40, 40)), dataset_name="Dataset001_Small").to_json()
    plans["autoseg"]["provenance"] |= {"training": copy.deepcopy(training), "configuration": "2d"}
    return plans


def test_an_old_plan_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    old = document(OLD)
    plan = Plan.from_json(old)
    assert plan.training == TrainingSpec(
        trainer="nnunet",
        options={"width": 8, "learning_rate": 0.02, "finetune": "ft_decoder", "cases": 6},
        hyperparameters=Hyperparameters(learning_rate=0.02, mirroring=False),
        seed=3,
        init=OLD["init"],
        init_is_trained_model=True,
        finetune="ft_decoder",
        cases=FewCases(6, 3),
        run_s=200.0,
        train_s=170.0,
        changes=("width 32 -> 8", "schedule of 1000 epochs -> 3.3 min"),
        configuration="2d",
    )
    assert "training" not in plan.provenance and plan.trained_configuration().name == "2d"
    assert plan.to_json() == old
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan


def test_rows_of_old_and_new_plans_are_told_apart_by_the_same_content() -> None:
    expected = {key: value for key, value in OLD.items() if key != "seed"} | {"cases": 6}
    assert plan_content(Plan.from_json(document(OLD)))["training"] == expected


def test_an_old_plan_trains_resumes_and_predicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its optimiser was unknown and so AdamW, its schedule a cosine, and any text for mirroring was true."""
    workspace = Workspace.locate(tmp_path)
    for name, value in workspace.environment().items():
        monkeypatch.setenv(name, value)
    folder = workspace.preprocessed_of("Dataset001_Small") / "nnUNetPlans_2d"
    folder.mkdir(parents=True)
    (folder / "case.b2nd").touch()
    settings = {"optimizer_name": "lion", "schedule": "linear", "mirroring": "no"}
    plans = document({"hyperparameters": settings, "train_seconds": 17.0, "seed": 5})

    def trainer() -> Any:
        found = plugins.trainer_class("nnunet")(plans, "2d", 0, dict(ABOUT), torch.device("cpu"))
        found.initialize()
        return found

    first = trainer()
    assert isinstance(first.optimizer, torch.optim.AdamW)
    assert (first.schedule, first.mirroring, first.train_s, first.seed) == ("cosine", True, 17.0, 5)
    first.on_train_epoch_start()
    first.train_step(batch_for(first))
    first.steps_done = 1
    model = tmp_path / "model"
    (model / "fold_0").mkdir(parents=True)
    first.save_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
    again = trainer()
    again.load_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
    assert again.steps_done == 1
    write_json(model / "plans.json", plans)
    write_json(model / "dataset.json", ABOUT)
    (network,) = load_model(model, [0], torch.device("cpu")).networks
    weights = again._bare_network().state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
