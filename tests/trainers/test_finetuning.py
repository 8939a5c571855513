"""The hooks through which a plan's settings reach a training: first weights, freezing, few cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from network_facts import build
from torch import nn

from autoseg.architectures import parts_of
from autoseg.planner.training_spec import TrainingSpec
from autoseg.training.fine_tuning import FineTuning


class Base:
    """What nnU-Net's trainer brings."""

    def do_split(self) -> tuple[list[str], list[str]]:
        return [f"case_{n}" for n in range(10)], ["case_10"]


class Tuned(FineTuning, Base):
    """A training that consists of hooks alone."""

    def __init__(self, folder: Path, training: dict[str, Any], network: nn.Module) -> None:
        self.learning_rate = 0.1
        self.output_folder = str(folder)
        self.network = network
        self.lines: list[str] = []
        self.read_finetuning(TrainingSpec.from_json(training))

    def _bare_network(self) -> nn.Module:
        return self.network

    def _groups(self) -> dict[str, str]:
        return {f"case_{n}": f"exam_{n // 2}" for n in range(11)}

    def print_to_log_file(self, *args: Any) -> None:
        self.lines.append(" ".join(args))


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build("mobilenetv2_unet", 1, 2, (32, 32))


def test_without_settings_everything_is_as_it_was(tmp_path: Path) -> None:
    tuned = Tuned(tmp_path, {}, network())
    parameters = tuned.optimised(tuned.learning_rate)
    assert all(a is b for a, b in zip(parameters, tuned.network.parameters(), strict=True))
    tuned.optimizer = torch.optim.SGD(parameters, 0.1)
    tuned.spread_learning_rate(0.05, 0.5)
    assert [group["lr"] for group in tuned.optimizer.param_groups] == [0.05]
    assert tuned.do_split() == Base().do_split()
    assert tuned.learning_rate == 0.1


def test_weights_are_loaded_once_and_at_a_lower_rate(tmp_path: Path) -> None:
    source = network()
    torch.save({"network_weights": source.state_dict()}, tmp_path / "source.pth")
    settings: dict[str, Any] = {"init": {"source": str(tmp_path / "source.pth")}, "finetune": "ft_decoder"}
    assert Tuned(tmp_path, settings, network(1)).learning_rate == 0.1, "nobody says that it was trained"
    settings["init_is_trained_model"] = True
    tuned = Tuned(tmp_path, settings, network(1))
    assert tuned.learning_rate == pytest.approx(0.01)
    groups = tuned.optimised(tuned.learning_rate)
    assert [group["name"] for group in groups] == [
        "decoder1",
        "decoder2",
        "decoder3",
        "decoder4",
        "decoder5",
        "head",
    ]
    assert tuned.load_report is not None and not tuned.load_report.random.reasons
    assert all(
        torch.equal(a, b) for a, b in zip(source.parameters(), tuned.network.parameters(), strict=True)
    )
    own_rate = Tuned(tmp_path, {**settings, "hyperparameters": {"learning_rate": 0.1}}, network(1))
    assert own_rate.learning_rate == 0.1
    # A training that is gone on with has its weights already, and the source may be gone.
    (tmp_path / "checkpoint_latest.pth").touch()
    (tmp_path / "source.pth").unlink()
    resumed = Tuned(tmp_path, settings, network(1))
    assert len(resumed.optimised(0.01)) == 6 and resumed.load_report is None


def test_parts_open_and_frozen_norms_stay_after_every_return_to_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = Tuned(tmp_path, {"finetune": "gradual:frozen_norm=eval:encoder_rate=0.5"}, network())
    tuned.optimizer = torch.optim.SGD(tuned.optimised(0.1), 0.1)
    parts = parts_of(tuned.network)

    def trained(progress: float) -> set[str]:
        tuned.network.train()
        tuned.spread_learning_rate(0.1, progress)
        named = dict(tuned.network.named_parameters())
        return {part for part, names in parts.items() if named[names[0]].requires_grad}

    def following() -> int:
        return sum(m.training for m in tuned.network.modules() if isinstance(m, nn.BatchNorm2d))

    assert trained(0.0) == {"head"} and following() == 0
    assert trained(0.1) == {"head", "decoder5"} and following() == 2
    tuned.network.train()
    tuned.spread_learning_rate(0.1, 0.1)
    assert following() == 2
    assert trained(0.9) == set(parts) and following() == 62
    rates = {group["name"]: group["lr"] for group in tuned.optimizer.param_groups}
    assert rates["encoder"] == pytest.approx(0.05) and rates["head"] == pytest.approx(0.1)
    monkeypatch.setattr(type(tuned.policy), "follow", lambda *_: pytest.fail("nothing has opened since"))
    tuned.spread_learning_rate(0.1, 0.95)


def test_few_cases_are_whole_groups_of_the_training_side(tmp_path: Path) -> None:
    tuned = Tuned(tmp_path, {"cases": {"size": 0.4, "seed": 3}}, network())
    training, validation = tuned.do_split()
    assert validation == ["case_10"] and len(training) == 4
    assert len({tuned._groups()[case] for case in training}) == 2
    assert tuned.lines == [f"4 of 10 training cases: {', '.join(training)}"]
    assert Tuned(tmp_path, {"cases": {"size": 0.4, "seed": 3}}, network()).do_split()[0] == training
