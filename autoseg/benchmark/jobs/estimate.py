"""How long a job will take: from its budget where it has one, else from what such work took before.

The constants are rough on purpose: a dry run is to tell an hour from a week. Measured on two cores of an
EPYC (preparation) and taken from nnU-Net's published training times (training without a budget).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoseg.benchmark.suite.trainer_facts import facts

if TYPE_CHECKING:
    from autoseg.benchmark.suite.datasets import Size
    from autoseg.benchmark.suite.matrix import MatrixCell
    from autoseg.benchmark.suite.suite import Resources

START_S = {"import": 1.0, "verify": 1.0, "fingerprint": 1.0, "plan": 1.0, "leaderboard": 10.0}
# Importing torch and nnunetv2, building the network, measuring a step.
START_OF_RUN_S = 15.0
VERIFY_S_PER_VOXEL = 1e-7
FINGERPRINT_S_PER_VOXEL = 1e-7
PREPROCESS_S_PER_VOXEL = 4e-7
EVALUATE_S_PER_VOXEL = 3e-7
PREDICT_S_PER_VOXEL = {True: 1e-6, False: 2e-5}
# A step of nnU-Net's 3D U-Net at its published size: 1000 epochs of 250 take about 14 hours on a GPU.
STEP_S = {True: 0.2, False: 20.0}
# Of that, a step with the smallest batch and patch: tenths of a second on a core.
SMALL = 0.01
# Prediction without copies mirrored along three axes.
UNMIRRORED = 1 / 8
# What prediction takes of a run's budget at most; see `autoseg.tailoring.tailored_plan.TRAINING_FRACTION`.
PREDICTION_FRACTION = 0.15


def estimate(stage: str, cell: MatrixCell | None, size: Size, resources: Resources) -> float:
    """Seconds of wall clock of one job.

    Args:
        stage: the job's stage.
        cell: the run, for the stages of a run.
        size: the size of the data set.
        resources: what the job gets; preparation uses all cores.
    """
    if stage in START_S:
        rates = {"verify": VERIFY_S_PER_VOXEL, "fingerprint": FINGERPRINT_S_PER_VOXEL}
        return START_S[stage] + rates.get(stage, 0.0) * size.total / resources.cpus
    if stage == "preprocess":
        return START_S["plan"] + PREPROCESS_S_PER_VOXEL * size.total / resources.cpus
    held_out = size.total / 5
    if stage == "evaluate":
        return 2.0 + EVALUATE_S_PER_VOXEL * held_out / resources.cpus
    if cell is None or stage == "fit":
        return START_OF_RUN_S
    on_gpu = cell.device in ("auto", "cuda") and resources.gpus > 0
    if stage == "predict":
        if cell.run_s is not None:
            return START_OF_RUN_S + cell.run_s * PREDICTION_FRACTION
        return START_OF_RUN_S + PREDICT_S_PER_VOXEL[on_gpu] * held_out * (UNMIRRORED if cell.small else 1.0)
    if cell.run_s is not None:
        return START_OF_RUN_S + cell.run_s * (1 - PREDICTION_FRACTION)
    return START_OF_RUN_S + steps_of(cell) * STEP_S[on_gpu] * (SMALL if cell.small else 1.0)


def steps_of(cell: MatrixCell) -> int:
    """How many steps a run makes that is not ended by the clock."""
    if cell.steps is not None:
        return cell.steps
    name, *options = cell.trainer.split(":")
    given = dict(option.split("=", 1) for option in options)
    known = facts(name)
    epochs = cell.epochs or int(given.get("epochs", known.epochs))
    return epochs * int(given.get("steps_per_epoch", known.steps_per_epoch))
