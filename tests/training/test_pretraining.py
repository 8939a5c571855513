"""Training without labels: what is hidden, what is drawn, and what a network takes from it."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.errors import DataError, RunError, UsageError
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import preprocess_dataset, read_preprocessed
from autoseg.training.pretraining.masking import Masking, Patches, masked_loss
from autoseg.training.pretraining.unlabelled import images_of, preprocess_images


@given(
    st.floats(0.05, 0.95),
    st.integers(2, 8),
    st.lists(st.integers(4, 20), min_size=2, max_size=3),
    st.integers(0, 99),
)
def test_as_much_is_hidden_as_asked_for_in_whole_blocks(
    ratio: float, blocks: int, patch: list[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = Masking(ratio, blocks).hidden(3, patch, generator)
    assert hidden.shape == (3, 1, *patch) and hidden.dtype == torch.bool
    grid = [min(blocks, n) for n in patch]
    corners = hidden
    for axis, (n, parts) in enumerate(zip(patch, grid, strict=True), start=2):
        first = torch.tensor([next(i for i in range(n) if i * parts // n == part) for part in range(parts)])
        corners = corners.index_select(axis, first)
    number = corners.flatten(1).sum(1)
    assert (number == min(max(1, round(ratio * np.prod(grid))), np.prod(grid) - 1)).all()
    again = Masking(ratio, blocks).hidden(3, patch, torch.Generator().manual_seed(seed))
    assert torch.equal(hidden, again)
    # Every voxel of a block shares its block's fate.
    spread = corners
    for axis, (n, parts) in enumerate(zip(patch, grid, strict=True), start=2):
        spread = spread.index_select(axis, torch.arange(n) * parts // n)
    assert torch.equal(hidden, spread)


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"ratio": 1.0}, {"ratio": float("nan")}, {"blocks": 1}])
def test_masks_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Masking(**wrong)


def test_only_hidden_voxels_count() -> None:
    image, output = torch.zeros(1, 2, 4, 4), torch.full((1, 2, 4, 4), 5.0)
    counted = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    counted[..., 0, :2] = True
    output[..., 0, 0], output[..., 0, 1] = 1.0, 2.0
    assert masked_loss(output, image, counted).item() == pytest.approx(1.5)
    assert masked_loss(output, image, torch.zeros_like(counted)).item() == 0.0


def held(*arrays: Any) -> Any:
    """Cases in memory, each with its image."""
    images = {str(number): np.asarray(array, np.float32) for number, array in enumerate(arrays)}
    return SimpleNamespace(identifiers=list(images), load_case=lambda name: (images[name], None, None, {}))


def test_patches_are_cut_from_the_images_and_padded_where_they_are_smaller() -> None:
    image = np.arange(1, 2 * 6 * 9 * 3 + 1).reshape(2, 6, 9, 3)
    drawn, inside = Patches(held(image), (4, 9, 5), seed=1).draw(16)
    assert drawn.shape == (16, 2, 4, 9, 5) and inside.shape == (16, 1, 4, 9, 5)
    assert (inside[..., 1:4].all() and not inside[..., 0].any()) and not inside[..., 4].any()
    assert (drawn[:, :, ..., 0] == 0).all()
    assert set(drawn[:, 0][..., 1:4].unique().tolist()) <= set(image[0].ravel().tolist())
    assert len({tuple(each.flatten().tolist()) for each in drawn}) > 8  # places and mirror images
    again, _ = Patches(held(image), (4, 9, 5), seed=1).draw(16)
    assert torch.equal(drawn, again)


def test_slices_are_cut_for_a_network_in_2d() -> None:
    image = np.stack([np.full((8, 8), depth) for depth in range(5)])[None]
    drawn, _ = Patches(held(image), (8, 8), seed=0).draw(64)
    assert drawn.shape == (64, 1, 8, 8)
    assert {float(each.unique()) for each in drawn} == {0.0, 1.0, 2.0, 3.0, 4.0}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Any, Plan, Path]]:
    """Data set, plan and preprocessed folder of the demo's volumes and pictures, by dimension."""
    folder = tmp_path_factory.mktemp("demo")
    found = {}
    for axes, root in zip((3, 2), make_demo(folder, cases=(3, 4)), strict=True):
        dataset = load_dataset(root)
        plan = plan_experiment(dataset, extract_fingerprint(dataset, workers=1))
        name = "3d_fullres" if axes == 3 else "2d"
        place = folder / f"{axes}d"
        preprocess_dataset(dataset, plan, plan.configuration(name), place, workers=1)
        found[axes] = dataset, plan, place
    return found


def small(plan: Plan, name: str, trainer: str) -> Plan:
    """The plan with a small patch, batch and network of a trainer."""
    import dataclasses

    from network_facts import topology

    from autoseg.architectures import class_path, network_kwargs, requires_import
    from autoseg.planner.plan import ArchitectureSpec

    patch = (16, 32, 32) if name == "3d_fullres" else (64, 64)
    options = {"resnet34_mlp": {}, "mobilenetv2_unet": {}}.get(trainer, {"width": 8})
    kwargs = network_kwargs(trainer, topology(patch, 4), **options)
    spec = ArchitectureSpec(class_path(trainer), kwargs, requires_import(trainer))
    chosen = dataclasses.replace(plan.configuration(name), patch_size=patch, batch_size=4, architecture=spec)
    return dataclasses.replace(plan, configurations={name: chosen})


