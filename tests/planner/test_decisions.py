"""The single decisions, on numbers small enough to follow."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoseg.architectures import Topology
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError, UsageError
from autoseg.planner.nnunet_memory import feature_map_values
from autoseg.planner.normalization_schemes import normalization
from autoseg.planner.patch import FittedPatch, Resources, fit_batch, fit_patch
from autoseg.planner.presets import PRESETS, find_preset
from autoseg.planner.spacing import axis_order, resampled_shapes, target_spacing
from autoseg.planner.topology import divisors, pooled

Triple = tuple[float, float, float]


def fingerprint(spacings: list[Triple], shapes: list[tuple[int, int, int]], left: float = 1.0) -> Fingerprint:
    return Fingerprint(tuple(spacings), tuple(shapes), {}, left)


def test_the_target_spacing_is_the_median() -> None:
    found = fingerprint([(1.0, 1.0, 2.0), (1.0, 2.0, 2.0), (3.0, 3.0, 2.0)], [(50, 50, 50)] * 3)
    target, decisions = target_spacing(found)
    assert target.tolist() == [1.0, 2.0, 2.0]
    assert "median" in decisions[0].rule


def test_a_coarse_axis_with_few_slices_takes_the_tenth_percentile() -> None:
    spacings = [(depth, 1.0, 1.0) for depth in (4.0, 5.0, 10.0, 10.0, 10.0, 10.0)]
    target, _ = target_spacing(fingerprint(spacings, [(20, 200, 200)] * 6))
    assert target.tolist() == [4.5, 1.0, 1.0]
    with_many_slices, _ = target_spacing(fingerprint(spacings, [(70, 200, 200)] * 6))
    assert with_many_slices.tolist() == [10.0, 1.0, 1.0]


def test_a_coarse_axis_never_becomes_the_finest() -> None:
    spacings = [(depth, 1.0, 1.0) for depth in (0.5, 0.5, 10.0, 10.0, 10.0, 10.0)]
    target, _ = target_spacing(fingerprint(spacings, [(20, 200, 200)] * 6))
    assert target.tolist() == [1.00001, 1.0, 1.0]


@pytest.mark.parametrize(
    ("target", "order"), [((1, 1, 3), (2, 0, 1)), ((1, 1, 1), (0, 1, 2)), ((1, 2, 2), (1, 0, 2))]
)
def test_the_coarsest_axis_comes_first(target: Triple, order: tuple[int, ...]) -> None:
    assert axis_order(np.array(target, dtype=float))[0] == order


def test_shapes_are_rounded_as_python_does() -> None:
    found = fingerprint([(1.0, 1.0, 1.0)], [(5, 7, 9)])
    assert resampled_shapes(found, np.array([2.0, 2.0, 2.0])).tolist() == [[2, 4, 4]]


@pytest.mark.parametrize(("left", "masked"), [(0.74, (True, False)), (0.75, (False, False))])
def test_z_scores_look_inside_only_if_the_crop_takes_much(left: float, masked: tuple[bool, ...]) -> None:
    schemes, found, decision = normalization(["T1", "ct"], fingerprint([], [], left))
    assert schemes == ("ZScoreNormalization", "CTNormalization")
    assert found == masked
    assert ("inside" in decision.value[0]) is masked[0]


def test_a_channel_name_decides_whatever_its_case() -> None:
    schemes, _, _ = normalization(
        ["CT", "noNorm", "RGB_to_0_1", "rescale_to_0_1", "ADC"], fingerprint([], [])
    )
    assert schemes == (
        "CTNormalization",
        "NoNormalization",
        "RGBTo01Normalization",
        "RescaleTo01Normalization",
        "ZScoreNormalization",
    )


def test_kernels_stay_flat_until_the_axes_are_alike() -> None:
    topology = pooled((5.0, 1.0, 1.0), (20, 256, 256), 4)
    assert topology.strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert topology.kernel_sizes[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert topology.kernel_sizes[-1] == (3, 3, 3)


def test_a_single_axis_is_pooled_only_if_it_is_long() -> None:
    assert pooled((1.0, 1.0), (7, 11), 4).stages == 1
    assert pooled((1.0, 1.0), (7, 12), 4).stages == 2


@given(
    st.lists(st.floats(0.1, 10), min_size=2, max_size=3),
    st.lists(
        st.one_of(st.integers(1, 600), st.integers(1, 600).map(lambda n: n + 0.5)), min_size=3, max_size=3
    ),
)
def test_a_patch_is_what_the_strides_divide(spacing: list[float], size: list[float]) -> None:
    wanted = size[: len(spacing)]
    topology = pooled(spacing, wanted, 4)
    for n, want, divisor in zip(topology.patch_size, wanted, divisors(topology), strict=True):
        assert n % divisor == 0
        assert want <= n < want + divisor
        assert divisor == 1 or n // divisor >= 4


def isotropic(edge: int, dimensions: int, stages: int) -> Topology:
    strides = ((1,) * dimensions, *((2,) * dimensions,) * (stages - 1))
    return Topology((edge,) * dimensions, (1.0,) * dimensions, strides, ((3,) * dimensions,) * stages)


def test_memory_is_that_of_the_networks_that_the_references_were_measured_on() -> None:
    # nnU-Net's residual planner module prints these for three labels; there, the heads of deep supervision
    # are counted, which the planner leaves out.
    preset = PRESETS["nnunet_resenc_m"]
    for topology, printed in ((isotropic(128, 3, 6), 558319104), (isotropic(512, 2, 7), 129793792)):
        edges = [topology.patch_size[0] // 2**stage for stage in range(1, topology.stages - 1)]
        heads = sum(3 * edge**topology.dimensions for edge in edges)
        assert feature_map_values(preset, topology, 3) + heads == printed


def test_memory_of_a_small_plain_network_by_hand() -> None:
    # Two convolutions of 32 and of 64 channels; a transposed and two more of 32; two heads.
    expected = 2 * 32 * 64 + 2 * 64 * 16 + 3 * 32 * 64 + 2 * 64
    assert feature_map_values(PRESETS["nnunet"], isotropic(8, 2, 2), 2) == expected


@given(
    st.sampled_from(sorted(PRESETS)),
    st.floats(0.2, 8),
    st.integers(8, 600),
    st.integers(8, 600),
    st.floats(2, 80),
)
def test_what_is_fitted_fits(name: str, depth: float, slices: int, edge: int, memory_gb: float) -> None:
    resources = Resources(PRESETS[name], memory_gb, 4)
    fitted = fit_patch((depth, 1.0, 1.0), (slices, edge, edge), resources)
    limit = PRESETS[name].reference_3d * memory_gb / PRESETS[name].memory_gb
    assert fitted.values <= limit
    assert fitted.values == feature_map_values(PRESETS[name], fitted.topology, 4)
    assert fitted.steps == 0 or fitted.values > limit / 4


def test_a_batch_sees_at_most_a_share_of_the_data() -> None:
    preset = PRESETS["nnunet"]
    patch = FittedPatch(isotropic(32, 3, 4), (32.0,) * 3, 0, 1_000_000)
    voxels = 32.0**3
    resources = Resources(preset, 8, 2)
    assert fit_batch(patch, voxels * 1e6, resources)[0] == round(preset.reference_3d / 1_000_000 * 2)
    assert fit_batch(patch, voxels * 200, resources)[0] == 10
    assert fit_batch(patch, voxels * 3, resources)[0] == 2
    free = dataclasses.replace(preset, largest_share=1)
    assert fit_batch(patch, voxels * 200, dataclasses.replace(resources, preset=free))[0] == 200


def test_a_preset_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    path.write_text(
        json.dumps({"from": "nnunet_resenc_m", "base_features": 16, "decoder_convolutions": [2] * 12})
    )
    preset = find_preset(str(path))
    assert (preset.name, preset.base_features, preset.residual) == ("small", 16, True)
    assert preset.decoder_convolutions == (2,) * 12
    assert math.isclose(preset.memory_gb, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"base_features": 16}, "names a preset"), ({"from": "nnunet", "x": 1}, "fields x")],
)
def test_a_file_that_is_no_preset_is_refused(
    tmp_path: Path, content: dict[str, object], message: str
) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PlanError, match=message):
        find_preset(str(path))
    with pytest.raises(UsageError, match="no preset 'small'"):
        find_preset("small")
