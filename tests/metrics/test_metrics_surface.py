"""Surface distances: analytic shapes, brute force, and the libraries whose definitions are meant."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autoseg.metrics import score_case, surface
from autoseg.metrics.surface import surface_distances
from autoseg.metrics.surfels import element_sizes, neighbour_codes

SPACING = (2.5, 0.8, 0.9)
ALL = (
    "hd95",
    "hd",
    "assd",
    "masd",
    "nsd_voxel",
    "hd95_surfel",
    "hd_surfel",
    "assd_surfel",
    "masd_surfel",
    "nsd",
)


def values(
    reference: np.ndarray,
    prediction: np.ndarray,
    spacing: tuple[float, ...],
    tau: float = 2.0,
    **options: object,
) -> dict[str, float]:
    found = score_case(
        reference.astype(np.uint8),
        prediction.astype(np.uint8),
        {"a": (1,)},
        spacing,
        tolerance_mm=tau,
        metrics=ALL,
        **options,  # type: ignore[arg-type]
    )
    return {score.metric: score.value for score in found}


def ball(shape: tuple[int, ...], radius: float, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    """A ball (mm) in the middle of an array."""
    steps = spacing or (1.0,) * len(shape)
    grid = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, steps, strict=True)), indexing="ij"
    )
    return sum(axis**2 for axis in grid) <= radius**2


def blob(seed: int, shape: tuple[int, ...] = (18, 22, 20)) -> np.ndarray:
    """A smooth random shape, away from or at the border."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return noise > np.quantile(noise, 0.7)


BLOBS = [(blob(2 * i), blob(2 * i + 1)) for i in range(4)]


# ---- Analytic shapes


def test_a_shift_is_measured_in_millimetres_of_its_own_axis() -> None:
    reference = np.zeros((8, 20, 20), bool)
    reference[2:5, 5:12, 5:12] = True
    spacing = (5.0, 0.7, 0.7)
    assert values(reference, np.roll(reference, 1, axis=0), spacing)["hd"] == pytest.approx(5.0)
    assert values(reference, np.roll(reference, 1, axis=1), spacing)["hd"] == pytest.approx(0.7)
    # What a swapped order of the spacing would have made of the same error.
    assert values(reference, np.roll(reference, 1, axis=0), spacing[::-1])["hd"] == pytest.approx(0.7)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0)])
def test_concentric_spheres_are_apart_by_the_difference_of_their_radii(spacing: tuple[float, ...]) -> None:
    shape = tuple(int(60 / step) + 1 for step in spacing)
    found = values(ball(shape, 19.0, spacing), ball(shape, 25.0, spacing), spacing, tau=6.0)
    half_diagonal = math.hypot(*spacing) / 2
    for name in ("hd", "hd95", "assd", "masd", "hd_surfel", "hd95_surfel", "assd_surfel", "masd_surfel"):
        assert found[name] == pytest.approx(6.0, abs=half_diagonal)


@pytest.mark.parametrize(("tau", "within"), [(4.0, False), (7.0, True)])
def test_tolerance_of_concentric_spheres(tau: float, within: bool) -> None:
    found = values(ball((61, 61, 61), 19.0), ball((61, 61, 61), 25.0), (1.0, 1.0, 1.0), tau)
    assert (found["nsd"], found["nsd_voxel"]) == ((1.0, 1.0) if within else (0.0, 0.0))


def test_boxes_have_the_area_of_boxes_with_cut_edges() -> None:
    n, m, k = 5, 7, 4
    solid = np.zeros((9, 9, 9), bool)
    solid[2 : 2 + n, 1 : 1 + m, 3 : 3 + k] = True
    a, b, c = 2.0, 0.5, 0.8
    area = element_sizes((a, b, c))[neighbour_codes(solid)].sum()
    inner = 2 * ((n - 1) * (m - 1) * a * b + (m - 1) * (k - 1) * b * c + (n - 1) * (k - 1) * a * c)
    edges = 2 * (
        (n - 1) * a * math.hypot(b, c) + (m - 1) * b * math.hypot(a, c) + (k - 1) * c * math.hypot(a, b)
    )
    corners = math.hypot(a * b, b * c, a * c)
    assert area == pytest.approx(inner + edges + corners)


