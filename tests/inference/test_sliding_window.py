"""Sliding window: nnU-Net's tiles, weights and logits, in any batches."""

from __future__ import annotations

import itertools
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoseg.bundle.tiles import importance, mirrorings, tile_starts, tiles
from autoseg.errors import RunError, UsageError
from autoseg.inference.sliding_window import pad_to_patch, predict_logits, predict_slabs


class Small(nn.Module):
    """A network whose answer depends on where in a tile a voxel is, as a real one's does at the rim."""

    def __init__(self, dimensions: int, channels: int = 2, heads: int = 3) -> None:
        super().__init__()
        conv = nn.Conv2d if dimensions == 2 else nn.Conv3d
        norm = nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            conv(channels, 6, 3, padding=1), norm(6), nn.LeakyReLU(), conv(6, heads, 3, padding=1)
        )
        self.inputs: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(tuple(x.shape))
        return self.layers(x)


def stock_logits(network, image, patch_size, step_size, mirror_axes, gaussian, monkeypatch=None):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        step_size, gaussian, bool(mirror_axes), device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=list(patch_size))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=3)
    predictor.allowed_mirroring_axes = mirror_axes or None
    if monkeypatch is not None:
        # The sums over tiles in single instead of half precision; nothing else there reads torch.half.
        monkeypatch.setattr(torch, "half", torch.float32)
    return predictor.predict_sliding_window_return_logits(image)


CASES = [
    ((9, 20, 23), (8, 12, 10), (0, 1, 2)),
    ((6, 20, 9), (8, 12, 10), (1,)),
    ((5, 30, 21), (16, 12), (0, 1)),
    ((3, 10, 11), (16, 12), ()),
]


@pytest.mark.parametrize(("shape", "patch_size", "mirror_axes"), CASES)
@pytest.mark.parametrize("step_size", [0.5, 0.7])
@pytest.mark.parametrize("gaussian", [True, False])
def test_logits_equal_nnunets(shape, patch_size, mirror_axes, step_size, gaussian, monkeypatch):
    network, image = Small(len(patch_size)).eval(), torch.randn(2, *shape)
    found = predict_logits(
        network, image, patch_size, step_size=step_size, mirror_axes=mirror_axes, gaussian=gaussian
    )
    expected = stock_logits(network, image, patch_size, step_size, mirror_axes, gaussian, monkeypatch)
    assert found.shape == (3, *shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_logits_equal_nnunets_own_half_precision_sums():
    """Away from the corners, where the weights are so small that nnU-Net's sums lose most digits."""
    network, image = Small(3).eval(), torch.randn(2, 9, 20, 23)
    expected = stock_logits(network, image, (8, 12, 10), 0.5, (0, 1, 2), True).float()
    found = predict_logits(network, image, (8, 12, 10), mirror_axes=(0, 1, 2))
    inner = (slice(None), slice(1, -1), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-2)
    corner = predict_logits(network, image, (8, 12, 10), mirror_axes=(0, 1, 2), result_dtype=torch.float16)
    torch.testing.assert_close(corner.float(), found, rtol=0, atol=1e-2)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 16, 100])
def test_batches_do_not_matter(batch_size):
    network, image = Small(3).eval(), torch.randn(2, 9, 20, 23)
    arguments = {"patch_size": (8, 12, 10), "mirror_axes": (0, 2)}
    expected = predict_logits(network, image, batch_size=1, **arguments)
    network.inputs.clear()
    found = predict_logits(network, image, batch_size=batch_size, **arguments)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    # Every tile once in each of four mirrorings, never more at once than asked for.
    assert sum(shape[0] for shape in network.inputs) == 4 * len(
        list(tiles(image.shape[1:], (8, 12, 10), 0.5))
    )
    assert max(shape[0] for shape in network.inputs) <= batch_size


SLABS = [
    ((41, 20, 13), (8, 12, 10), (0, 1, 2), None),
    ((41, 20, 13), (8, 12, 10), (), 7),  # batches that reach over several rows of tiles
    ((6, 20, 9), (8, 12, 10), (1,), None),  # a patch deeper than the image
    ((17, 30, 21), (16, 12), (0, 1), 4),
    ((17, 30, 21), (16, 12), (), None),
]


