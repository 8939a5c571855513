"""Head circumference: rendered ellipses, real heads, and what a segmentation may have wrong with it."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from autoseg.metrics import score_case
from autoseg.metrics.head_circumference import ellipse_circumference, head_circumference


def ellipse(
    a: float, b: float, pixel: tuple[float, float], angle: float, shift: tuple[float, float]
) -> np.ndarray:
    """Pixels (mm, y x) whose centre lies in an ellipse with semi-axes in mm."""
    half = [int((a + 3) / step) for step in pixel]
    y, x = np.meshgrid(
        *((np.arange(-n, n + 1) * s - d) for n, s, d in zip(half, pixel, shift, strict=True)), indexing="ij"
    )
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def test_circumference_of_an_ellipse() -> None:
    assert ellipse_circumference(60, 45) == pytest.approx(331.55, abs=0.005)
    assert ellipse_circumference(1, 1) == pytest.approx(2 * np.pi)


@pytest.mark.parametrize("pixel", [(0.14, 0.14), (0.25, 0.25), (0.1, 0.2)])
def test_rendered_ellipses_are_measured_without_bias(pixel: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    errors = [
        head_circumference(ellipse(60, 45, pixel, rng.uniform(0, np.pi), tuple(rng.uniform(-1, 1, 2))), pixel)
        - ellipse_circumference(60, 45)
        for _ in range(30)
    ]
    assert abs(np.mean(errors)) <= 0.006
    assert np.abs(errors).max() < 0.06


def test_holes_and_stray_pixels_do_not_count() -> None:
    head = ellipse(20, 15, (0.25, 0.25), 0.4, (0, 0))
    damaged = head.copy()
    damaged[tuple(n // 2 for n in head.shape)] = False
    damaged[len(head) // 2 - 8 : len(head) // 2 - 2, 60:70] = False
    damaged[:2, :2] = True
    assert head_circumference(damaged, (0.25, 0.25)) == head_circumference(head, (0.25, 0.25))


def test_errors_are_scored_for_heads_in_2d() -> None:
    small, large = (ellipse(60, b, (0.5, 0.5), 0.0, (0, 0)) for b in (44, 45))
    true = ellipse_circumference(60, 44) - ellipse_circumference(60, 45)

    def found(reference: np.ndarray, prediction: np.ndarray | None, name: str = "head") -> dict[str, float]:
        return {s.metric: s.value for s in score_case(reference, prediction, {name: (1,)}, (0.5, 0.5))}

    assert found(large, small)["hc_error"] == pytest.approx(true, abs=0.1)
    assert found(large, small)["hc_absolute_error"] == pytest.approx(-true, abs=0.1)
    whole = head_circumference(large, (0.5, 0.5))
    assert found(large, np.zeros_like(large))["hc_error"] == pytest.approx(-whole)
    assert found(large, None)["hc_absolute_error"] == pytest.approx(whole)
    assert found(np.zeros_like(large), np.zeros_like(large))["hc_absolute_error"] == 0.0
    assert "hc_error" not in found(large, small, "nuclei")


def test_published_circumferences(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Labels are the published ellipses, filled; some are cut off by the border of the image."""
    import SimpleITK as sitk

    root = shared_data("Dataset018_FetalHead")
    with (root / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))[::4]
    errors = []
    for row in rows:
        label = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "labelsTr" / f"{row['case']}.png"))) == 1
        if not (label[[0, -1]].any() or label[:, [0, -1]].any()):
            pixel = float(row["pixel_mm_half"])
            errors.append(head_circumference(label, (pixel, pixel)) - float(row["head_circumference_mm"]))
    assert len(errors) > 30
    assert abs(np.mean(errors)) < 0.02 and np.abs(errors).max() < 0.1
