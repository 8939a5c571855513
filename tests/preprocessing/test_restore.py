"""Back to the raw grid: nnU-Net's segmentation, class by class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.data.dataset import Labels
from autoseg.errors import PlanError
from autoseg.planner.configuration import Configuration
from autoseg.planner.plan import Plan
from autoseg.preprocessing import restore
from autoseg.preprocessing.restore import (
    resampling_axis,
    restore_probabilities,
    restore_slabs,
    segment_probabilities,
)

OPTIONS = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def configuration(spacing: tuple[float, ...], **changes: Any) -> Configuration:
    resampling = {
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": OPTIONS | changes,
    }
    return SimpleNamespace(spacing=spacing, resampling=resampling)  # type: ignore[return-value]


def plan(transpose: tuple[int, ...]) -> Plan:
    backward = tuple(transpose.index(axis) for axis in range(3))
    return SimpleNamespace(transpose=transpose, transpose_backward=backward)  # type: ignore[return-value]


def case(
    heads: int, shape: tuple[int, ...], new_shape: tuple[int, ...], spacing: tuple[float, ...], seed: int = 0
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Smooth logits, and the properties of a case that was cropped by 2 voxels before and 3 behind."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 4 * torch.randn((1, heads, 4, 4, 4), generator=generator)
    logits = F.interpolate(coarse, shape, mode="trilinear")[0]
    logits += 0.3 * torch.randn(logits.shape, generator=generator)
    box = [[2, length + 2] for length in new_shape]
    return logits, {
        "spacing": list(spacing),
        "shape_after_cropping_and_before_resampling": new_shape,
        "shape_before_cropping": tuple(length + 5 for length in new_shape),
        "bbox_used_for_cropping": box,
    }


def stock(logits, properties, plan_, configuration_, dataset_labels, order=None, **options_of_export):
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    def resample(data, shape, current, new):
        options = configuration_.resampling["resampling_fn_probabilities_kwargs"]
        return resample_data_or_seg_to_shape(data, shape, current, new, **options)

    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits.clone(),
        SimpleNamespace(transpose_forward=plan_.transpose, transpose_backward=plan_.transpose_backward),
        SimpleNamespace(spacing=list(configuration_.spacing), resampling_fn_probabilities=resample),
        LabelManager(dataset_labels, order),
        properties,
        num_threads_torch=1,
        **options_of_export,
    )


GRIDS = {
    "finer": ((10, 14, 12), (17, 20, 21), (1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
    "coarser": ((17, 20, 21), (10, 14, 12), (1.5, 1.5, 1.5), (1.0, 1.0, 1.0)),
    "same": ((9, 12, 11), (9, 12, 11), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "raw slices apart": ((9, 20, 18), (14, 31, 27), (5.0, 0.7, 0.7), (7.5, 1.0, 1.0)),
    "plan slices apart": ((9, 20, 18), (14, 31, 27), (1.0, 0.9, 0.9), (4.0, 1.0, 1.0)),
    "slices kept": ((9, 20, 18), (9, 31, 27), (5.0, 0.7, 0.7), (1.0, 1.0)),
}


def restore_segmentation(logits, *about):
    """Of logits that come at once."""
    return restore_slabs([logits.numpy()], logits.shape[1:], *about)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_labels_equal_nnunets(grid, transpose):
    shape, new_shape, raw_spacing, plan_spacing = GRIDS[grid]
    logits, properties = case(5, shape, new_shape, raw_spacing)
    # the raw spacing is in raw order, everything else in the plan's
    properties["spacing"] = [raw_spacing[transpose.index(axis)] for axis in range(3)]
    names = {"background": 0, "a": 1, "b": 2, "c": 3, "d": 4}
    arguments = (logits, properties, plan(transpose), configuration(plan_spacing))
    before = logits.clone()
    found = restore_segmentation(*arguments, Labels(names))
    assert torch.equal(logits, before)
    expected = stock(*arguments, names)
    assert found.shape == expected.shape and found.dtype == expected.dtype == np.uint8
    assert set(np.unique(found)) == set(range(5))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_regions_equal_nnunets(grid):
    shape, new_shape, raw_spacing, plan_spacing = GRIDS[grid]
    logits, properties = case(3, shape, new_shape, raw_spacing)
    names = {"background": 0, "whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    arguments = (logits, properties, plan((1, 0, 2)), configuration(plan_spacing))
    properties["spacing"] = [raw_spacing[(1, 0, 2).index(axis)] for axis in range(3)]
    found = restore_segmentation(*arguments, Labels(names, (1, 2, 3)))
    expected = stock(*arguments, names, (1, 2, 3))
    assert set(np.unique(found)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("grid", ["same", "finer", "coarser"])
@pytest.mark.parametrize("regions", [False, True])
def test_an_ensemble_over_transpositions_is_nnunets(grid, regions):
    """nnU-Net's probabilities of three orientations, averaged, as `nnUNetv2_ensemble` does."""
    shape, new_shape, raw_spacing, plan_spacing = GRIDS[grid]
    names = {"background": 0, "a": (1, 2), "b": (2,)} if regions else {"background": 0, "a": 1, "b": 2}
    order = (1, 2) if regions else None
    total, expected = None, 0.0
    for seed, axes in enumerate([(0, 1, 2), (1, 0, 2), (2, 0, 1)]):
        # The raw case has the axes of `shape`; each model sees them in its own order.
        logits, properties = case(
            len(names) - regions,
            [shape[axis] for axis in axes],
            [new_shape[axis] for axis in axes],
            raw_spacing,
            seed,
        )
        arguments = (properties, plan(axes), configuration(plan_spacing))
        part = (logits.sigmoid() if regions else logits.softmax(0)) / 3
        total = restore_probabilities(part.numpy(), *arguments, total)
        expected += stock(logits, *arguments, names, order, return_probabilities=True)[1] / 3
    found = segment_probabilities(total, Labels(names, order))
    inside = (slice(None), *(slice(2, length + 2) for length in new_shape))
    if grid == "same":
        np.testing.assert_allclose(total[inside], expected[inside], atol=1e-6)
    # Elsewhere, nnU-Net interpolates logits: on the way from one label to another they cross a bit aside.
    else:
        assert 0 < np.abs(total[inside] - expected[inside]).mean() < 0.06
    labels = segment_probabilities(expected, Labels(names, order))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert np.mean(found != labels) < (1e-4 if grid == "same" else 0.05)