def test_grown_box_is_off_by_its_corners() -> None:
    small, large = np.zeros((2, 20, 20, 20), bool)
    small[6:14, 6:14, 6:14] = True
    large[4:16, 4:16, 4:16] = True
    assert values(small, large, (1.0, 1.0, 1.0))["hd"] == pytest.approx(2 * math.sqrt(3))
    assert values(small, large, (1.0, 1.0, 1.0))["hd_surfel"] == pytest.approx(2 * math.sqrt(3))


@pytest.mark.parametrize(("tau", "whole"), [(2.4, True), (2.39, False), (1.6, False)])
def test_ties_at_the_tolerance_count_as_within(tau: float, whole: bool) -> None:
    reference = np.zeros((20, 20), bool)
    reference[5:12, 5:12] = True
    found = values(reference, np.roll(reference, 3, axis=1), (0.8, 0.8), tau)
    assert (found["nsd_voxel"] == 1.0) is whole
    assert (found["nsd"] == 1.0) is whole


# ---- Brute force


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    shape = draw(st.sampled_from([(7, 6), (5, 6, 7), (1, 4, 5), (3, 12, 3)]))
    masks = [draw(arrays(np.bool_, shape)) for _ in range(2)]
    for mask in masks:
        mask.flat[draw(st.integers(0, mask.size - 1))] = True
    spacing = tuple(draw(st.floats(0.2, 6.0)) for _ in shape)
    return masks[0], masks[1], spacing


