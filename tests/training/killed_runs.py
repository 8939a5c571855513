"""A tiny training that is killed at a chosen point, and all that it ends with."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autoseg.nnunet import read_checkpoint
from autoseg.planner.plan import Plan
from autoseg.run import Run, predicting_checkpoints
from autoseg.system.files import read_json
from autoseg.training import budgeted_loop, checkpoint_files
from autoseg.training.progress_rows import TIMES
from autoseg.training.saving import Saving
from autoseg.training.training_run import train
from autoseg.workspace import Workspace

CPU = torch.device("cpu")
EPOCHS, STEPS_PER_EPOCH = 3, 4
# The validation loss decides on the rate and on the weights that predict, so that all of that is stored.
HYPERPARAMETERS = {
    "epochs": EPOCHS,
    "steps_per_epoch": STEPS_PER_EPOCH,
    "schedule": "plateau",
    "plateau_patience": 1,
    "stopping_patience": 50,
    "best_checkpoints": 2,
    "learning_rate": 3e-3,
}

Patch = Callable[[Any, str, Any], None]


def planned_again(run: Run, workspace: Workspace, name: str, hyperparameters: dict[str, Any]) -> Run:
    """The same run with other hyper-parameters, under a plan of another name."""
    path = workspace.plan_of(run.dataset, run.plan)
    document = Plan.load(path).to_json()
    document["plans_name"] = name
    document["autoseg"]["provenance"]["training"]["hyperparameters"] |= hyperparameters
    Plan.from_json(document).save(path.with_name(f"{name}.json"))
    return Run(run.dataset, name, run.configuration, run.trainer, run.fold, run.seed, run.results)


def copied(run: Run, workspace: Workspace, root: Path) -> tuple[Run, Workspace]:
    """A workspace with the same cases and plans and without results, and the run there."""
    for name in ("raw", "preprocessed"):
        shutil.copytree(workspace.results.parent / name, root / name)
    there = Workspace.locate(root)
    return Run(*(*vars(run).values(),)[:-1], results=there.results), there


def killed(run: Run, workspace: Workspace, arrange: Callable[[Patch], None]) -> int:
    """Train in a process of its own, which is killed where `arrange` has arranged it.

    Returns:
        The signal that ended it; 0: none did.
    """
    child = os.fork()
    if child == 0:
        try:
            arrange(setattr)
            train(run, workspace, CPU)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*_: Any, **__: Any) -> Any:
    """End this process as a loss of power would."""
    os.kill(os.getpid(), signal.SIGKILL)


def save_every_steps(patch: Patch, steps: int) -> None:
    """Let checkpoints be written by the number of steps, not by the clock."""

    def save_now_and_then(self: Any) -> None:
        if self.steps_done and self.steps_done % steps == 0:
            self.save_for_resuming()

    patch(budgeted_loop.BudgetedLoop, "save_now_and_then", save_now_and_then)


def at_step(number: int, action: Callable[[Any], None]) -> Callable[[Patch], None]:
    """Do something before a step that is counted from 0; a checkpoint is written every 3 steps."""

    def arrange(patch: Patch) -> None:
        save_every_steps(patch, 3)
        given = budgeted_loop.BudgetedLoop.between_steps

        def between_steps(self: Any) -> None:
            if self.steps_done == number:
                action(self)
            given(self)

        patch(budgeted_loop.BudgetedLoop, "between_steps", between_steps)

    return arrange


def in_the_file(name: str, number: int) -> Callable[[Patch], None]:
    """Die when a checkpoint of that name is half written for the `number`-th time."""

    def arrange(patch: Patch) -> None:
        save_every_steps(patch, 3)
        given, count = torch.save, [0]

        def save(content: Any, path: Any, *more: Any) -> None:
            given(content, path, *more)
            count[0] += Path(path).name.endswith(name)
            if count[0] == number:
                os.truncate(path, Path(path).stat().st_size // 2)
                die()

        patch(torch, "save", save)

    return arrange


def at_the_rename(number: int) -> Callable[[Patch], None]:
    """Die between two renames: of the latest checkpoint to the previous, and of the new one to the latest."""

    def arrange(patch: Patch) -> None:
        save_every_steps(patch, 3)
        given, count = os.replace, [0]

        def replace(source: Any, target: Any) -> None:
            given(source, target)
            count[0] += Path(target).name == checkpoint_files.PREVIOUS
            if count[0] == number:
                die()

        patch(os, "replace", replace)

    return arrange


def before_the_checkpoint(number: int) -> Callable[[Patch], None]:
    """Die when the best weights are written and listed, and the checkpoint is not."""

    def arrange(patch: Patch) -> None:
        save_every_steps(patch, 3)
        given, count = Saving._progress_state, [0]

        def state(self: Any) -> dict[str, Any]:
            count[0] += 1
            return die() if count[0] == number else given(self)  # type: ignore[no-any-return]

        patch(Saving, "_progress_state", state)

    return arrange


def ending(run: Run) -> dict[str, Any]:
    """All that a training ends with except times."""
    final = read_checkpoint(run.final_checkpoint)
    state = final["init_args"]["autoseg"]
    logged = {key: value for key, value in final["logging"].items() if "timestamps" not in key}
    best = [read_checkpoint(path)["network_weights"] for path in predicting_checkpoints(run.folder)]
    lists = run.folder / "best_checkpoints.json"
    listed = read_json(lists)["checkpoints"] if lists.exists() else []
    cost = read_json(run.cost)
    return {
        "weights": final["network_weights"],
        "optimizer": final["optimizer_state"]["state"],
        "rates": [group["lr"] for group in final["optimizer_state"]["param_groups"]],
        "logged": {key: [repr(value) for value in values] for key, values in logged.items()},
        "plateau": {key: value for key, value in state.get("plateau", {}).items() if key != "weights"},
        "first weights": state["first_weights"],
        "best": best,
        "best listed": [(each["loss"], each["epoch"]) for each in listed],
        "stock's best": read_checkpoint(run.folder / "checkpoint_best.pth")["network_weights"],
        "steps": (state["steps"], cost["steps"], cost["epochs"]),
        "progress": progress_without_times(run),
    }


def progress_without_times(run: Run) -> list[dict[str, str]]:
    """The rows of ``progress.csv``, as texts, without what depends on the clock."""
    with run.progress.open() as file:
        rows = list(csv.DictReader(file))
    return [{name: text for name, text in row.items() if name not in TIMES} for row in rows]


def differences(first: Any, second: Any, name: str = "") -> list[str]:
    """Names of the entries that are not equal, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        return [] if torch.equal(first, second) else [name]
    if isinstance(first, dict):
        if first.keys() != second.keys():
            return [f"{name}: other entries"]
        return [each for key in first for each in differences(first[key], second[key], f"{name}/{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [f"{name}: {len(first)} and {len(second)}"]
        pairs = zip(first, second, strict=True)
        return [each for index, pair in enumerate(pairs) for each in differences(*pair, f"{name}/{index}")]
    return [] if first == second else [f"{name}: {first!r} and {second!r}"]
