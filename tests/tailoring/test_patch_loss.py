"""A smaller patch loses by how much of the image one structure takes, and by what it sees of the image."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.planner.budget import Shape
from autoseg.planner.learning import LEAST_STRUCTURES, patch_loss
from autoseg.tailoring.fit_to_resources import Fitting
from autoseg.tailoring.request import Request
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant

WHOLE = Shape(2, 8, 1.0)
HALF = dataclasses.replace(WHOLE, patch_share=0.5)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Fingerprint]:
    dataset = load_dataset(make_demo(tmp_path_factory.mktemp("raw"), cases=(5, 5))[0])
    return dataset, extract_fingerprint(dataset, workers=1)


def fitting(
    demo: tuple[Dataset, Fingerprint], extent: tuple[float, float] | None, slices: tuple[int, int]
) -> Fitting:
    """Slices of pixels of 1 mm, with a structure of that extent."""
    parts = None if extent is None else {"median_voxels": 400.0, "median": 400.0, "extent": [10.0, *extent]}
    structures = {} if parts is None else {"head": {"median": 400.0, "components": parts}}
    cases = len(demo[1].spacings)
    fingerprint = dataclasses.replace(
        demo[1],
        spacings=((10.0, 1.0, 1.0),) * cases,
        shapes_after_crop=((10, *slices),) * cases,
        class_sizes={"unit": "mm^3", "structures": structures},
    )
    request = Request(torch.device("cpu"), configuration="2d")
    return Fitting(Variant(demo[0], fingerprint, Choice("nnunet"), request), "2d", WHOLE)


def test_a_head_loses_more_than_a_heart_and_a_nucleus_not_nothing(demo: tuple[Dataset, Fingerprint]) -> None:
    head = fitting(demo, (128.0, 128.0), (256, 256))
    heart = fitting(demo, (64.0, 128.0), (256, 256))
    nucleus = fitting(demo, (16.0, 16.0), (256, 256))
    assert head.patch_loss(WHOLE) == nucleus.patch_loss(WHOLE) == 0.0
    assert head.patch_loss(HALF) == pytest.approx(2 * heart.patch_loss(HALF))
    assert nucleus.patch_loss(HALF) == pytest.approx(LEAST_STRUCTURES / 0.25 * head.patch_loss(HALF))
    seen = head.patch(HALF)[0] * head.patch(HALF)[1] / 256**2
    assert head.patch_loss(HALF) == pytest.approx(patch_loss(seen, 0.25))


def test_what_a_patch_has_beyond_the_image_does_not_count(demo: tuple[Dataset, Fingerprint]) -> None:
    """Of 132x132 pixels the planned patch is padded: half of its voxels see more than half of the image."""
    padded = fitting(demo, (66.0, 66.0), (132, 132))
    assert padded.patch(WHOLE)[0] > 132
    share = padded.patch(HALF)[0] * padded.patch(HALF)[1] / 132**2
    assert padded.patch_loss(HALF) == pytest.approx(patch_loss(share, 0.25))


def test_an_unknown_structure_is_a_usual_one(demo: tuple[Dataset, Fingerprint]) -> None:
    unknown = fitting(demo, None, (256, 256))
    seen = unknown.patch(HALF)[0] * unknown.patch(HALF)[1] / 256**2
    assert unknown.patch_loss(HALF) == pytest.approx(patch_loss(seen))
