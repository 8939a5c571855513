"""Weights from elsewhere: what is taken, what is adapted, what stays random, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from made_weights import changed, checkpoint, seeded, weights
from network_facts import parameters, topology

from autoseg.architectures import build_network, parts_of
from autoseg.errors import RunError
from autoseg.transfer.initialisation import Initialisation, initialise
from autoseg.transfer.weight_fitting import other_channels


def test_a_checkpoint_of_the_same_network_gives_the_same_function(tmp_path: Path) -> None:
    source, target = (seeded("nnunet", 1, 3, width=4, seed=seed) for seed in (0, 1))
    report = initialise(target, checkpoint(tmp_path / "checkpoint_final.pth", source))
    x = torch.randn(1, 1, 32, 32)
    assert torch.equal(source(x), target(x))
    assert (len(report.adapted), len(report.random), report.unused) == (0, 0, ())
    assert len(report.loaded) == len(list(target.parameters()))
    assert report.loaded.parameters == parameters(target)
    assert report.sha256 == hashlib.sha256((tmp_path / "checkpoint_final.pth").read_bytes()).hexdigest()


def test_random_is_what_is_there_already() -> None:
    network = seeded("unet", 1, 2, width=4)
    before = weights(network)
    report = initialise(network, "random")
    assert not changed(network, before)
    assert report.random.parameters == parameters(network)
    assert report.names == ()


@pytest.mark.parametrize("name", ["nnunet", "nnunet_resenc", "brainunet", "unet", "deepmrseg", "mednext"])
@pytest.mark.parametrize("axes", [2, 3])
def test_four_channels_and_three_classes_become_one_and_six(name: str, axes: int, tmp_path: Path) -> None:
    width, patch = {"deepmrseg": 8}.get(name, 4), (32, 32, 32)[:axes]
    source = seeded(name, 4, 3, patch, width=width)
    target = seeded(name, 1, 6, patch, seed=1, width=width)
    before, head = weights(target), set(parts_of(target)["head"])
    report = initialise(target, checkpoint(tmp_path / "four.pth", source))
    there, here = weights(source), weights(target)
    assert set(report.random.reasons) <= head and report.random_parts == ("head",)
    assert all("3 outputs in the file, 6 here" in why for why in report.random.reasons.values())
    assert report.adapted.reasons and set(report.adapted.reasons.values()) == {
        "4 input channels to 1, summed"
    }
    assert changed(target, before).isdisjoint(head)
    for key in report.loaded.reasons:
        assert torch.equal(here[key], there[key])
    for key in report.adapted.reasons:
        assert torch.allclose(here[key], there[key].sum(1, keepdim=True))
    total = sum(each.parameters for each in (report.loaded, report.adapted, report.random))
    assert total == parameters(target)
    assert report.unused == ()


def test_a_grey_image_is_answered_as_before(tmp_path: Path) -> None:
    source = seeded("unet", 3, 2, width=4)
    file = checkpoint(tmp_path / "rgb.pth", source)
    grey = torch.randn(1, 1, 32, 32)
    expected = source(grey.expand(-1, 3, -1, -1))
    for channels, rule in ((1, "auto"), (1, "sum"), (5, "auto"), (5, "sum"), (2, "cycle")):
        target = seeded("unet", channels, 2, seed=1, width=4)
        initialise(target, Initialisation(str(file), channels=rule))  # type: ignore[arg-type]
        answer = target(grey.expand(-1, channels, -1, -1))
        # With cycle, 2 of 3 channels do not weigh alike.
        assert torch.allclose(answer, expected, atol=1e-4) == (
            (channels, rule) not in ((2, "cycle"), (5, "auto"))
        )


def test_rules_for_other_channels() -> None:
    value = torch.tensor([[1.0, 2.0, 6.0]])[:, :, None, None]
    assert other_channels(value, 1).flatten().tolist() == [9]
    assert other_channels(value, 1, "mean").flatten().tolist() == [3]
    assert other_channels(value, 2, "sum").flatten().tolist() == [4.5, 4.5]
    assert other_channels(value, 2, "mean").flatten().tolist() == [3, 3]
    assert other_channels(value, 4).flatten().tolist() == pytest.approx([0.75, 1.5, 4.5, 0.75])
    assert other_channels(value, 6, "cycle").sum() == pytest.approx(9)


def test_two_channels_are_adapted_as_the_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import segmentation_models_pytorch as smp

    for channels in (1, 2, 4):
        torch.manual_seed(0)
        encoder = smp.encoders.get_encoder("resnet18", weights=None)
        kernel = encoder.conv1.weight.detach().clone()
        encoder.set_in_channels(channels, pretrained=True)
        assert torch.allclose(encoder.conv1.weight, other_channels(kernel, channels), atol=1e-6)


def test_what_does_not_fit_another_topology_is_listed(tmp_path: Path) -> None:
    source = seeded("nnunet", 1, 2, (32, 32, 32), stages=4, width=4)
    target = seeded("nnunet", 1, 2, (32, 32, 32), stages=3, width=4, seed=1)
    there, before = weights(source), weights(target)
    report = initialise(target, checkpoint(tmp_path / "deep.pth", source))
    # The three highest resolutions are the same, and nnU-Net counts its decoder from the bottleneck.
    assert len(report.adapted) == 0 and report.random.reasons == {}
    here = weights(target)
    assert changed(target, before) >= {name for name, value in here.items() if value.ndim > 1}
    for ours, theirs in ((0, 1), (1, 2)):
        for each in ("stages.{}.convs.0.conv.weight", "transpconvs.{}.weight", "seg_layers.{}.bias"):
            name = f"decoder.{each}"
            assert torch.equal(here[name.format(ours)], there[name.format(theirs)])
    assert all(name.startswith(("encoder.stages.3", "decoder.")) for name in report.unused)
    assert any(name.startswith("encoder.stages.3") for name in report.unused)
    deeper = seeded("nnunet", 1, 2, (32, 32, 32), stages=5, width=4, seed=1)
    report = initialise(deeper, tmp_path / "deep.pth")
    assert all(".4." in name or "decoder" in name for name in report.random.reasons)
    assert "encoder.stages.4.0.convs.0.conv.weight" in report.random.reasons
    assert "decoder.stages.0.convs.0.conv.weight" in report.random.reasons
    assert "decoder.stages.3.convs.0.conv.weight" in report.loaded.reasons


def test_another_width_is_not_the_same_network(tmp_path: Path) -> None:
    target = seeded("nnunet", 1, 2, width=4)
    before = weights(target)
    with pytest.raises(RunError, match="same architecture and width"):
        initialise(target, checkpoint(tmp_path / "wide.pth", seeded("nnunet", 1, 2, width=8)))
    assert not changed(target, before)


def anisotropic(seed: int, strides: Any, patch: Any) -> Any:
    torch.manual_seed(seed)
    return build_network("nnunet", 1, 2, topology(patch, strides=strides), width=4).eval()


FLAT = [(1, 1, 1), (1, 2, 2), (2, 2, 2)]


DEEP = [(1, 1, 1), (2, 2, 2), (2, 2, 2)]


def test_flat_kernels_are_padded_and_compute_the_same(tmp_path: Path) -> None:
    source, target = anisotropic(0, FLAT, (16, 32, 32)), anisotropic(1, DEEP, (32, 32, 32))
    first = "encoder.stages.0.0.convs.0.conv.weight"
    report = initialise(target, checkpoint(tmp_path / "flat.pth", source))
    assert report.adapted.reasons[first] == "kernel 1x3x3 to 3x3x3, zeros around it"
    assert torch.equal(target.get_parameter(first)[:, :, 1:2], source.get_parameter(first))
    assert target.get_parameter(first)[:, :, ::2].abs().max() == 0
    # A transposed convolution whose kernel is its stride is another function with another stride.
    assert "shape" in report.random.reasons["decoder.transpconvs.1.weight"]
    assert report.random.reasons["decoder.transpconvs.1.bias"] == "its weights are random"


def test_deep_kernels_are_flattened_and_see_a_constant_axis_as_before(tmp_path: Path) -> None:
    source, target = anisotropic(0, DEEP, (32, 32, 32)), anisotropic(1, FLAT, (16, 32, 32))
    report = initialise(target, checkpoint(tmp_path / "deep.pth", source))
    assert report.random.reasons == {}
    plane = torch.randn(1, 1, 1, 32, 32)
    volume = plane.expand(-1, -1, 8, -1, -1)
    deep, flat = (network.encoder.stages[0][0].convs[0].conv(volume) for network in (source, target))
    assert torch.allclose(deep[:, :, 4], flat[:, :, 4], atol=1e-5)
    # The neighbours of the ends are zeros.
    assert not torch.allclose(deep[:, :, 0], flat[:, :, 0], atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_mednext_grows_its_kernels(axes: int, tmp_path: Path) -> None:
    patch = (32, 32, 32)[:axes]
    source = seeded("mednext", 1, 2, patch, width=4, kernel=3)
    file = checkpoint(tmp_path / "k3.pth", source)
    x = torch.randn(1, 1, *patch)
    for kernels, same in (("zero", True), ("trilinear", False)):
        target = seeded("mednext", 1, 2, patch, seed=1, width=4, kernel=5)
        report = initialise(target, Initialisation(str(file), kernels=kernels))  # type: ignore[arg-type]
        size = ("3x3x3", "5x5x5") if axes == 3 else ("3x3", "5x5")
        assert set(report.adapted.reasons.values()) == {f"kernel {size[0]} to {size[1]}, {kernels}"}
        assert all("depthwise" in name for name in report.adapted.reasons)
        assert len(report.random) == 0
        assert torch.allclose(target(x), source(x), atol=1e-4) == same


def test_upkern_is_that_of_the_architecture(tmp_path: Path) -> None:
    from autoseg.architectures.mednext import upkern

    source = seeded("mednext", 1, 2, width=4, kernel=3)
    ours, theirs = (seeded("mednext", 1, 2, seed=1, width=4, kernel=5) for _ in range(2))
    initialise(ours, checkpoint(tmp_path / "k3.pth", source))
    upkern(source.state_dict(), theirs)
    assert not changed(ours, weights(theirs))
