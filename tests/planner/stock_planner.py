"""The installed nnU-Net's planners as a process: one JSON request a line in, one JSON plan a line out.

It runs apart from the tests because importing nnunetv2 takes long and needs its path variables first. Two
things are cut short, neither of which decides anything: networks are built without memory, and the reader is
named by the request instead of being tried on an image.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any


def plan(request: dict[str, Any], planners: dict[str, Any], folder: Path) -> dict[str, Any]:
    name = "Dataset001_Test"
    for part, key, file in (
        ("raw", "dataset_json", "dataset.json"),
        ("preprocessed", "fingerprint", "dataset_fingerprint.json"),
    ):
        path = folder / part / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # With a list of cases nnU-Net looks into no folder.
        cases: dict[str, Any] = {"dataset": {}} if part == "raw" else {}
        path.write_text(json.dumps(request[key] | cases))
    plans = folder / "preprocessed" / name
    for old in plans.glob("*Plans.json"):
        old.unlink()
    planner = planners[request["planner"]](1, **request["options"])
    planner.determine_reader_writer = lambda: type(request["reader"], (), {})
    with contextlib.redirect_stdout(sys.stderr):
        planner.plan_experiment()
    document: dict[str, Any] = json.loads((plans / f"{planner.plans_identifier}.json").read_text())
    return document


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the package prints on its way
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{part}"] = str(folder / part)
        planners = load_planners()
        for line in sys.stdin:
            try:
                answer: dict[str, Any] = {"plan": plan(json.loads(line), planners, folder)}
            except Exception:
                answer = {"error": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def load_planners() -> dict[str, Any]:
    import torch
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as default
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
        residual_encoder_unet_planners as residual,
    )

    build = default.get_network_from_plans

    def without_memory(*args: Any, **kwargs: Any) -> Any:
        with torch.device("meta"):
            return build(*args, **kwargs)

    default.get_network_from_plans = without_memory
    names = ("nnUNetPlannerResEncM", "nnUNetPlannerResEncL", "nnUNetPlannerResEncXL")
    planners: dict[str, Any] = {name: getattr(residual, name) for name in names}
    return planners | {"ExperimentPlanner": default.ExperimentPlanner}


if __name__ == "__main__":
    main()
