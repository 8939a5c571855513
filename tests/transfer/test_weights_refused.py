"""What cannot be loaded is refused, and what was loaded is reported."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from made_weights import changed, checkpoint, saved, seeded, weights
from torch import nn

from autoseg.architectures import parts_of
from autoseg.errors import RunError, UsageError
from autoseg.transfer.initialisation import Initialisation, initialise
from autoseg.transfer.policy import FineTunePolicy


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
    assert "random weights untrained in head." in caplog.text


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
