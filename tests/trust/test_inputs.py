"""Quantities of images: each shift of an input moves one far beyond what training cases do."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from autoseg.data.image import Image
from autoseg.trust.inputs import NOISE_SAMPLE, SAMPLE, is_constant, quantities_of
from autoseg.trust.spread import Spread, distances, spreads


def head(seed: int) -> Image:
    """A bright ball, off the middle, with fine structure, on a dark ground of zeros."""
    random = np.random.default_rng(seed)
    z, y, x = np.indices((24, 32, 36))
    inside = ((z - 10 - random.normal()) / 9) ** 2 + ((y - 14) / 11) ** 2 + ((x - 20) / 13) ** 2 < 1
    tissue = ndimage.gaussian_filter(random.normal(size=inside.shape), 1) * 300 + 1000 + 40 * random.normal()
    array = np.where(inside, tissue, 0)[None].astype(np.float32)
    return Image(array, (1.5, 1.0, 1.0), {"sitk_stuff": {}})


def changed(image: Image, change: Callable[[np.ndarray], np.ndarray], spacing: float = 1.0) -> Image:
    return Image(
        change(image.array).astype(np.float32),
        tuple(step * spacing for step in image.spacing),
        image.properties,
    )


SHIFTS = {
    "noise": lambda a: a + 400 * np.random.default_rng(0).normal(size=a.shape) * (a > 0),
    "inverted": lambda a: np.where(a > 0, a.max() - a, 0),
    "contrast": lambda a: a * 3,
    "mirrored": lambda a: a[..., ::-1],
    "rotated": lambda a: np.rot90(a, axes=(1, 3)),
    "cropped": lambda a: a[:, :12],
    "smoothed": lambda a: ndimage.gaussian_filter(a, (0, 2, 2, 2)),
    "bias": lambda a: a * np.linspace(0.2, 1.8, a.shape[3]),
    "saturated": lambda a: np.minimum(a, np.percentile(a[a > 0], 60)),
}


@pytest.fixture(scope="module")
def known() -> dict[str, Spread]:
    return spreads([quantities_of(head(seed), ["MR"]) for seed in range(30)])


def farthest(image: Image, known: dict[str, Spread]) -> float:
    return max(map(abs, distances(quantities_of(image, ["MR"]), known).values()))


def test_a_case_of_the_same_kind_is_near(known: dict[str, Spread]) -> None:
    assert np.median([farthest(head(seed), known) for seed in range(100, 120)]) < 4


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shifted_case_is_far(name: str, known: dict[str, Spread]) -> None:
    assert farthest(changed(head(200), SHIFTS[name]), known) > 5


def test_another_spacing_is_far_and_named(known: dict[str, Spread]) -> None:
    found = distances(quantities_of(changed(head(201), np.asarray, 2.0), ["MR"]), known)
    assert found["spacing z"] > 10
    assert found["extent x"] > 10


def test_large_images_are_sampled_and_give_nearly_the_same() -> None:
    small = head(5)
    large = Image(np.kron(small.array, np.ones((1, 3, 3, 3), np.float32)), small.spacing, small.properties)
    assert large.array.size > SAMPLE
    one, other = (quantities_of(each, ["MR"]) for each in (small, large))
    for name in ("MR: median intensity", "MR: zero", "MR: centre x"):
        assert other[name] == pytest.approx(one[name], abs=0.02)


def test_the_noise_of_a_large_picture_is_that_of_all_its_rows() -> None:
    picture = np.random.default_rng(2).normal(100, 5, (1, 1, 400, 500)).astype(np.float32)
    assert picture.size > 8 * NOISE_SAMPLE
    low, high = np.percentile(picture, [0.5, 99.5])
    second = np.abs(np.diff(picture, 2, axis=3))
    whole = float(np.log(np.median(second) / (high - low) + 1e-4))
    found = quantities_of(Image(picture, (999.0, 1.0, 1.0), {}), ["US"])
    assert found["US: noise"] == pytest.approx(whole, abs=0.05)


def test_pictures_have_two_axes_and_constant_images_do_not_break_anything() -> None:
    flat = Image(np.full((1, 1, 9, 9), 7.0, np.float32), (999.0, 1.0, 1.0), {})
    found = quantities_of(flat, ["US"])
    assert is_constant(flat.array[0])
    assert not any(name.endswith(" z") for name in found)
    assert np.isfinite(list(found.values())).all()
