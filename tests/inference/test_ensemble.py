"""Several networks that predict together: checkpoints of one training, and slices of three orientations."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoseg.data.fingerprint import Fingerprint
from autoseg.data.readers import Image
from autoseg.errors import UsageError
from autoseg.inference.ensemble import Ensemble, member_folders, save_ensemble
from autoseg.inference.model import Model
from autoseg.inference.predict import predict_cases
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.planner.spacing import first_axis
from autoseg.run import Run

ABOUT: dict[str, Any] = {
    "channel_names": {"0": "noNorm"},
    "labels": {"background": 0, "head": 1, "body": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "overwrite_image_reader_writer": "SimpleITKIO",
}
REGIONS = {
    **ABOUT,
    "labels": {"background": 0, "whole": [1, 2], "body": 2},
    "regions_class_order": [1, 2],
}
EDGE = 16


def plan(axis: int = 0) -> Plan:
    """A plan of small isotropic volumes with slices along an axis, at the images' own spacing."""
    numbers = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": 0.0, "max": 1.0}
    found = Fingerprint(
        ((1.0, 1.0, 1.0),) * 3,
        ((EDGE, EDGE, EDGE),) * 3,
        {0: numbers | {"percentile_99_5": 1.0, "percentile_00_5": 0.0}},
        1.0,
    )
    return plan_experiment(ABOUT, found, transpose=first_axis(axis))