@pytest.mark.parametrize(("shape", "patch_size", "mirror_axes", "batch_size"), SLABS)
@pytest.mark.parametrize("slices", [1, 5, 12, 100])
@pytest.mark.parametrize("step_size", [0.5, 0.3, 1.0])
def test_slabs_are_parts_of_the_whole(shape, patch_size, mirror_axes, batch_size, slices, step_size):
    network, image = Small(len(patch_size)).eval(), torch.randn(2, *shape)
    options = {"mirror_axes": mirror_axes, "step_size": step_size, "batch_size": batch_size}
    whole = predict_logits(network, image, patch_size, **options)
    plane = 4 * 3 * max(shape[1], patch_size[-2]) * max(shape[2], patch_size[-1])
    found = []
    for slab in predict_slabs([network], image, patch_size, slab_bytes=slices * plane, **options):
        assert not torch.is_autocast_enabled("cpu")
        found.append(slab.clone())
        slab.fill_(torch.nan)  # whoever took it may do with it as they like
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=0, atol=1e-5)
    assert len(found) == 1 or slices < shape[0]
    if batch_size is None and len(patch_size) == 3 and shape[0] > 12:
        # Patches of 8 slices: no more are added up than were asked for or the overlap takes.
        assert len(found) >= shape[0] / max(slices, 16)


def test_the_logits_of_several_networks_are_averaged():
    torch.manual_seed(0)
    networks = [Small(3).eval() for _ in range(3)]
    for network in networks:
        nn.init.normal_(network.layers[3].weight)
    image = torch.randn(2, 9, 20, 23)
    (found,) = predict_slabs(networks, image, (8, 12, 10), mirror_axes=(1,))
    each = [predict_logits(network, image, (8, 12, 10), mirror_axes=(1,)) for network in networks]
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=0, atol=1e-5)
    assert not torch.allclose(found, each[0], atol=1e-2)


def test_a_device_that_is_full_hands_what_is_added_up_to_main_memory(monkeypatch, caplog):
    """What had been added up stays, and nothing is added twice."""
    network, image = Small(3).eval(), torch.randn(2, 9, 20, 23)
    options = {"patch_size": (8, 12, 10), "batch_size": 1}
    expected = predict_logits(network, image, **options)
    full, calls, forward = {3}, itertools.count(1), network.forward

    def full_at_times(x: Tensor) -> Tensor:
        if next(calls) in full:
            raise torch.cuda.OutOfMemoryError("full")
        return forward(x)

    monkeypatch.setattr(network, "forward", full_at_times)
    with caplog.at_level(logging.WARNING):
        found = predict_logits(network, image, **options)
    assert torch.equal(found, expected)
    assert "do not fit" in caplog.text
    full |= set(range(20, 200))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        predict_logits(network, image, **options)


def test_the_batch_fits_the_patch():
    network, image = Small(2).eval(), torch.randn(2, 40, 16, 16)
    predict_logits(network, image, (16, 16))
    assert len(network.inputs) == 1
    network.inputs.clear()
    predict_logits(network, torch.randn(2, 3, 512, 512), (512, 512))
    assert [shape[0] for shape in network.inputs] == [1, 1, 1]


def test_lower_precision_is_close():
    network, image = Small(3).eval(), torch.randn(2, 9, 20, 23)
    exact = predict_logits(network, image, (8, 12, 10))
    for options in ({"dtype": torch.bfloat16}, {"result_dtype": torch.float16}):
        found = predict_logits(network, image, (8, 12, 10), **options)
        assert 0 < float((found.float() - exact).abs().max()) < 0.1


def test_autocast_converts_the_weights_once():
    """Not once a tile, which costs more than a small tile itself."""
    network, conversions = Small(3).eval(), []
    for length in (10, 50):
        network.inputs.clear()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            image = torch.randn(2, 8, 12, length)
            predict_logits(network, image, (8, 12, 10), batch_size=1, dtype=torch.bfloat16)
        conversions.append(sum(e.count for e in profile.key_averages() if e.key == "aten::_to_copy"))
    assert len(network.inputs) == 9
    # Each of 8 further tiles converts data at its layers, but none of the four tensors of weights.
    assert conversions[1] - conversions[0] < 8 * 4


