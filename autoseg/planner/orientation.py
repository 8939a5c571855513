"""Along which axes a 2D system cuts volumes into slices."""

from __future__ import annotations

from autoseg.errors import UsageError
from autoseg.planner.budget import FEWEST_STEPS
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.spacing import ANISOTROPY, first_axis

_SOURCE = (
    "three orientations: Doshi et al. (arXiv 1907.02110) and their repository, at 1 mm isotropic; "
    "the limits: autoseg's choice"
)


def slicing_axes(plan: Plan, configuration: str, wanted: int, requested: bool = False) -> tuple[int, ...]:
    """The array axes to cut slices along, the plan's own first.

    Args:
        plan: a plan with all configurations that the data allow.
        configuration: the one that is trained.
        wanted: number of orientations, 1 to 3.
        requested: whether a user wants them, whatever the spacing.

    Raises:
        UsageError: for another number.
    """
    if wanted not in (1, 2, 3):
        raise UsageError(f"There are no {wanted} orientations of a volume. Choose orientations=1, 2 or 3.")
    if wanted > 1 and not has_orientations(plan, configuration):
        wanted = 1
    if wanted > 1 and not requested and anisotropy(plan) > ANISOTROPY:
        wanted = 1
    return first_axis(plan.transpose[0])[:wanted]


def has_orientations(plan: Plan, configuration: str) -> bool:
    """Whether a configuration sees slices of volumes, which could also be cut along other axes."""
    return plan.configuration(configuration).dimensions == 2 and "3d_fullres" in plan.configurations


def anisotropy(plan: Plan) -> float:
    """The largest over the smallest target spacing of volumes."""
    spacing = plan.configuration("3d_fullres").spacing
    return max(spacing) / min(spacing)


def orientation_decision(plan: Plan, configuration: str) -> Decision:
    """Why a trainer that could look along several axes cuts slices along the plan's own only."""
    spacing = plan.configuration("3d_fullres").spacing if has_orientations(plan, configuration) else ()
    return Decision(
        "orientations",
        [plan.transpose[0]],
        f"one for 2D images and, unless a user requests more, where axes of the target spacing differ by "
        f"more than {ANISOTROPY}x (slices across would be stripes) or a budget leaves each fewer than "
        f"{FEWEST_STEPS} steps",
        {"spacing_3d": list(spacing)},
        _SOURCE,
    )
