"""What every trainer has to keep, whichever it is: a step of training, and predictions that stock nnU-Net
makes alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from stock_nnunet import predict_with_stock

import autoseg
from autoseg import plugins
from autoseg.augmentation.spatial import FlipTransform
from autoseg.data.readers import read_segmentation, write_segmentation
from autoseg.data.synthetic import mr_phantom
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.walk import plan_and_train
from autoseg.planner import plan_experiment
from autoseg.run import Run
from autoseg.system.files import write_json
from autoseg.training.trainer import Trainer
from autoseg.workspace import Workspace

TRAINERS = plugins.available("trainers")
# One of each kind: nnU-Net's network, a documented one of volumes, one of slices, and a baseline.
IN_CI = ("brainunet", "mobilenetv2_unet", "nnunet", "unetplusplus")
# What stock nnU-Net predicts with is one checkpoint of one training.
ALONE = {"deepmrseg": ":best_checkpoints=0:orientations=1"}
PATCHES = {(33, 47): (1.0, 1.0), (14, 64, 64): (4.0, 1.0, 1.0)}
SPACING = (2.0, 1.0, 1.0)
# Of 24 x 32 x 32 voxels, what lies within three standard deviations of a tile's Gaussian weights.
MIDDLE = (slice(None), slice(3, -3), slice(4, -4), slice(4, -4))

every = pytest.mark.parametrize("name", TRAINERS)


@every
def test_prediction_is_mirrored_only_as_training_mirrors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An axis that fewer than a quarter of the samples are flipped along is not one to average over."""
    for variable, value in Workspace.locate(tmp_path).environment().items():
        monkeypatch.setenv(variable, value)
    kind = plugins.trainer_class(name)
    for axes in kind.dimensions:
        shape = (40, 40, 40) if axes == 3 else (1, 64, 64)
        document = plan_experiment(ABOUT, fingerprint_of(shape), dataset_name="Dataset001_Small").to_json()
        configuration = "3d_fullres" if axes == 3 else "2d"
        trainer = kind(document, configuration, 0, dict(ABOUT), torch.device("cpu"))
        rotation, dummy, _, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        patch = trainer.configuration_manager.patch_size
        transform = trainer.get_training_transforms(
            patch, rotation, None, mirrored, dummy, use_mask_for_norm=[False], foreground_labels=[1]
        )
        shares = flipped_shares(transform, axes)
        fair = {axis for axis, share in shares.items() if share >= 0.25}
        assert set(trainer.inference_allowed_mirroring_axes or ()) == fair


def flipped_shares(transform: Any, axes: int) -> dict[int, float]:
    """How often a pipeline flips along each axis."""
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

    found = dict.fromkeys(range(axes), 0.0)
    for each in transform.transforms:
        if isinstance(each, FlipTransform):
            found |= each.probabilities
        elif isinstance(each, MirrorTransform):
            found |= dict.fromkeys(each.allowed_axes, 0.5)
    return found


def test_fetal_heads_are_averaged_over_the_horizontal_mirror_image_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in Workspace.locate(tmp_path).environment().items():
        monkeypatch.setenv(variable, value)
    document = plan_experiment(ABOUT, fingerprint_of((1, 64, 64)), dataset_name="Dataset001_Small").to_json()
    kind = plugins.trainer_class("mobilenetv2_unet")
    trainer = kind(document, "2d", 0, dict(ABOUT), torch.device("cpu"))
    *_, mirrored = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert set(mirrored) == {0, 1}
    assert trainer.inference_allowed_mirroring_axes == (1,)


@pytest.mark.slow
@every
def test_the_network_at_its_own_width_has_gradients(name: str) -> None:
    for patch, spacing in PATCHES.items():
        if len(patch) not in plugins.trainer_class(name).dimensions:
            continue
        torch.manual_seed(0)
        built = autoseg.build_network(name, 3, 4, patch, spacing).train()
        result = built(torch.randn(2, 3, *patch))
        outputs = result if isinstance(result, list) else [result]
        assert outputs[0].shape == (2, 4, *patch)
        sum(output.square().mean() for output in outputs).backward()
        gradients = [p.grad for p in built.parameters() if p.grad is not None]
        assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with five small volumes, shared so that each configuration is preprocessed once."""
    found = Workspace.locate(tmp_path_factory.mktemp("contract"))
    make_tiny(found.raw / "Dataset903_Tiny")
    before = dict(os.environ)
    yield found
    # The walk sets nnU-Net's variables for this process.
    os.environ.clear()
    os.environ.update(before)


def make_tiny(root: Path) -> None:
    """Five volumes of 24 x 32 x 32 voxels: the middle of the demo's phantoms."""
    stuff = {"spacing": SPACING[::-1], "origin": (0.0, 0.0, 0.0), "direction": tuple(np.eye(3).ravel())}
    for index in range(5):
        image, label = mr_phantom(np.random.default_rng([0, 903, index]))
        cut = (slice(None), slice(12, 44), slice(12, 44))
        for array, path in (
            (image[cut], root / "imagesTr" / f"case_{index}_0000.nii.gz"),
            (label[cut], root / "labelsTr" / f"case_{index}.nii.gz"),
        ):
            write_segmentation(array, path, {"sitk_stuff": stuff}, "SimpleITKIO")
    about = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "head": 1, "body": 2}}
    write_json(root / "dataset.json", {**about, "numTraining": 5, "file_ending": ".nii.gz"})


@pytest.fixture
def one_validation_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's 50 a look cost more than all else here."""
    start = Trainer.on_train_start

    def on_train_start(trainer: Trainer) -> None:
        trainer.num_val_iterations_per_epoch = 1
        start(trainer)

    monkeypatch.setattr(Trainer, "on_train_start", on_train_start)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of autoseg in stock nnU-Net's precision, so that nothing but the way can differ."""
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)


@pytest.mark.slow
@pytest.mark.usefixtures("one_validation_batch", "in_float32")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.ci if name in IN_CI else ()) for name in TRAINERS]
)
def test_one_step_and_stock_nnunet_predicts_the_same(name: str, workspace: Workspace, tmp_path: Path) -> None:
    dataset = workspace.raw / "Dataset903_Tiny"
    asked = f"{name}:epochs=1:steps_per_epoch=1{ALONE.get(name, '')}"
    settings = Settings(trainers=(asked,), folds=(0,), device="cpu", workers=1)
    (record,) = plan_and_train(dataset, workspace, settings).records
    assert record.status in ("ok", "collapsed"), record.reason
    assert record.cost.parameters and record.cost.train_s
    (model,) = (workspace.results / dataset.name).glob(f"{name}__{record.plan}__*")
    run = Run(dataset.name, record.plan, record.configuration, name, 0, record.seed, workspace.results)
    mine = sorted(run.predictions.glob("*.nii.gz"))
    assert mine
    images = [dataset / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz") for path in mine]
    output = predict_with_stock(workspace, model, images, tmp_path)
    for path in mine:
        ours = read_segmentation(path, "SimpleITKIO").array
        stock = read_segmentation(output / path.name, "SimpleITKIO").array
        # Stock nnU-Net weighs and sums tiles in float16, which has no digits left in the corners of a volume
        # that one tile covers, and rounds the logits that a single step has hardly moved apart.
        assert np.mean(ours != stock) < 0.03
        assert np.mean((ours != stock)[MIDDLE]) < 0.005
    # Checkpoints of the widest networks are of a size that no folder for tests should keep.
    shutil.rmtree(model)