# A decoder that doubles its widths, gates and a ResNet take their time.
SLOW = [("brainunet", 3), ("deepmrseg", 2), ("resnet34_mlp", 2)]


@pytest.mark.parametrize(
    ("trainer", "axes"),
    [
        ("nnunet", 3),
        ("nnunet", 2),
        ("mobilenetv2_unet", 2),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW),
    ],
)
def test_the_masked_loss_falls_and_a_segmentation_network_takes_it_all(
    trainer: str, axes: int, prepared: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from network_facts import topology

    from autoseg.architectures import build_network, parts_of
    from autoseg.training.pretraining.masked import Pretraining, pretrain
    from autoseg.transfer.initialisation import initialise

    _, plan, folder = prepared[axes]
    name = "3d_fullres" if axes == 3 else "2d"
    plan, output = small(plan, name, trainer), tmp_path / "pretrained.pth"
    with caplog.at_level(logging.INFO):
        done = pretrain(folder, plan, name, trainer, output, Pretraining(steps=50))
    assert (done.steps, done.path) == (50, output)
    assert done.last_loss < 0.9 * done.first_loss
    assert "masked loss" in caplog.text

    patch = plan.configuration(name).patch_size
    options = {"resnet34_mlp": {}, "mobilenetv2_unet": {}}.get(trainer, {"width": 8})
    network = build_network(trainer, 1, 1, topology(patch, 4), deep_supervision=True, **options)
    report = initialise(network, output)
    # One class and one channel: the heads would have fitted.
    assert report.random_parts == ("head",)
    assert set(report.random.reasons) == set(parts_of(network)["head"])
    assert len(report.loaded) == done.tensors == len(list(network.parameters())) - len(report.random)
    assert report.adapted.reasons == {} and report.unused == ()


def test_time_ends_a_training_too_and_an_interrupt_leaves_what_was_learnt(
    prepared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.training.pretraining import masked as pretraining
    from autoseg.training.pretraining.masked import Pretraining, pretrain
    from autoseg.transfer.weight_files import read_weights

    _, plan, folder = prepared[2]
    plan, output = small(plan, "2d", "nnunet"), tmp_path / "pretrained.pth"
    done = pretrain(folder, plan, "2d", "nnunet", output, Pretraining(seconds=1.0))
    assert done.steps >= 1 and done.seconds < 6
    output.unlink()

    losses = iter([1.0, 0.9])

    def step(*_: Any) -> float:
        if (loss := next(losses, None)) is None:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(pretraining._Session, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        pretrain(folder, plan, "2d", "nnunet", output, Pretraining(steps=5))
    assert read_weights(output).tensors
    assert torch.load(output, weights_only=True)["pretraining"]["steps"] == 2
    monkeypatch.setattr(pretraining._Session, "_step", lambda *_: float("nan"))
    output.unlink()
    with pytest.raises(RunError, match="not finite"):
        pretrain(folder, plan, "2d", "nnunet", output, Pretraining(steps=5))
    assert not output.exists()


@pytest.mark.parametrize("wrong", [{}, {"seconds": 1.0, "steps": 3}, {"steps": 0}, {"seconds": -1.0}])
def test_a_training_has_one_end(wrong: dict[str, Any]) -> None:
    from autoseg.training.pretraining.masked import Pretraining

    with pytest.raises(UsageError, match="a time or a number of steps"):
        Pretraining(**wrong)


def test_nothing_to_look_at_is_said(prepared: Any, tmp_path: Path) -> None:
    from autoseg.training.pretraining.masked import Pretraining, pretrain

    _, plan, _ = prepared[2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="no preprocessed cases"):
        pretrain(tmp_path / "empty", plan, "2d", "nnunet", tmp_path / "x.pth", Pretraining(steps=1))


def test_images_without_labels_are_preprocessed_as_those_with(prepared: Any, tmp_path: Path) -> None:
    dataset, plan, folder = prepared[3]
    configuration = plan.configuration("3d_fullres")
    cases = images_of(dataset, training=[case.identifier for case in dataset.cases[:2]])
    assert all(case.label is None for case in cases)
    names = preprocess_images(dataset, cases, plan, configuration, tmp_path, workers=1)
    assert names == tuple(case.identifier for case in dataset.cases[:2])
    for name in names:
        ours, _ = read_preprocessed(tmp_path, name)
        theirs, _ = read_preprocessed(folder, name)
        assert np.array_equal(ours, theirs)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    preprocess_images(dataset, cases, plan, configuration, tmp_path, workers=1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_unannotated_images_are_found_and_names_are_one(tmp_path: Path) -> None:
    import shutil

    root, _ = make_demo(tmp_path, cases=(2, 2))
    (root / "imagesUn").mkdir()
    shutil.copy2(root / "imagesTr" / "mr_000_0000.nii.gz", root / "imagesUn" / "un_0_0000.nii.gz")
    dataset = load_dataset(root)
    assert [case.identifier for case in images_of(dataset)] == ["un_0", "mr_000", "mr_001"]
    assert [case.identifier for case in images_of(dataset, training=["mr_001"])] == ["un_0", "mr_001"]
    shutil.copy2(root / "imagesTr" / "mr_000_0000.nii.gz", root / "imagesUn" / "mr_000_0000.nii.gz")
    with pytest.raises(DataError, match="mr_000 in imagesUn and in imagesTr"):
        images_of(dataset)
