"""Checkpoints with missing or odd entries are refused with the entry and its value."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autoseg.errors import RunError
from autoseg.inference import load_model
from autoseg.inference.trained import fill, read_trained
from autoseg.planner.plan import Plan
from autoseg.system.files import read_json

ARCHIVE = Path(__file__).parents[1] / "pipeline" / "walked_workspace.tar.xz"
RUN = "walked/results/Dataset905_Discs/nnunet__autosegPlans_2b8bb0bb__2d"
Content = dict[str, Any]


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    root = tmp_path_factory.mktemp("model")
    with tarfile.open(ARCHIVE) as archive:
        members = [each for each in archive.getmembers() if each.name.startswith(RUN)]
        archive.extractall(root, members, filter="data")
    return root / RUN


@pytest.fixture
def content(trained_model: Path) -> Content:
    """What its checkpoint holds."""
    found: Content = torch.load(trained_model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    return found


def plan_of(model: Path) -> Plan:
    return Plan.from_json(read_json(model / "plans.json"))


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("network_weights", None, "has no network_weights"),
        ("network_weights", {1: 2}, "network_weights '1'; expected names of weights"),
        ("trainer_name", None, "trainer_name 'None'; expected the name of a trainer"),
        ("trainer_name", "../../x", "expected the name of a trainer"),
        ("trainer_name", ["nnunet"], "expected the name of a trainer"),
        ("init_args", None, "init_args.configuration 'None'; expected one of the plan's: 2d"),
        ("init_args", [1], "expected one of the plan's"),
        ("init_args", {"configuration": "3d_cascade"}, "'3d_cascade'"),
        ("inference_allowed_mirroring_axes", 1, "expected None, or axes from 0 to 1"),
        ("inference_allowed_mirroring_axes", (7,), "expected None, or axes from 0 to 1"),
        ("inference_allowed_mirroring_axes", "ab", "expected None, or axes from 0 to 1"),
    ],
)
def test_an_odd_entry_is_told_with_its_value(
    trained_model: Path, content: Content, tmp_path: Path, entry: str, value: Any, words: str
) -> None:
    path = tmp_path / "checkpoint_final.pth"
    torch.save({**content, entry: value}, path)
    with pytest.raises(RunError, match=words.replace(".", r"\.")):
        read_trained(path, plan_of(trained_model))


def _changed(make: Callable[[torch.Tensor], Any]) -> Callable[[Content], None]:
    def change(weights: Content) -> None:
        name = next(iter(weights))
        weights[name] = make(weights[name])

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: weights.pop(next(iter(weights))), "it lacks"),
        (
            lambda weights: weights.update({"more.weight": torch.zeros(3)}),
            "'more.weight' is not in the network",
        ),
        (_changed(lambda tensor: tensor[:1]), "the network has"),
        (_changed(lambda tensor: tensor.long()), "of int64, the network has"),
        (_changed(lambda tensor: tensor.to(torch.complex64)), "of complex64, the network has"),
        (_changed(lambda tensor: torch.zeros(1).expand(10**12)), "1000000000000 of float32"),
        (_changed(lambda tensor: tensor.tolist()), "is a list, the network has"),
        (_changed(lambda tensor: tensor.to_sparse()), "does not fit"),
        (_changed(lambda tensor: torch.full_like(tensor, float("nan"))), "not finite, the first in"),
        (_changed(lambda tensor: torch.full_like(tensor, float("inf"))), "not finite, the first in"),
    ],
)
def test_weights_of_another_network_are_told(
    trained_model: Path, content: Content, change: Callable[[Content], Any], words: str
) -> None:
    model = load_model(trained_model, device="cpu", as_trained=True)
    trained = read_trained(trained_model / "fold_0" / "checkpoint_final.pth", plan_of(trained_model))
    fill(model.networks[0], trained)
    change(trained.weights)  # type: ignore[arg-type]  # a dictionary
    with pytest.raises(RunError, match=words):
        fill(model.networks[0], trained)


@pytest.mark.parametrize("damaged", [b"", b"no checkpoint", b"\x80\x04.", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_told_with_a_remedy(
    trained_model: Path, tmp_path: Path, damaged: bytes
) -> None:
    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(damaged)
    with pytest.raises(RunError, match=r"Restore it from its source|Give a file that a training wrote"):
        read_trained(path, plan_of(trained_model))


def test_a_trainer_that_nobody_has_is_told(trained_model: Path, content: Content, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    for name in ("plans.json", "dataset.json"):
        (folder / name).write_bytes((trained_model / name).read_bytes())
    torch.save(
        {**content, "trainer_name": "nnUNetTrainerOfNobody"}, folder / "fold_0" / "checkpoint_final.pth"
    )
    with pytest.raises(RunError, match="nnUNetTrainerOfNobody"):
        load_model(folder, device="cpu")