def test_the_first_of_several_outputs_counts():
    inner = Small(3).eval()

    class Deep(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [inner(x), torch.zeros(1)]

    image = torch.randn(2, 8, 12, 10)
    found = predict_logits(Deep(), image, (8, 12, 10), device=torch.device("cpu"))
    torch.testing.assert_close(found, predict_logits(inner, image, (8, 12, 10)))


def test_mirroring_an_equivariant_network_changes_nothing():
    class Pointwise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x, x**2], 1)

    image = torch.randn(1, 9, 13, 11)
    found = predict_logits(Pointwise(), image, (8, 8, 8), mirror_axes=(0, 1, 2), device=torch.device("cpu"))
    torch.testing.assert_close(found, torch.cat([image, image**2]), rtol=1e-4, atol=1e-4)


def test_the_image_stays_as_it_is():
    image = torch.randn(2, 9, 20, 23)
    before = image.clone()
    predict_logits(Small(3).eval(), image, (8, 12, 10), mirror_axes=(0,))
    assert torch.equal(image, before)


shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=3)


@settings(deadline=None, max_examples=200)
@given(sizes=shapes, step_size=st.floats(0.05, 1))
def test_every_voxel_is_covered_once_or_more(sizes, step_size):
    patch_size = [patch for patch, _ in sizes]
    shape = [patch + more for patch, more in sizes]
    for starts, patch, length in zip(
        tile_starts(shape, patch_size, step_size), patch_size, shape, strict=True
    ):
        assert starts[0] == 0 and starts[-1] == length - patch
        assert len(set(starts)) == len(starts)
        gaps = [b - a for a, b in itertools.pairwise(starts)]
        assert all(0 < gap <= max(1, np.ceil(patch * step_size)) for gap in gaps)


@settings(deadline=None, max_examples=200)
@given(sizes=shapes, step_size=st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_tiles_are_nnunets(sizes, step_size):
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    patch_size = [patch for patch, _ in sizes]
    shape = [patch + more for patch, more in sizes]
    stock = compute_steps_for_sliding_window(shape, patch_size, step_size)
    found = tile_starts(shape, patch_size, step_size)
    # nnU-Net visits a place twice where a step is shorter than a voxel; the places are the same.
    assert [list(starts) for starts in found] == [list(dict.fromkeys(starts)) for starts in stock]


@pytest.mark.parametrize("patch_size", [(40, 56, 40), (17, 9), (128, 96, 32)])
def test_importance_is_nnunets(patch_size):
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    stock = compute_gaussian(patch_size, value_scaling_factor=10, device=torch.device("cpu")).float()
    torch.testing.assert_close(torch.from_numpy(importance(patch_size)), stock, rtol=1e-3, atol=1e-7)
    assert importance(patch_size).min() > 0


def test_slices_are_tiles_of_a_2d_patch():
    found = list(tiles((3, 10, 12), (10, 8), 0.5))
    assert len(found) == 6 and found[2] == (1, slice(0, 10), slice(0, 8))


def test_mirrorings():
    assert mirrorings(()) == ((),)
    assert set(mirrorings((0, 2))) == {(), (2,), (4,), (2, 4)}


def test_padding_puts_the_odd_voxel_behind():
    padded, inner = pad_to_patch(torch.ones(1, 4, 5, 9), (7, 5, 8))
    assert padded.shape == (1, 7, 5, 9) and inner == (slice(1, 5), slice(0, 5), slice(0, 9))
    assert padded[0, 0].sum() == 0 and padded[(slice(None), *inner)].min() == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.zeros(5, 6, 7)}, r"expected \(c, z, y, x\)"),
        ({"patch_size": (8,)}, "expected 2 or 3 axes"),
        ({"step_size": 0.0}, "above 0"),
        ({"step_size": 1.5}, "at most 1"),
        ({"mirror_axes": (3,)}, r"choose among \(0, 1, 2\)"),
    ],
)
def test_what_cannot_work_is_refused(change, message):
    arguments = {"image": torch.zeros(2, 8, 8, 8), "patch_size": (8, 8, 8)} | change
    with pytest.raises(UsageError, match=message):
        predict_logits(Small(3), **arguments)


def test_a_network_gone_astray_is_an_error():
    network = Small(3).eval()
    nn.init.constant_(network.layers[3].bias, torch.nan)
    with pytest.raises(RunError, match="not finite"):
        predict_logits(network, torch.zeros(2, 8, 8, 8), (8, 8, 8))
