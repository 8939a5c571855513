"""Weights from elsewhere: what is taken, what is adapted, what stays random, and what is refused."""

from __future__ import annotations

import hashlib
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_facts import build, parameters, topology
from torch import Tensor, nn

from autoseg.architectures import build_network, parts_of
from autoseg.errors import AutosegError, RunError, UsageError
from autoseg.transfer import imagenet
from autoseg.transfer.imagenet import PublishedFile, encoder_of, fetch, published_file
from autoseg.transfer.initialisation import Initialisation, LoadReport, initialise
from autoseg.transfer.policy import FineTunePolicy
from autoseg.transfer.weight_fitting import flatten, inflate, other_channels


def seeded(
    name: str, channels: int, classes: int, patch: Any = (32, 32), seed: int = 0, **options: Any
) -> Any:
    torch.manual_seed(seed)
    return build(name, channels, classes, patch, options.pop("stages", 4), **options).eval()


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def checkpoint(path: Path, network: nn.Module) -> Path:
    """As nnU-Net writes it, numpy numbers among its log included."""
    log = {"mean_fg_dice": [np.float64(0.5)], "epoch_start_timestamps": [np.float32(1.0)]}
    entries = {"logging": log, "_best_ema": np.float64(0.5), "current_epoch": 3, "trainer_name": "nnunet"}
    return saved(path, {"network_weights": network.state_dict(), **entries})


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.named_parameters()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}


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


