"""Percentile clipping and z-score inside the foreground: its numbers, here and through nnU-Net."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_documents import plans_document

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import Image, read_images, read_segmentation
from autoseg.errors import DataError, PlanError
from autoseg.planner.configuration import PERCENTILE
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import preprocess_case
from autoseg.preprocessing.normalization import normalize
from autoseg.training.stock_normalization import PercentileZScoreNormalization, make_known

LABELS = {
    "labels": {"background": 0, "a": 1},
    "channel_names": {"0": "T1", "1": "T2"},
    "file_ending": ".nii.gz",
}


def volume(seed: int = 0, shape: tuple[int, ...] = (12, 20, 18)) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball with a few glaring voxels in zeros, and where it is."""
    random = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    inside = sum((axis / 0.9) ** 2 for axis in axes) < 1
    image = random.gamma(4, 60, shape) + 5
    image[random.random(shape) < 0.004] = 4e4
    return (image * inside).astype(np.float32), inside


def normalized(image: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    channel = image.astype(np.float32)
    normalize(PERCENTILE, channel, inside, {})
    return channel


def by_definition(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The same in float64, word by word."""
    values = image[inside].astype(np.float64)
    clipped = np.clip(values, *np.percentile(values, [0.5, 99.5]))
    result = np.zeros(image.shape)
    result[inside] = (clipped - clipped.mean()) / clipped.std()
    return result


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_the_definitions(seed: int) -> None:
    image, inside = volume(seed)
    np.testing.assert_allclose(normalized(image, inside), by_definition(image, inside), atol=2e-5)
    everywhere = np.ones_like(inside)
    np.testing.assert_allclose(normalized(image, None), by_definition(image, everywhere), atol=2e-5)


def test_outside_stays_zero_and_outliers_are_gone() -> None:
    image, inside = volume()
    result = normalized(image, inside)
    assert (result[~inside] == 0).all()
    assert np.abs(result[inside].mean()) < 1e-5
    assert result[inside].std() == pytest.approx(1, abs=1e-5)
    z_score = image.copy()
    normalize("ZScoreNormalization", z_score, inside, {})
    assert z_score.max() > 10 > result.max()
    assert np.abs(result - z_score).max() > 1


@given(
    scale=st.floats(0.01, 100), shift=st.floats(-50, 5000), seed=st.integers(0, 5), share=st.floats(0.3, 1.0)
)
def test_brightness_and_contrast_do_not_matter(scale: float, shift: float, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    image = random.normal(300, 60, (6, 8, 10)).astype(np.float32)
    inside = random.random(image.shape) < share
    other = ((image.astype(np.float64) * scale + shift) * inside).astype(np.float32)
    np.testing.assert_allclose(normalized(other, inside), normalized(image * inside, inside), atol=0.02)


@pytest.mark.parametrize("value", [0.1, 1000.1, -7.0, 3e7])
def test_a_constant_foreground_becomes_zero(value: float) -> None:
    inside = volume()[1]
    assert not normalized(np.where(inside, value, 0), inside).any()
    assert not normalized(np.full((5, 7, 9), value), None).any()


def test_what_the_clip_leaves_one_value_of_becomes_zero() -> None:
    image = np.full((10, 10, 10), 8.0)
    image.flat[:4] = 900
    assert not normalized(image, None).any()


def test_an_empty_foreground_is_left_alone() -> None:
    assert not normalized(np.zeros((3, 4, 5)), np.zeros((3, 4, 5), dtype=bool)).any()


@pytest.mark.parametrize(("bad", "number"), [(np.nan, 1), (np.inf, 60), (-np.inf, 60)])
def test_what_is_no_number_is_refused(bad: float, number: int) -> None:
    image, inside = volume()
    image[tuple(axis[:number] for axis in np.nonzero(inside))] = bad
    with pytest.raises(DataError, match="NaN"):
        normalized(image, inside)
    # In another channel it does no harm.
    assert np.isfinite(normalized(*volume(1))).all()


def test_one_infinite_value_is_clipped_as_others_are() -> None:
    image, inside = volume()
    place = tuple(int(axis[0]) for axis in np.nonzero(inside))
    image[place] = np.inf
    infinite = normalized(image, inside)
    image[place] = 1e6
    np.testing.assert_array_equal(infinite, normalized(image, inside))


def both(
    images: Image,
    segmentation: Image | None,
    document: dict[str, Any],
    about: dict[str, Any],
    tolerance: float = 1e-6,
) -> None:
    """Preprocess with autoseg and with nnU-Net's own preprocessor; the arrays have to be the same.

    `tolerance` is a part of a channel's range.
    """
    plan, manager = Plan.from_json(document), PlansManager(copy.deepcopy(document))
    (name,) = document["configurations"]
    configuration = manager.get_configuration(name)
    make_known(configuration)
    mine, mine_labels, _ = preprocess_case(images, segmentation, plan, plan.configuration(name), about)
    theirs, their_labels, _ = DefaultPreprocessor(verbose=False).run_case_npy(
        images.array.astype(np.float32),
        None if segmentation is None else segmentation.array.astype(np.float32),
        copy.deepcopy(images.properties),
        manager,
        configuration,
        about,
    )
    assert mine.shape == theirs.shape
    for channel, wanted in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(channel, wanted, rtol=0, atol=tolerance * np.ptp(wanted))
    if mine_labels is not None:
        np.testing.assert_array_equal(mine_labels, their_labels)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_nnunet_gives_the_same_arrays(labelled: bool, mask: bool, transpose: tuple[int, ...]) -> None:
    (first, inside), (second, _) = volume(1), volume(2)
    second[:3] = 0  # zero here, not in the first channel: foreground all the same
    properties = {"spacing": [1.0, 1.0, 1.0], "sitk_stuff": {}}
    images = Image(np.stack([first, second]), (1.0, 1.0, 1.0), properties)
    labels = Image((inside & (first > 300))[None].astype(np.uint8), (1.0, 1.0, 1.0), properties)
    document = plans_document([1.0, 1.0, 1.0], [PERCENTILE, PERCENTILE], mask, transpose)
    both(images, labels if labelled else None, document, LABELS)


@pytest.mark.parametrize(
    ("name", "spacing", "tolerance"),
    [
        ("Dataset004_Hippocampus", [1.0, 1.0, 1.0], 1e-6),
        ("Dataset030_MSLesion", None, 1e-6),
        ("Dataset030_MSLesion", [2.2, 2.0, 2.0], 1e-4),  # resampled, in another way
    ],
)
def test_nnunet_gives_the_same_arrays_for_real_cases(
    shared_data: Callable[[str], Path], name: str, spacing: list[float] | None, tolerance: float
) -> None:
    dataset = load_dataset(shared_data(name))
    case = dataset.cases[0]
    assert case.label is not None
    images = read_images(case.images, dataset.reader)
    segmentation = read_segmentation(case.label, dataset.reader)
    document = plans_document(spacing or list(images.spacing), [PERCENTILE] * len(dataset.channels), True)
    both(images, segmentation, document, dict(dataset.dataset_json), tolerance)


def test_the_class_keeps_its_input_and_its_type() -> None:
    image, inside = volume()
    before, seg = image.copy(), np.where(inside, 0, -1)
    scheme = PercentileZScoreNormalization(True, {}, np.float16)
    assert scheme.run(image, seg).dtype == np.float16
    np.testing.assert_array_equal(image, before)
    turned = PercentileZScoreNormalization(True, {}).run(image.T, seg.T)
    np.testing.assert_allclose(turned, normalized(image, inside).T, atol=1e-5)
    with pytest.raises(PlanError, match="segmentation"):
        scheme.run(image)
