"""An outline that lies elsewhere in the image than the others is found, whatever its Dice."""

from __future__ import annotations

import numpy as np
import pytest
from held_out_cases import held_out
from scipy import ndimage

from autoseg.trust.doubt import WORTH_A_LOOK, doubts_of
from autoseg.trust.outline import FEWEST, LAYERS, oddness, outlines_of

STRUCTURES = {"organ": (1,), "lesion": (2,)}


def disc(radius: float, seed: int, flat: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A bright ring around a structure in noise, and the label that ends at the ring's middle."""
    random = np.random.default_rng(seed)
    shape = (1, 48, 48) if flat else (16, 24, 24)
    middle = np.array([length / 2 for length in shape])
    along = np.indices(shape) - middle[:, None, None, None]
    away = np.sqrt((along[0 if not flat else 1 :] ** 2).sum(axis=0))
    image = np.exp(-0.5 * ((away - radius) / 1.5) ** 2) + 0.1 * random.normal(size=shape) + 1
    return image[None].astype(np.float32), (away < radius).astype(np.uint8)


@pytest.mark.parametrize("flat", [True, False])
def test_the_layers_go_from_outside_to_inside(flat: bool) -> None:
    image, label = disc(8.0 if not flat else 12.0, 0, flat)
    found = outlines_of(np.where(label, 2.0, 1.0)[None], label, (1.0, 1.0, 1.0), STRUCTURES)
    assert set(found) == {"organ"} and len(found["organ"]) == 2 * LAYERS
    outside, inside = found["organ"][:LAYERS], found["organ"][LAYERS:]
    assert len(set(outside)) == 1 and len(set(inside)) == 1 and outside[0] < inside[0]
    # The ring is brightest at the outline.
    profile = outlines_of(image, label, (1.0, 1.0, 1.0), STRUCTURES)["organ"]
    assert int(np.argmax(profile)) in (LAYERS - 1, LAYERS)


def test_a_structure_thinner_than_the_layers_and_at_the_border_has_an_outline_too() -> None:
    label = np.zeros((1, 12, 12), np.uint8)
    label[0, 0, :3] = 1
    image = np.random.default_rng(0).normal(size=(2, 1, 12, 12))
    found = outlines_of(image, label, (1.0, 1.0, 1.0), STRUCTURES)["organ"]
    assert len(found) == 2 * 2 * LAYERS and np.isfinite(found).all()
    assert outlines_of(image, np.ones_like(label), (1.0, 1.0, 1.0), STRUCTURES) == {}


def profiles_with(wrong: dict[int, np.ndarray]) -> list[list[float]]:
    found = []
    for index in range(40):
        image, label = disc(10 + index % 5, index)
        found.append(outlines_of(image, wrong.get(index, label), (1.0, 1.0, 1.0), STRUCTURES)["organ"])
    return found


def test_a_label_that_is_two_pixels_too_small_is_farther_out_than_all_others() -> None:
    cross = ndimage.generate_binary_structure(2, 1)
    wrong = {}
    for index in (3, 17):
        _, label = disc(10 + index % 5, index)
        wrong[index] = ndimage.binary_erosion(label[0], cross, 2)[None].astype(np.uint8)
    found = oddness(profiles_with(wrong))
    assert set(np.argsort(-found)[:2].tolist()) == {3, 17}
    assert found[[3, 17]].min() > WORTH_A_LOOK


def test_few_outlines_and_none_say_nothing() -> None:
    assert not oddness([[0.0] * 4] * (FEWEST - 1)).any()
    found = oddness([None, *([1.0 + index / 100] * 4 for index in range(FEWEST))])
    assert found[0] == 0 and np.isfinite(found).all()
    assert np.isfinite(oddness([[1.0] * 4] * FEWEST)).all()


def test_a_reference_is_doubted_for_its_outline_alone_where_the_model_is_no_sharper() -> None:
    from dataclasses import replace

    cross = ndimage.generate_binary_structure(2, 1)
    _, label = disc(10 + 7 % 5, 7)
    outlines = profiles_with({7: ndimage.binary_erosion(label[0], cross, 2)[None].astype(np.uint8)})
    # The model's outlines are half a millimetre off: of voxels of that size one, of those of 1 mm a half.
    found = {}
    for step in (0.5, 1.0):
        cases = [
            replace(each, outlines={"organ": outline}, inputs={"spacing z": float(np.log(step))})
            for each, outline in zip(held_out(40), outlines, strict=True)
        ]
        (found[step],) = [each for each in doubts_of(cases, ["organ"]) if each.case == "case_7"]
    doubt = found[0.5]
    assert doubt.score > WORTH_A_LOOK > found[1.0].score
    assert "the image along its outline is unlike that of other labels" in doubt.reason
    assert "outline" not in found[1.0].reason
    plain = {each.case: each for each in doubts_of(held_out(40), ["organ"])}
    assert "outline" not in plain["case_7"].reason and plain["case_7"].score < doubt.score