def torchvision_file(path: Path, encoder: str) -> Path:
    import torchvision

    torch.manual_seed(5)
    model = getattr(torchvision.models, encoder)(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                nn.init.normal_(tensor)  # type: ignore[arg-type]
    return saved(path, model.state_dict())


ENCODERS = {
    "mobilenetv2_unet": ("mobilenet_v2", 156, 2_223_872, 2),
    "resnet50_unet": ("resnet50", 159, 23_508_032, 2),
    "resnet34_mlp": ("resnet34", 108, 21_284_672, 2),
    "unetplusplus": ("resnet34", 108, 21_284_672, 2),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_torchvisions_encoders_load_to_the_last_tensor(name: str, channels: int, tmp_path: Path) -> None:
    encoder, tensors, size, unused = ENCODERS[name]
    file = torchvision_file(tmp_path / f"{encoder}.pth", encoder)
    network = seeded(name, channels, 2)
    before = weights(network)
    report = initialise(network, file)
    part = set(parts_of(network)["encoder"])
    assert set(report.names) == part == changed(network, before)
    assert len(part) == tensors and len(report.unused) == unused
    first = next(name for name in parts_of(network)["encoder"])
    if channels == 3:
        assert report.loaded.parameters == size and len(report.adapted) == 0
        stored = torch.load(file, weights_only=True)
        assert torch.equal(network.get_parameter(first), stored[first.removeprefix("encoder.")])
    else:
        assert report.adapted.reasons == {first: "3 input channels to 1, summed"}
    assert report.random_parts == tuple(part for part in parts_of(network) if part != "encoder")
    statistics = [b for n, b in network.named_buffers() if n.startswith("encoder") and "running" in n]
    assert report.statistics == len(statistics)
    assert all(b.abs().max() > 0 for n, b in network.named_buffers() if "encoder" in n and "mean" in n)


def test_an_image_encoder_is_inflated_into_its_3d_twin(tmp_path: Path) -> None:
    network = seeded("mobilenetv2_unet", 1, 2, (32, 32, 32))
    report = initialise(network, torchvision_file(tmp_path / "m.pth", "mobilenet_v2"))
    assert set(report.names) == set(parts_of(network)["encoder"])
    how = report.adapted.reasons["encoder.features.0.0.weight"]
    assert how == "2D to 3D, the same where the third axis is constant; 3 input channels to 1, summed"


def test_an_inflated_kernel_answers_a_constant_axis_as_the_flat_one() -> None:
    kernel, image = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 8, 8)
    volume = image.unsqueeze(2).repeat(1, 1, 6, 1, 1)
    deep = nn.functional.conv3d(volume, inflate(kernel, 3))
    assert torch.allclose(deep[:, :, 1], nn.functional.conv2d(image, kernel), atol=1e-5)
    up = torch.randn(3, 2, 2, 2)
    deep = nn.functional.conv_transpose3d(volume, inflate(up, 2, transposed=True), stride=2)
    assert torch.allclose(deep[:, :, 3], nn.functional.conv_transpose2d(image, up, stride=2), atol=1e-5)
    assert torch.allclose(flatten(inflate(kernel, 3), 2).squeeze(2), kernel, atol=1e-6)
    assert torch.allclose(flatten(inflate(up, 2, True), 2, True).squeeze(2), up, atol=1e-6)


def test_a_3d_checkpoint_starts_a_2d_network(tmp_path: Path) -> None:
    source = seeded("nnunet", 1, 2, (32, 32, 32), width=4)
    target = seeded("nnunet", 1, 2, (32, 32), width=4, seed=1)
    report = initialise(target, checkpoint(tmp_path / "3d.pth", source))
    assert report.random.reasons == {}
    assert {why for why in report.adapted.reasons.values()} == {
        "3D to 2D, the same where the third axis is constant"
    }


@pytest.mark.parametrize(
    ("model", "name"), [("mobilenetv2_100", "mobilenetv2_unet"), ("resnet34", "resnet34_mlp")]
)
def test_timms_encoders_load_from_safetensors(model: str, name: str, tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(5)
    theirs = timm.create_model(model, pretrained=False).eval()
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    network = seeded(name, 3, 2)
    report = initialise(network, tmp_path / "model.safetensors")
    assert set(report.names) == set(parts_of(network)["encoder"])
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(network.encoder(x)[-1], theirs.forward_features(x), atol=1e-4)


def test_a_network_of_the_library_loads_whole(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp

    torch.manual_seed(3)
    theirs = smp.Unet("mobilenet_v2", encoder_weights=None, classes=1).eval()
    file = saved(
        tmp_path / "smp.pth", {"state_dict": {f"model.{k}": v for k, v in theirs.state_dict().items()}}
    )
    network = seeded("mobilenetv2_unet", 3, 1)
    report = initialise(network, file)
    x = torch.randn(1, 3, 64, 64)
    assert len(report.random) == 0
    assert torch.allclose(network(x), theirs(x), atol=1e-5)


def test_names_of_wrappers_are_taken_off_and_wrapped_networks_are_loaded(tmp_path: Path) -> None:
    source, target = (seeded("unet", 1, 2, width=4, seed=seed) for seed in (0, 1))
    names = {f"module._orig_mod.{name}": value for name, value in source.state_dict().items()}
    report = initialise(torch.compile(target), saved(tmp_path / "w.pt", names))  # type: ignore[arg-type]
    assert len(report.random) == 0
    assert not changed(target, weights(source))


def test_a_models_folder_means_its_final_checkpoint(tmp_path: Path) -> None:
    networks = [seeded("unet", 1, 2, width=4, seed=seed) for seed in range(3)]
    for fold, file, network in (
        ("fold_1", "checkpoint_final.pth", networks[1]),
        ("fold_0", "checkpoint_latest.pth", networks[0]),
        ("fold_all", "checkpoint_final.pth", networks[2]),
    ):
        (tmp_path / fold).mkdir()
        checkpoint(tmp_path / fold / file, network)
    for folder, expected in ((tmp_path, 2), (tmp_path / "fold_0", 0), (tmp_path / "fold_1", 1)):
        target = seeded("unet", 1, 2, width=4, seed=9)
        initialise(target, folder)
        assert not changed(target, weights(networks[expected]))
    with pytest.raises(RunError, match="no checkpoint"):
        (tmp_path / "empty").mkdir()
        initialise(target, tmp_path / "empty")


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("code from a file was run",))


def refused(path: Path, network: nn.Module, match: str) -> None:
    before = weights(network)
    with pytest.raises(RunError, match=match):
        initialise(network, path)
    assert not changed(network, before)


def test_what_cannot_be_loaded_is_refused_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = seeded("unet", 1, 2, width=4)
    other = seeded("brainunet", 1, 2, width=4)
    refused(tmp_path / "missing.pth", network, "no file of weights")
    refused(
        saved(tmp_path / "other.pth", other.state_dict()),
        network,
        "Nothing in .* encoder of UNet.*same architecture",
    )
    refused(saved(tmp_path / "wide.pth", seeded("unet", 1, 2, width=6).state_dict()), network, "Nothing in")
    refused(saved(tmp_path / "text.pth", {"a": "b"}), network, "holds no weights: its entries are a")
    refused(saved(tmp_path / "list.pth", [1, 2]), network, "holds a list")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 torn")
    refused(tmp_path / "torn.pth", network, "cannot be read")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    refused(tmp_path / "torn.safetensors", network, "cannot be read as safetensors")
    broken = seeded("unet", 1, 2, width=4, seed=2)
    broken.head.bias.data[0] = torch.nan
    refused(saved(tmp_path / "nan.pth", broken.state_dict()), network, "not finite, in head.bias")
    refused(saved(tmp_path / "evil.pth", {"network_weights": Evil()}), network, "cannot be read")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    refused(tmp_path / "evil.pt", network, "cannot be read")
    assert "code from a file was run" not in capsys.readouterr().out


def test_a_head_that_fits_can_be_replaced_all_the_same(tmp_path: Path) -> None:
    source, target = (seeded("unet", 1, 2, width=4, seed=seed) for seed in (0, 1))
    file = checkpoint(tmp_path / "same.pth", source)
    before, head = weights(target), set(parts_of(target)["head"])
    report = initialise(target, Initialisation(str(file), head="replace"))
    assert set(report.random.reasons) == head and report.random_parts == ("head",)
    assert changed(target, before).isdisjoint(head)
    with pytest.raises(UsageError, match="expected one of auto, replace"):
        Initialisation(head="keep")  # type: ignore[arg-type]


def test_the_report_is_one_line_and_json(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import json

    file = checkpoint(tmp_path / "four.pth", seeded("unet", 4, 3, width=4))
    target = seeded("unet", 1, 6, width=4)
    with caplog.at_level(logging.INFO, logger="autoseg"):
        report = initialise(target, file)
    (line,) = [
        record.message for record in caplog.records if record.name == "autoseg.transfer.initialisation"
    ]
    assert line == str(report)
    for part in ("four.pth", "tensors loaded", "4 input channels to 1, summed (1)", "left random", "head"):
        assert part in line
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["random"]["tensors"] == 2 and document["random_parts"] == ["head"]


def test_fine_tuning_hears_what_is_random(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = checkpoint(tmp_path / "three.pth", seeded("unet", 1, 3, width=4))
    target = seeded("unet", 1, 6, width=4)
    report = initialise(target, file)
    FineTunePolicy.named("d").apply(target, report.names)
    assert "random weights as they are in head." in caplog.text


@pytest.mark.parametrize(("name", "encoder"), [(name, row[0]) for name, row in ENCODERS.items()])
def test_the_encoder_of_a_network_is_recognised(name: str, encoder: str) -> None:
    with torch.device("meta"):
        network = build(name, 1, 2, (64, 64))
    assert encoder_of(network) == encoder
    file = published_file(encoder)
    assert file.url.startswith("https://download.pytorch.org/models/" + encoder)
    assert len(file.checksum) == 8 and file.checksum in file.path.name


def test_networks_without_imagenet_weights_say_so() -> None:
    with pytest.raises(UsageError, match=r"no ImageNet weights for UNet.*resnet34"):
        initialise(seeded("unet", 1, 2, width=4), "imagenet")


def published(folder: Path, encoder: str, offline: bool = False) -> PublishedFile:
    """A file made here as if it were the publisher's, its name with the beginning of its hash."""
    made = torchvision_file(folder / "made.pth", encoder)
    sha = hashlib.sha256(made.read_bytes()).hexdigest()
    named = made.rename(folder / f"{encoder}-{sha[:8]}.pth")
    if offline:
        named.unlink()
    return PublishedFile(named.as_uri(), folder / "hub" / "checkpoints")


def test_imagenet_weights_are_downloaded_checked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = published(tmp_path, "mobilenet_v2")
    monkeypatch.setattr(imagenet, "published_file", lambda encoder: file)
    network = seeded("mobilenetv2_unet", 1, 2)
    report: LoadReport = initialise(network, "imagenet")
    assert set(report.names) == set(parts_of(network)["encoder"])
    assert [each.name for each in file.folder.iterdir()] == [file.path.name]
    Path(file.url.removeprefix("file://")).unlink()
    initialise(network, "imagenet")  # a second time from disk
    file.path.write_bytes(b"torn")
    with pytest.raises(RunError, match="damaged: its SHA-256"):
        initialise(network, "imagenet")


def test_without_internet_the_file_and_its_place_are_named(tmp_path: Path) -> None:
    file = published(tmp_path, "resnet18", offline=True)
    with pytest.raises(RunError) as caught:
        fetch(file)
    for part in (file.url, file.checksum, str(file.path), "--init FILE", "could not be downloaded"):
        assert part in str(caught.value)
    assert list(file.folder.iterdir()) == []


def test_a_download_with_another_hash_is_refused(tmp_path: Path) -> None:
    made = torchvision_file(tmp_path / "resnet18-00000000.pth", "resnet18")
    file = PublishedFile(made.as_uri(), tmp_path / "hub")
    with pytest.raises(AutosegError, match="invalid hash value"):
        fetch(file)
    assert not file.path.exists()


def test_only_a_checkpoint_of_a_training_is_a_trained_model(tmp_path: Path) -> None:
    weights = {"encoder.weight": torch.ones(2)}
    for name, content in (
        ("trained", {"network_weights": weights, "trainer_name": "nnunet"}),
        ("without_labels", {"network_weights": weights, "pretraining": {}}),
        ("bare", weights),
    ):
        torch.save(content, tmp_path / f"{name}.pth")
    found = {path.stem: Initialisation(str(path)).is_trained_model for path in tmp_path.glob("*.pth")}
    assert found == {"trained": True, "without_labels": False, "bare": False}
    assert not Initialisation("imagenet").is_trained_model
    assert not Initialisation().is_trained_model