def test_half_precision_logits_differ_only_at_ties():
    logits, properties = case(4, (10, 14, 12), (17, 20, 21), (1.0, 1.0, 1.0))
    names = {"background": 0, "a": 1, "b": 2, "c": 3}
    arguments = (logits.half(), properties, plan((0, 1, 2)), configuration((1.5, 1.5, 1.5)))
    found, expected = restore_segmentation(*arguments, Labels(names)), stock(*arguments, names)
    assert np.mean(found != expected) < 1e-3


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    heads=st.integers(2, 7),
    shape=st.tuples(*(st.integers(1, 9),) * 3),
    new_shape=st.tuples(*(st.integers(1, 14),) * 3),
    background=st.floats(-3, 6),
)
def test_windows_do_not_matter(seed, heads, shape, new_shape, background):
    """The shortcut (where a class can win) against resampling every class everywhere."""
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(heads, *shape)).astype(np.float32))
    logits[0] += background
    _, properties = case(1, (1, 1, 1), new_shape, (1.0, 1.0, 1.0))
    axes = restore._axes(shape, properties, plan((0, 1, 2)), configuration((1.2, 1.2, 1.2)))
    whole = tuple(slice(length) for length in new_shape)
    every = np.stack([restore._resample(channel, axes, whole) for channel in logits.numpy()])
    found = np.zeros(new_shape, np.uint8)
    restore._fill_labels(found, logits.numpy(), axes)
    np.testing.assert_array_equal(found, every.argmax(0))
    regions = np.zeros(new_shape, np.uint8)
    restore._fill_regions(regions, logits.numpy(), axes, range(1, heads + 1))
    expected = np.zeros(new_shape, np.uint8)
    for label, channel in enumerate(every, start=1):
        expected[channel > 0] = label
    np.testing.assert_array_equal(regions, expected)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(*(st.integers(1, 9),) * 3),
    new_shape=st.tuples(*(st.integers(1, 14),) * 3),
    cuts=st.lists(st.integers(1, 4), min_size=9, max_size=9),
    apart=st.booleans(),
    regions=st.booleans(),
)
def test_slabs_do_not_matter(seed, shape, new_shape, cuts, apart, regions):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(4, *shape)).astype(np.float32))
    raw_spacing = (5.0, 0.7, 0.7) if apart else (1.0, 1.0, 1.0)
    _, properties = case(1, (1, 1, 1), new_shape, raw_spacing)
    names = {"background": 0} | {f"s{n}": (n,) if regions else n for n in range(1, 5 if regions else 4)}
    labels = Labels(names, (1, 2, 3, 4) if regions else None)
    about = (properties, plan((1, 0, 2)), configuration((1.2, 1.2, 1.2)), labels)
    buffer = torch.empty_like(logits)

    def slabs():
        start = 0
        for cut in cuts:
            part = logits[:, start : start + cut]
            if part.shape[1]:
                buffer.fill_(torch.nan)  # what was handed out before is gone
                buffer[:, : part.shape[1]] = part
                yield buffer[:, : part.shape[1]]
            start += cut

    expected = restore_segmentation(logits, *about)
    parts = (slab.numpy() for slab in slabs())
    np.testing.assert_array_equal(restore_slabs(parts, shape, *about), expected)


def test_a_thousand_labels_need_a_wider_type():
    names = {"background": 0} | {f"s{n}": n for n in range(1, 300)}
    logits = torch.zeros(300, 2, 2, 2)
    logits[299] = 1
    _, properties = case(1, (1, 1, 1), (2, 2, 2), (1.0, 1.0, 1.0))
    found = restore_segmentation(
        logits, properties, plan((0, 1, 2)), configuration((1.0, 1.0, 1.0)), Labels(names)
    )
    assert found.dtype == np.uint16 and found.max() == 299


def test_nearest_axes_copy_voxels():
    axis = resampling_axis(3, 6, nearest=True)
    assert axis.lower.tolist() == axis.upper.tolist() == [0, 0, 1, 1, 2, 2]
    assert not axis.fraction.any()


@pytest.mark.parametrize("changes", [{"order": 3}, {"order_z": 3}])
def test_other_splines_are_refused(changes):
    logits, properties = case(2, (4, 4, 4), (5, 5, 5), (1.0, 1.0, 1.0))
    with pytest.raises(PlanError, match="order 0 or 1"):
        restore_segmentation(
            logits, properties, plan((0, 1, 2)), configuration((1.2, 1.2, 1.2), **changes), Labels({})
        )
