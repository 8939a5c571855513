"""Published encoders: torchvision's and timm's files, 3D twins of them, and the download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from made_weights import changed, checkpoint, saved, seeded, weights
from network_facts import build
from torch import nn

from autoseg.architectures import parts_of
from autoseg.errors import AutosegError, RunError, UsageError
from autoseg.transfer import imagenet
from autoseg.transfer.imagenet import PublishedFile, encoder_of, fetch, published_file
from autoseg.transfer.initialisation import LoadReport, initialise
from autoseg.transfer.weight_fitting import flatten, inflate


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