def brute_force(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    def border(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        neighbours = [np.roll(padded, step, axis) for axis in range(mask.ndim) for step in (1, -1)]
        return np.argwhere(padded & ~np.logical_and.reduce(neighbours)) * np.asarray(spacing)

    apart = np.linalg.norm(border(a)[:, None] - border(b)[None], axis=2)
    return apart.min(axis=1), apart.min(axis=0)


@settings(deadline=None, max_examples=50)
@given(pairs())
def test_distances_equal_brute_force(case: tuple[np.ndarray, np.ndarray, tuple[float, ...]]) -> None:
    a, b, spacing = case
    found = surface_distances(a, b, spacing, "voxel")
    for ours, true in zip(
        (found.from_reference, found.from_prediction), brute_force(a, b, spacing), strict=True
    ):
        np.testing.assert_allclose(ours, true, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(pairs(), st.floats(0.1, 5.0))
def test_scores_are_symmetric_bounded_and_free_of_padding(
    case: tuple[np.ndarray, np.ndarray, tuple[float, ...]], tau: float
) -> None:
    a, b, spacing = case
    if a.shape[0] == 1:  # scored in 2D, where padding would make it 3D
        a, b, spacing = a[0], b[0], spacing[1:]
    found = values(a, b, spacing, tau)
    assert found == pytest.approx(values(b, a, spacing, tau))
    assert found == pytest.approx(values(np.pad(a, 2), np.pad(b, 2), spacing, tau))
    assert 0 <= found["nsd"] <= 1 and found["hd95"] <= found["hd"] + 1e-12
    swapped = values(a.swapaxes(0, 1), b.swapaxes(0, 1), (spacing[1], spacing[0], *spacing[2:]), tau)
    assert found == pytest.approx(swapped)


@pytest.fixture(params=["look-ups", "tree", "transform"])
def one_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Force one of the three ways to find the nearest element."""
    surface._shells.cache_clear()
    if request.param == "tree":
        monkeypatch.setattr(surface, "LOOK_UPS", 1)
    if request.param == "transform":
        monkeypatch.setattr(surface, "TREE_ELEMENTS", 0)
        monkeypatch.setattr(surface, "TREE_SHARE", 0)
    yield request.param
    surface._shells.cache_clear()


@pytest.mark.parametrize("definition", ["voxel", "surfel"])
def test_all_ways_to_the_nearest_element_agree(one_way: str, definition: str) -> None:
    a, b = blob(1, (30, 40, 50)), blob(2, (30, 40, 50)) & (np.arange(50) > 35)
    found = surface_distances(a, b, SPACING, definition)  # type: ignore[arg-type]
    surfaces = surface._voxel_surface if definition == "voxel" else surface._surfel_surface
    from scipy.ndimage import distance_transform_edt

    true = distance_transform_edt(~surfaces(b, SPACING, None)[0], sampling=SPACING)[
        surfaces(a, SPACING, None)[0]
    ]
    np.testing.assert_allclose(found.from_reference, true, rtol=1e-6, atol=1e-9)


def test_noise_takes_the_transform_and_the_far_query_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("_by_tree", "_by_transform"):
        function = getattr(surface, name)
        monkeypatch.setattr(surface, name, lambda *a, f=function, n=name: (taken.append(n), f(*a))[1])
    reference = np.zeros((80, 80, 80), bool)
    reference[:9, :9, :9] = True
    noise = np.random.default_rng(0).random(reference.shape) > 0.5
    surface_distances(reference, noise, (1.0, 1.0, 1.0), "surfel")
    assert taken == ["_by_transform"]
    taken.clear()
    surface_distances(reference, np.roll(reference, 40, axis=2), (1.0, 1.0, 1.0), "surfel")
    assert set(taken) == {"_by_tree"}


# ---- Ignored voxels


def test_surfaces_end_where_the_truth_does() -> None:
    """In sparsely annotated slices the outline is the surface, not every voxel of the slice."""
    reference, prediction = np.zeros((2, 9, 30, 30), np.uint8)
    reference[4, 8:20, 8:20] = 1
    prediction[:, 8:20, 11:23] = 1
    reference[[0, 1, 2, 3, 5, 6, 7, 8]] = 2
    sparse = values(reference, prediction, (3.0, 1.0, 1.0), tau=1.0, ignore_label=2)
    flat = values(reference[4], prediction[4], (1.0, 1.0), tau=1.0)
    for name in ("hd", "hd95", "assd", "masd", "nsd_voxel"):
        assert sparse[name] == pytest.approx(flat[name])
    # A surface element lies between slices and is found on both sides of the annotated one.
    assert sparse["hd_surfel"] == pytest.approx(flat["hd_surfel"])
    assert sparse["nsd"] == pytest.approx(flat["nsd"], abs=0.05)


def test_a_structure_enclosed_by_ignored_voxels_still_has_a_surface() -> None:
    reference = np.full((5, 8, 8), 2, np.uint8)
    reference[2, 2:6, 2:6] = 1
    prediction = np.where(reference == 1, 1, 0).astype(np.uint8)
    prediction[2, 2, 2] = 0
    assert 0 < values(reference, prediction, (1.0, 1.0, 1.0), ignore_label=2)["hd"] < 2


# ---- Oracles


def close(ours: float, theirs: float) -> bool:
    """Within 1e-6; relative above 1, since the others compute in single precision."""
    return abs(ours - theirs) <= 1e-6 * max(1.0, abs(theirs))


@pytest.mark.parametrize(("a", "b"), BLOBS)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
def test_agrees_with_monai(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    y, p = (torch.from_numpy(np.stack([~mask, mask])[None]) for mask in (a, b))
    ours = values(a, b, spacing, tau=1.37)
    theirs = {
        "hd95": metrics.compute_hausdorff_distance(p, y, percentile=95, spacing=spacing),
        "hd": metrics.compute_hausdorff_distance(p, y, spacing=spacing),
        "assd": metrics.compute_average_surface_distance(p, y, symmetric=True, spacing=spacing),
        "nsd_voxel": metrics.compute_surface_dice(p, y, [1.37], spacing=spacing),
        "nsd": metrics.compute_surface_dice(p, y, [1.37], spacing=spacing, use_subvoxels=True),
    }
    for name, value in theirs.items():
        assert close(ours[name], float(value)), name


def test_agrees_with_monai_in_2d() -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    a, b = blob(5, (60, 50)), blob(6, (60, 50))
    y, p = (torch.from_numpy(np.stack([~mask, mask])[None]) for mask in (a, b))
    ours = values(a, b, (0.7, 1.9), tau=1.37)
    assert close(
        ours["hd95"], float(metrics.compute_hausdorff_distance(p, y, percentile=95, spacing=[0.7, 1.9]))
    )
    theirs = metrics.compute_surface_dice(p, y, [1.37], spacing=[0.7, 1.9], use_subvoxels=True)
    assert close(ours["nsd"], float(theirs))


@pytest.mark.parametrize("shape", [(14, 12, 10), (40, 30)])
def test_agrees_with_surface_distance(shape: tuple[int, ...]) -> None:
    theirs = pytest.importorskip("surface_distance.metrics", reason="surface-distance is not installed")
    rng = np.random.default_rng(3)
    for spacing in ((1.0, 1.0, 1.0), SPACING, (0.3, 4.0, 1.1)):
        steps = spacing[: len(shape)]
        a, b = (rng.random((2, *shape)) > rng.uniform(0.1, 0.9, (2, *(1,) * len(shape)))).astype(bool)
        pair = theirs.compute_surface_distances(a, b, steps)
        ours = surface_distances(a, b, steps, "surfel")
        assert ours.reference_sizes is not None
        assert close(float(ours.reference_sizes.sum()), float(pair["surfel_areas_gt"].sum()))
        np.testing.assert_allclose(np.sort(ours.from_reference), pair["distances_gt_to_pred"], rtol=1e-9)
        assert close(ours.hausdorff(95), theirs.compute_robust_hausdorff(pair, 95))
        assert close(ours.share_within(1.37), theirs.compute_surface_dice_at_tolerance(pair, 1.37))
        assert close(ours.mean_of_directed(), float(np.mean(theirs.compute_average_surface_distance(pair))))


def test_every_neighbourhood_has_the_area_of_surface_distance() -> None:
    tables = pytest.importorskip("surface_distance.lookup_tables", reason="surface-distance is not installed")
    for spacing in itertools.permutations((0.3, 1.0, 4.0)):
        solid = tables.create_table_neighbour_code_to_surface_area(spacing)
        np.testing.assert_allclose(element_sizes(spacing), solid, rtol=1e-12)
        flat = tables.create_table_neighbour_code_to_contour_length(spacing[:2])
        np.testing.assert_allclose(element_sizes(spacing[:2]), flat, rtol=1e-12)


@pytest.mark.parametrize(("a", "b"), BLOBS[:2])
def test_agrees_with_medpy_where_it_means_the_same(a: np.ndarray, b: np.ndarray) -> None:
    binary = pytest.importorskip("medpy.metric.binary", reason="medpy is not installed")
    ours = values(a, b, SPACING)
    assert close(ours["hd"], binary.hd(b, a, SPACING))
    assert close(ours["assd"], binary.assd(b, a, SPACING))
    # Its HD95 is the percentile of the pooled distances, another definition.
    pooled = surface_distances(a, b, SPACING, "voxel")
    both = np.concatenate([pooled.from_reference, pooled.from_prediction])
    assert close(float(np.percentile(both, 95)), binary.hd95(b, a, SPACING))


def test_agrees_with_simpleitk_on_the_hausdorff_distance() -> None:
    sitk = pytest.importorskip("SimpleITK")
    a = ball((24, 30, 40), 9.0)
    b = np.roll(a, 6, axis=2)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)]
    for image in images:
        image.SetSpacing(SPACING[::-1])
    measured = sitk.HausdorffDistanceImageFilter()
    measured.Execute(*images)
    assert close(values(a, b, SPACING)["hd"], measured.GetHausdorffDistance())
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    found = {s.metric: s.value for s in score_case(a, b, {"a": (1,)}, SPACING, metrics=("dice", "iou"))}
    assert found["dice"] == pytest.approx(overlap.GetDiceCoefficient())
    assert found["iou"] == pytest.approx(overlap.GetJaccardCoefficient())
