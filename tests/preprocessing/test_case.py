"""One case in memory, beside nnU-Net's DefaultPreprocessor: real cases and awkward made-up ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plans_documents import plans_document

from autoseg.data.dataset import labels_from_json, load_dataset
from autoseg.data.readers import Image, read_images, read_segmentation
from autoseg.errors import DataError, PlanError
from autoseg.planner.plan import Plan
from autoseg.preprocessing.case import preprocess_case, recipe_of


def compare(
    images: Image, segmentation: Image, document: dict[str, Any], dataset_json: dict[str, Any]
) -> np.ndarray:
    """Preprocess with both programs and compare everything; gives the segmentation."""
    manager, plan = PlansManager(copy.deepcopy(document)), Plan.from_json(document)
    (name,) = document["configurations"]
    before = images.array.copy(), segmentation.array.copy()
    data, labels, properties = preprocess_case(
        images, segmentation, plan, plan.configuration(name), dataset_json
    )
    np.testing.assert_array_equal(images.array, before[0])
    np.testing.assert_array_equal(segmentation.array, before[1])
    expected, expected_labels, expected_properties = DefaultPreprocessor(verbose=False).run_case_npy(
        images.array.astype(np.float32),
        segmentation.array.astype(np.float32),
        copy.deepcopy(images.properties),
        manager,
        manager.get_configuration(name),
        dataset_json,
    )
    assert data.dtype == np.float32
    assert data.shape == expected.shape
    for channel, wanted in zip(data, expected, strict=True):
        np.testing.assert_allclose(channel, wanted, atol=1e-4 * (np.ptp(wanted) + 1e-6))
    assert labels is not None
    assert labels.dtype == expected_labels.dtype
    np.testing.assert_array_equal(labels, expected_labels)
    locations, expected_locations = (
        properties.pop("class_locations"),
        expected_properties.pop("class_locations"),
    )
    assert properties == expected_properties
    assert list(locations) == list(expected_locations)
    for key, wanted in expected_locations.items():
        np.testing.assert_array_equal(locations[key], wanted)
        assert type(locations[key]) is type(wanted)
    return labels


@pytest.mark.parametrize(
    ("name", "spacing", "normalization", "mask"),
    [
        ("Dataset004_Hippocampus", [1.0, 1.0, 1.0], ["ZScoreNormalization"], False),
        ("Dataset004_Hippocampus", [1.3, 0.8, 0.9], ["RescaleTo01Normalization"], False),
        ("Dataset004_Hippocampus", [0.7, 0.7], ["NoNormalization"], False),
        ("Dataset030_MSLesion", [2.2, 2.0, 2.0], ["ZScoreNormalization"] * 4, True),
        ("Dataset040_CTOrgans", [4.0, 3.5, 3.5], ["CTNormalization"], False),
        ("Dataset021_NucleiColor", [1.0, 1.0], ["RGBTo01Normalization"] * 3, False),
        ("Dataset021_NucleiColor", [1.5, 1.5], ["ZScoreNormalization"] * 3, False),
    ],
)
def test_real_cases_are_nnunets(
    shared_data: Callable[[str], Path], name: str, spacing: list[float], normalization: list[str], mask: bool
) -> None:
    dataset = load_dataset(shared_data(name))
    case = dataset.cases[0]
    assert case.label is not None
    images, segmentation = (
        read_images(case.images, dataset.reader),
        read_segmentation(case.label, dataset.reader),
    )
    compare(images, segmentation, plans_document(spacing, normalization, mask), dict(dataset.dataset_json))


def _middle(image: Image, most: int = 64) -> Image:
    """A part from the middle of a large 3D case: nnU-Net's resampling takes its time."""
    shape = image.array.shape[1:]
    if shape[0] == 1:
        return image
    part = tuple(slice(max(0, n // 2 - most // 2), n // 2 + most // 2) for n in shape)
    return replace(image, array=image.array[:, *part])


def made_up(
    seed: int, shape: tuple[int, ...], spacing: tuple[float, ...], largest: int = 3
) -> tuple[Image, Image]:
    """An ellipsoid of noise on zeros, with patches of labels, some of them outside it."""
    random = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    inside = sum((axis / 0.8) ** 2 for axis in axes) < 1
    array = (random.normal(300, 60, (2, *shape)) * inside).astype(np.float32)
    array[:, shape[0] // 2, shape[1] // 2, shape[2] // 2] = 0
    coarse = random.integers(0, largest + 1, [-(-n // 4) for n in shape])
    labels = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)[tuple(slice(n) for n in shape)]
    properties = {"spacing": list(spacing), "sitk_stuff": {"spacing": spacing[::-1]}}
    return Image(array, spacing, properties), Image(labels[None].astype(np.uint8), spacing, properties)


def about(labels: dict[str, Any], order: list[int] | None = None) -> dict[str, Any]:
    """A dataset.json."""
    regions = {"regions_class_order": order} if order else {}
    return {
        "labels": {"background": 0, **labels},
        "channel_names": {"0": "CT"},
        "file_ending": ".nii.gz",
        **regions,
    }


LABELS = about({"a": 1, "b": 2, "c": 3})
REGIONS = about({"whole": [1, 2, 3], "core": [3, 2], "rest": 1}, [1, 2, 3])
IGNORE = about({"a": 1, "b": 2, "ignore": 3})
REGIONS_IGNORE = about({"whole": [1, 2], "core": [2], "ignore": 3}, [1, 2])


@pytest.mark.parametrize("dataset_json", [LABELS, REGIONS, IGNORE, REGIONS_IGNORE])
@pytest.mark.parametrize(
    ("spacing", "target", "transpose"),
    [
        ((5.0, 0.8, 0.8), [5.0, 1.1, 1.0], (0, 1, 2)),  # slices apart, resampled within only
        ((5.0, 0.8, 0.8), [3.1, 0.9, 1.0], (0, 1, 2)),  # and across: more slices
        ((4.0, 1.0, 1.0), [6.0, 0.7, 1.0], (0, 1, 2)),  # fewer slices
        ((0.8, 5.0, 0.9), [5.0, 1.1, 0.9], (1, 0, 2)),  # the coarse axis comes first
        ((1.0, 1.0, 0.2), [1.3, 0.5, 0.4], (2, 0, 1)),  # two coarse axes: nothing is separate
        ((2.0, 0.9, 0.9), [0.7, 0.7], (0, 1, 2)),
    ],
)
def test_awkward_cases_are_nnunets(
    dataset_json: dict[str, Any], spacing: tuple[float, ...], target: list[float], transpose: tuple[int, ...]
) -> None:
    images, segmentation = made_up(len(target), (13, 26, 22), spacing)
    document = plans_document(target, ["ZScoreNormalization", "CTNormalization"], True, transpose)
    labels = compare(images, segmentation, document, dataset_json)
    assert labels.min() == -1


def test_labels_beyond_127_and_an_image_of_zeros() -> None:
    images, segmentation = made_up(3, (12, 14, 16), (1.0, 1.0, 1.0), largest=140)
    many = about({f"l{n}": n for n in range(1, 141)})
    document = plans_document([1.2, 0.9, 1.0], ["ZScoreNormalization"] * 2, True)
    assert compare(images, segmentation, document, many).dtype == np.int16
    zeros = Image(np.zeros_like(images.array), images.spacing, images.properties)
    document = plans_document([1.2, 0.9, 1.0], ["ZScoreNormalization"] * 2)
    compare(zeros, segmentation, document, many)


def test_without_a_segmentation_the_image_is_nnunets() -> None:
    images, _ = made_up(1, (12, 20, 20), (2.0, 1.0, 1.0))
    document = plans_document([1.5, 0.9, 1.0], ["ZScoreNormalization"] * 2, True)
    manager, plan = PlansManager(document), Plan.from_json(document)
    configuration = plan.configuration("3d_fullres")
    data, none, properties = preprocess_case(images, None, plan, configuration, LABELS)
    expected, _, expected_properties = DefaultPreprocessor(verbose=False).run_case_npy(
        images.array, None, dict(images.properties), manager, manager.get_configuration("3d_fullres"), LABELS
    )
    assert none is None
    assert properties == expected_properties
    np.testing.assert_allclose(data, expected, atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    images, segmentation = made_up(2, (12, 14, 16), (1.0, 1.0, 1.0))

    def run(document: dict[str, Any], labels: Image = segmentation) -> None:
        plan = Plan.from_json(document)
        preprocess_case(images, labels, plan, plan.configuration("3d_fullres"), LABELS)

    short = Image(segmentation.array[:, 1:], segmentation.spacing, segmentation.properties)
    with pytest.raises(DataError, match="shape"):
        run(plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"] * 2), short)
    with pytest.raises(DataError, match="2 channels"):
        run(plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"]))
    with pytest.raises(DataError, match="0 to 255"):
        run(plans_document([1.0, 1.0, 1.0], ["RGBTo01Normalization"] * 2))
    with pytest.raises(DataError, match="header"):
        run(plans_document([99.0, 1.0, 1.0], ["ZScoreNormalization"] * 2))
    with pytest.raises(PlanError, match="Mystery"):
        run(plans_document([1.0, 1.0, 1.0], ["MysteryNormalization"] * 2))
    with pytest.raises(PlanError, match="nnUNetv2_preprocess"):
        run(plans_document([1.0, 1.0, 1.0], ["NoNormalization"] * 2, preprocessor_name="OtherPreprocessor"))
    with pytest.raises(PlanError, match="resample_torch"):
        run(plans_document([1.0, 1.0, 1.0], ["NoNormalization"] * 2, resampling_fn_data="resample_torch"))


def test_the_recipe_changes_with_what_changes_the_result_only() -> None:
    labels = labels_from_json(LABELS)

    def recipe(document: dict[str, Any], mean: float = 80.0) -> str:
        document["foreground_intensity_properties_per_channel"]["0"]["mean"] = mean
        plan = Plan.from_json(document)
        return recipe_of(labels, plan, plan.configuration("3d_fullres"))

    z_score, ct = (
        plans_document([1.0, 1.0, 1.0], [scheme]) for scheme in ("ZScoreNormalization", "CTNormalization")
    )
    assert recipe(z_score) == recipe(plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"], batch_size=9))
    assert recipe(z_score) == recipe(z_score, mean=81.0)
    assert recipe(ct) != recipe(ct, mean=81.0)
    assert recipe(z_score) != recipe(ct)
    assert recipe(z_score) != recipe(plans_document([1.0, 1.1, 1.0], ["ZScoreNormalization"]))
    assert recipe(z_score) != recipe(plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"], mask=True))
    assert recipe(z_score) != recipe(
        plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"], transpose=(1, 0, 2))
    )
    others = labels_from_json(REGIONS)
    plan = Plan.from_json(plans_document([1.0, 1.0, 1.0], ["ZScoreNormalization"]))
    assert recipe(z_score) != recipe_of(others, plan, plan.configuration("3d_fullres"))