def network(seed: int, kernel: int = 3, symmetric: bool = False) -> nn.Module:
    """A convolution with random weights; a symmetric one does not mind a slice that is transposed."""
    torch.manual_seed(seed)
    layer = nn.Conv2d(1, 3, kernel, padding=kernel // 2, padding_mode="replicate")
    if symmetric:
        weight = layer.weight.data
        layer.weight.data = weight + weight.transpose(2, 3)
    layer.weight.data *= 3
    return layer.eval()


def model(*networks: nn.Module, axis: int = 0, about: Mapping[str, Any] = ABOUT, **fields: Any) -> Model:
    own = plan(axis)
    return Model(
        list(networks), own, own.configuration("2d"), about, torch.device("cpu"), (), "made", **fields
    )


def image(array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Image:
    stuff = {"spacing": spacing[::-1], "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())}
    return Image(array[None].astype(np.float32), spacing, {"sitk_stuff": stuff, "spacing": list(spacing)})


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute in float32."""
    monkeypatch.setattr("autoseg.inference.model.autocast_dtype", lambda device: None)


def noise(shape: tuple[int, int, int] = (EDGE, EDGE, EDGE), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_checkpoints_together_are_the_mean_of_softmaxes() -> None:
    data = noise()[None].astype(np.float32)
    networks = [network(seed) for seed in range(4)]
    together = model(*networks, averages_probabilities=True)
    each = torch.stack([model(one).probabilities(data) for one in networks])
    assert torch.allclose(together.probabilities(data), each.mean(0), atol=1e-6)
    of_logits = model(*networks)
    assert not torch.allclose(of_logits.probabilities(data), each.mean(0), atol=1e-3)
    assert torch.allclose(of_logits.probabilities(data), of_logits.logits(data).softmax(0))


@pytest.mark.parametrize("about", [ABOUT, REGIONS])
def test_a_model_alone_segments_by_the_mean_of_its_checkpoints(about: Mapping[str, Any]) -> None:
    heads = 3 if about is ABOUT else 2
    networks = [network(seed) for seed in range(3)]
    for one in networks:
        one.weight.data, one.bias.data = one.weight.data[:heads], one.bias.data[:heads]
    together = model(*networks, about=about, averages_probabilities=True)
    raw = image(noise())
    data, _ = together.preprocess(raw)
    mean = torch.stack([model(one, about=about).probabilities(data) for one in networks]).mean(0).numpy()
    of_regions = np.where(mean[-1] > 0.5, 2, np.where(mean[0] > 0.5, 1, 0))
    expected = mean.argmax(0) if about is ABOUT else of_regions
    assert len(np.unique(expected)) == 3
    assert np.mean(together.segment_image(raw) != expected) < 1e-3
    # In an ensemble of one orientation twice, by another way, the same.
    assert np.mean(Ensemble([together, together]).segment_image(raw) != expected) < 1e-3


def symmetric_image() -> np.ndarray:
    """Unchanged by any order of its axes."""
    values = noise()
    return np.mean([values.transpose(order) for order in permutations(range(3))], axis=0) * 2


def test_identical_networks_in_three_orientations_know_no_order() -> None:
    raw = image(symmetric_image())
    models = [model(network(0, symmetric=True), axis=axis) for axis in range(3)]

    def probabilities(chosen: list[Model]) -> np.ndarray:
        return Ensemble(chosen).probabilities([each.preprocess(raw) for each in chosen])

    together = probabilities(models)
    for order in permutations(range(3)):
        assert np.allclose(together.transpose(0, *(1 + axis for axis in order)), together, atol=1e-5)
        assert np.allclose(probabilities([models[axis] for axis in order]), together, atol=1e-5)
    alone = probabilities(models[:1])
    assert not np.allclose(alone.transpose(0, 2, 1, 3), alone, atol=1e-2)


def test_each_orientation_comes_back_to_the_axes_of_the_image() -> None:
    """A network that sees single voxels says the same of them in every orientation."""
    raw = image(noise((12, 20, 16)))
    pointwise = network(1, kernel=1)
    single = [model(pointwise, axis=axis).segment_image(raw) for axis in range(3)]
    together = Ensemble([model(pointwise, axis=axis) for axis in range(3)]).segment_image(raw)
    assert together.shape == (12, 20, 16)
    assert len(np.unique(together)) > 1
    for other in single:
        assert np.mean(other != together) < 1e-3


def test_off_the_plans_grid_probabilities_are_resampled() -> None:
    raw = image(noise((9, 21, 13)), (1.7, 0.8, 1.2))
    models = [model(network(axis), axis=axis) for axis in range(3)]
    found = Ensemble(models).probabilities([each.preprocess(raw) for each in models])
    assert found.shape == (3, 9, 21, 13)
    assert np.allclose(found.sum(0), 1, atol=1e-5)


def test_outside_of_the_crop_is_background() -> None:
    array = np.zeros((20, 24, 22))
    array[4:16, 5:20, 3:18] = noise((12, 15, 15))
    raw = image(array)
    favours_head = network(0, kernel=1)
    favours_head.weight.data *= 0
    favours_head.bias.data = torch.tensor([0.0, 5.0, 0.0])
    found = Ensemble([model(favours_head, axis=axis) for axis in range(3)]).segment_image(raw)
    assert (found[4:16, 5:20, 3:18] == 1).all()
    assert found.sum() == 12 * 15 * 15


def test_models_of_other_labels_do_not_predict_together() -> None:
    other = {**ABOUT, "labels": {"background": 0, "body": 1, "head": 2}}
    with pytest.raises(UsageError, match="do not segment the same"):
        Ensemble([model(network(0)), model(network(0), about=other)])
    with pytest.raises(UsageError, match="at least one"):
        Ensemble([])


def run(folder: Path, plan_name: str) -> Run:
    return Run("Dataset001_Made", plan_name, "2d", "deepmrseg", 0, 0, folder)


def test_an_ensembles_folder_stands_for_its_members(tmp_path: Path) -> None:
    row, members = run(tmp_path, "plans"), [run(tmp_path, f"plans_axis{axis}") for axis in range(3)]
    save_ensemble(row, members)
    assert member_folders(row.model_folder) == tuple(each.model_folder for each in members)
    assert member_folders(members[0].model_folder) == (members[0].model_folder,)


def test_an_ensemble_predicts_raw_cases_as_a_model_does(tmp_path: Path) -> None:
    from autoseg.data.dataset import Case
    from autoseg.data.readers import read_segmentation, write_segmentation

    array = noise((12, 20, 16)).astype(np.float32)
    source = tmp_path / "case_0000.nii.gz"
    properties = image(array, (2.0, 1.0, 1.5)).properties
    write_segmentation(np.round(10 * array + 50).astype(np.uint8), source, properties, "SimpleITKIO")
    ensemble = Ensemble([model(network(axis), axis=axis) for axis in range(3)])
    (path,) = predict_cases(ensemble, [Case("case", (source,), None)], tmp_path / "out").files
    written = read_segmentation(path, "SimpleITKIO")
    assert written.array.shape == (1, 12, 20, 16)
    assert written.spacing == (2.0, 1.0, 1.5)
