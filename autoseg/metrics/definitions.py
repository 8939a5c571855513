"""All metrics: each a declaration of what its value means, and its formula.

Formulas take what `comparison` found out about a structure, or about a case, and return None where they are
undefined. What an empty segmentation is given instead is decided in one place, `autoseg.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal

from autoseg.metrics.calibration import roc_auc as area_under_curve
from autoseg.metrics.comparison import CaseCounts, Comparison, Counts
from autoseg.metrics.head_circumference import head_circumference
from autoseg.metrics.metric import DIAGONAL, Scale, metric
from autoseg.metrics.surface import SurfaceDistances

SHARE = Scale(unit="1", best=1.0, worst=0.0, direction="higher")
ERROR = Scale(unit="1", best=0.0, worst=1.0, direction="lower")
DISTANCE = Scale(unit="mm", best=0.0, worst=DIAGONAL, direction="lower")
VOXELS = Scale(unit="voxels", best=None, worst=None, direction="none")
LESIONS = Scale(unit="lesions", best=0.0, worst=None, direction="lower")
LENGTH_ERROR = Scale(unit="mm", best=0.0, worst=None, direction="lower")
SIGNED_LENGTH = Scale(unit="mm", best=0.0, worst=None, direction="zero")
SIGNED_AREA = Scale(unit="mm^2", best=0.0, worst=None, direction="zero")
SIGNED_VOLUME = Scale(unit="mL", best=0.0, worst=None, direction="zero")


def _divide(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@metric("tp.v1", VOXELS, group="counts", ranked=False)
def tp(case: Comparison) -> float:
    """Voxels of the structure in both."""
    return float(case.counts.tp)


@metric("fp.v1", VOXELS, group="counts", ranked=False)
def fp(case: Comparison) -> float:
    """Voxels of the structure in the prediction alone."""
    return float(case.counts.fp)


@metric("fn.v1", VOXELS, group="counts", ranked=False)
def fn(case: Comparison) -> float:
    """Voxels of the structure in the reference alone."""
    return float(case.counts.fn)


@metric("tn.v1", VOXELS, group="counts", ranked=False)
def tn(case: Comparison) -> float:
    """Voxels of the structure in neither."""
    return float(case.counts.tn)


@metric("dice.v1", SHARE, group="overlap", ranked=True)
def dice(case: Comparison) -> float | None:
    """Dice, 2 TP / (2 TP + FP + FN): the F1 score of the voxels."""
    n = case.counts
    return _divide(2 * n.tp, 2 * n.tp + n.fp + n.fn)


@metric("iou.v1", SHARE, group="overlap", ranked=True)
def iou(case: Comparison) -> float | None:
    """Intersection over union (Jaccard), TP / (TP + FP + FN)."""
    n = case.counts
    return _divide(n.tp, n.tp + n.fp + n.fn)


@metric("sensitivity.v1", SHARE, group="overlap", ranked=True)
def sensitivity(case: Comparison) -> float | None:
    """Share of the reference that is found, TP / (TP + FN); undefined for an empty reference."""
    return _divide(case.counts.tp, case.counts.in_reference)


@metric("precision.v1", SHARE, group="overlap", ranked=True)
def precision(case: Comparison) -> float | None:
    """Share of the prediction that is right, TP / (TP + FP); undefined for an empty prediction."""
    return _divide(case.counts.tp, case.counts.in_prediction)


SurfaceFormula = Callable[[SurfaceDistances, float], float]


def _on_surfaces(
    name: str, scale: Scale, headline: Literal["voxel", "surfel"]
) -> Callable[[SurfaceFormula], SurfaceFormula]:
    """Register a formula twice: over border voxels, and over surface elements weighted by their area.

    The headline is what people mean by the name; the other definition has its surface in its name.
    """

    def register(formula: SurfaceFormula) -> SurfaceFormula:
        @wraps(formula)
        def over_voxels(case: Comparison) -> float | None:
            return None if case.voxel is None else formula(case.voxel, case.tolerance_mm)

        @wraps(formula)
        def over_surfels(case: Comparison) -> float | None:
            return None if case.surfel is None else formula(case.surfel, case.tolerance_mm)

        for surface, over in (("voxel", over_voxels), ("surfel", over_surfels)):
            called = name if surface == headline else f"{name}_{surface}"
            metric(f"{name}.{surface}.v1", scale, name=called, group="surface", ranked=True)(over)
        return formula

    return register


@_on_surfaces("nsd", SHARE, headline="surfel")
def nsd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Normalised surface Dice: share of both surfaces within the tolerance of the other."""
    return distances.share_within(tolerance_mm)


