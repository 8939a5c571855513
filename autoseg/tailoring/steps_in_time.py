"""Steps that fit into a run's time, beside what a run does otherwise.

Measured on a core of its own in trainings of 6 and 18 minutes (benchmarks/results/auto.md): what is not steps
and not prediction is mostly the same however long a run is, and 20 looks at validation patches.
"""

from __future__ import annotations

from autoseg.training.budgeted_loop import PARTS
from autoseg.training.training_run import CLOSING_SECONDS

# Building network and loaders, and measuring the prediction.
SETUP_S = 2.0
# A look takes two batches, each of which is read and goes forward alone.
STEPS_OF_A_LOOK = 0.8
# Checkpoints, once a minute.
CHECKPOINTS_FRACTION = 0.005


def seconds_beside_steps(share: float = 1.0) -> float:
    """Seconds of a run before its first step and after its last, beside the prediction.

    Args:
        share: the part of the machine that there is.
    """
    return CLOSING_SECONDS + SETUP_S / share


def steps_within(train_s: float, step_s: float) -> int:
    """Steps that a training makes.

    Args:
        train_s: seconds of the training.
        step_s: seconds of a step.
    """
    whole = train_s * (1 - CHECKPOINTS_FRACTION) / step_s
    # In a very short training each step is followed by a look.
    return int(max(whole - STEPS_OF_A_LOOK * PARTS, whole / (1 + STEPS_OF_A_LOOK)))


def seconds_of_run(steps: float, step_s: float, prediction_s: float, share: float = 1.0) -> float:
    """Seconds of a run with so many steps.

    Args:
        steps: more than there are looks.
        step_s: seconds of a step.
        prediction_s: seconds of the prediction.
        share: the part of the machine that there is.
    """
    train_s = (steps + STEPS_OF_A_LOOK * PARTS) * step_s / (1 - CHECKPOINTS_FRACTION)
    return train_s + prediction_s + seconds_beside_steps(share)