@_on_surfaces("hd95", DISTANCE, headline="voxel")
def hd95(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """95th percentile of the Hausdorff distance: the greater of the two directed percentiles."""
    return distances.hausdorff(95)


@_on_surfaces("hd", DISTANCE, headline="voxel")
def hd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Hausdorff distance: the greatest distance from one surface to the other."""
    return distances.hausdorff()


@_on_surfaces("assd", DISTANCE, headline="voxel")
def assd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Average symmetric surface distance: mean over all elements of both surfaces."""
    return distances.mean_symmetric()


@_on_surfaces("masd", DISTANCE, headline="voxel")
def masd(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Mean average surface distance: mean of the two directed means."""
    return distances.mean_of_directed()


@metric("volume_error.v1", SIGNED_VOLUME, group="volume", ranked=False, needs="3d")
def volume_error(case: Comparison) -> float:
    """Signed volume error, prediction minus reference."""
    return (case.counts.fp - case.counts.fn) * case.voxel_size / 1000


@metric("area_error.v1", SIGNED_AREA, group="volume", ranked=False, needs="2d")
def area_error(case: Comparison) -> float:
    """Signed area error of a 2D image, prediction minus reference."""
    return (case.counts.fp - case.counts.fn) * case.voxel_size


@metric("relative_volume_error.v1", ERROR, group="volume", ranked=False)
def relative_volume_error(case: Comparison) -> float | None:
    """Absolute volume (2D: area) error over the reference's; undefined for an empty reference."""
    return _divide(abs(case.counts.fp - case.counts.fn), case.counts.in_reference)


@metric("lesion_f1.v1", SHARE, group="lesions", ranked=True)
def lesion_f1(case: Comparison) -> float | None:
    """F1 score of lesions that match one to one (recognition quality)."""
    return None if case.lesions is None else case.lesions.f1


@metric("lesion_sq.v1", SHARE, group="lesions", ranked=True)
def lesion_sq(case: Comparison) -> float | None:
    """Mean IoU of the matched lesions (segmentation quality); undefined if none matched."""
    return None if case.lesions is None else case.lesions.segmentation_quality


@metric("lesion_pq.v1", SHARE, group="lesions", ranked=True)
def lesion_pq(case: Comparison) -> float | None:
    """Panoptic quality of the lesions, F1 times SQ."""
    return None if case.lesions is None else case.lesions.panoptic_quality


@metric("lesion_false_positives.v1", LESIONS, group="lesions", ranked=False)
def lesion_false_positives(case: Comparison) -> float:
    """Lesions of the prediction that match none of the reference."""
    return float(case.lesions.invented) if case.lesions else 0.0


@metric("hc_error.v1", SIGNED_LENGTH, group="head", ranked=False, needs="2d")
def hc_error(case: Comparison) -> float:
    """Signed error of the head circumference, prediction minus reference."""
    predicted, true = (head_circumference(s, case.spacing_mm) for s in (case.prediction, case.reference))
    return predicted - true


@metric("hc_absolute_error.v1", LENGTH_ERROR, group="head", ranked=True, needs="2d")
def hc_absolute_error(case: Comparison) -> float:
    """Absolute error of the head circumference; a missed head is off by all of it."""
    return abs(hc_error(case))


@metric("balanced_accuracy.v1", SHARE, group="secondary", ranked=False)
def balanced_accuracy(case: Comparison) -> float | None:
    """Mean of sensitivity and specificity, (TPR + TNR) / 2; undefined where one of them is."""
    found = _divide(case.counts.tp, case.counts.in_reference)
    left_out = _divide(case.counts.tn, case.counts.tn + case.counts.fp)
    return None if found is None or left_out is None else (found + left_out) / 2


@metric("pixel_accuracy.v1", SHARE, group="secondary", ranked=False)
def pixel_accuracy(case: Comparison) -> float | None:
    """Share of voxels, background included, that are rightly in or out of the structure."""
    n = case.counts
    return _divide(n.tp + n.tn, n.tp + n.tn + n.fp + n.fn)


@metric("weighted_f1.v1", SHARE, group="secondary", ranked=False, needs="all structures")
def weighted_f1(case: CaseCounts) -> float | None:
    """Mean Dice of a case's structures, weighted by their voxels in the reference."""
    scores = [2 * n.tp * n.in_reference / (2 * n.tp + n.fp + n.fn) for n in case.structures if n.in_reference]
    return _divide(sum(scores), sum(n.in_reference for n in case.structures))


@metric("label_accuracy.v1", SHARE, group="secondary", ranked=False, needs="all structures")
def label_accuracy(case: CaseCounts) -> float | None:
    """Share of voxels, background included, whose label is right."""
    return _divide(case.agreeing, case.voxels)


@metric("pooled_dice.v1", SHARE, group="secondary", ranked=False, needs="all cases")
def pooled_dice(n: Counts) -> float | None:
    """Dice of all cases' voxels together, which large cases dominate."""
    return _divide(2 * n.tp, 2 * n.tp + n.fp + n.fn)


@metric("roc_auc.v1", SHARE, group="probabilities", ranked=False, needs="probabilities")
def roc_auc(case: Comparison) -> float | None:
    """Area under the ROC curve over all voxels, from a histogram of 4096 bins."""
    whole = case.whole
    return None if whole is None else area_under_curve(whole.reference, whole.probabilities, whole.ignored)


@metric("ece.v1", ERROR, group="probabilities", ranked=False, needs="probabilities")
def ece(case: Comparison) -> float | None:
    """Expected calibration error over 15 bins, within 10 mm of the reference."""
    return None if case.calibration is None else case.calibration.expected_error


@metric("brier.v1", ERROR, group="probabilities", ranked=False, needs="probabilities")
def brier(case: Comparison) -> float | None:
    """Brier score: mean squared error of the probability, within 10 mm of the reference."""
    return None if case.calibration is None else case.calibration.brier
