"""nnU-Net finds the normalisation that it does not have: here, in its workers, or not at all."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.data_iterators import preprocessing_iterator_fromfiles
from nnunetv2.preprocessing.normalization import default_normalization_schemes
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from autoseg import nnunet, plugins
from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.readers import read_images, read_segmentation
from autoseg.data.synthetic import make_demo
from autoseg.errors import PlanError, UsageError
from autoseg.inference import model as models
from autoseg.inference import predict_cases
from autoseg.pipeline.prepare import prepare
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.trial import Trial, train_trial
from autoseg.planner.configuration import PERCENTILE
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import preprocess_case
from autoseg.tailoring.request import Request
from autoseg.tailoring.tailored_plan import tailor
from autoseg.tailoring.trainer_spec import Choice
from autoseg.tailoring.variant import Variant
from autoseg.training.stock_normalization import RegisteringName, make_known
from autoseg.workspace import Workspace

BIN = Path(sys.executable).parent
REQUEST = Request(torch.device("cpu"))
SMALL = "brainunet:width=4"


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    """nnU-Net as it is in a fresh process."""
    if hasattr(default_normalization_schemes, PERCENTILE):
        delattr(default_normalization_schemes, PERCENTILE)
    yield
    if hasattr(default_normalization_schemes, PERCENTILE):
        delattr(default_normalization_schemes, PERCENTILE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with four small volumes whose background is zero, as after skull stripping."""
    folder = tmp_path_factory.mktemp("stripped")
    volumes, _ = make_demo(folder / "raw", cases=(4, 2))
    for path in (volumes / "imagesTr").iterdir():
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in array.shape)]
        array[sum((axis / 1.1) ** 2 for axis in axes) > 1] = 0
        array[2, 20:24, 20:30] = 20000  # what clipping is for
        changed = sitk.GetImageFromArray(array)
        changed.CopyInformation(image)
        sitk.WriteImage(changed, str(path), True)
    return folder


@pytest.fixture(scope="module")
def dataset(root: Path) -> Dataset:
    return load_dataset(root / "raw" / "Dataset901_DemoMR")


@pytest.fixture(scope="module")
def fingerprint(dataset: Dataset) -> Fingerprint:
    return extract_fingerprint(dataset, workers=1)


def plan_of(dataset: Dataset, fingerprint: Fingerprint, text: str) -> Plan:
    return tailor(Variant(dataset, fingerprint, Choice.parse(text), REQUEST))


def schemes(plan: Plan) -> tuple[str, ...]:
    (configuration,) = plan.configurations.values()
    return configuration.normalization


def test_brainunet_has_it_and_anyone_may_choose(dataset: Dataset, fingerprint: Fingerprint) -> None:
    choices = ("brainunet", "brainunet:normalization=nnunet", "nnunet", "nnunet:normalization=percentile")
    plans = [plan_of(dataset, fingerprint, text) for text in choices]
    stock = ("ZScoreNormalization",)
    assert [schemes(plan) for plan in plans] == [(PERCENTILE,), stock, stock, (PERCENTILE,)]
    folders = [next(iter(plan.configurations.values())).data_identifier for plan in plans]
    assert folders[0] == folders[3] != folders[1] == folders[2]
    assert [d.value for d in plans[0].decisions if d.name == "normalization"] == [
        [f"{PERCENTILE} inside nonzero"]
    ]
    for plan in plans:
        assert not plan.require_training().hyperparameters.given
    network = next(iter(plans[0].configurations.values())).architecture.kwargs
    assert "normalization" not in network


def test_ct_keeps_nnunets_unless_asked(dataset: Dataset, fingerprint: Fingerprint) -> None:
    about = {**dataset.dataset_json, "channel_names": {"0": "CT"}}
    ct = dataclasses.replace(dataset, channels=("CT",), dataset_json=about)
    assert schemes(plan_of(ct, fingerprint, "brainunet")) == ("CTNormalization",)
    assert schemes(plan_of(ct, fingerprint, "brainunet:normalization=percentile")) == (PERCENTILE,)


def test_a_wish_that_cannot_be_met_is_refused(dataset: Dataset, fingerprint: Fingerprint) -> None:
    with pytest.raises(UsageError, match="nnunet or percentile"):
        plan_of(dataset, fingerprint, "nnunet:normalization=minmax")
    about = {**dataset.dataset_json, "channel_names": {"0": "noNorm"}}
    other = dataclasses.replace(dataset, channels=("noNorm",), dataset_json=about)
    with pytest.raises(PlanError, match="noNorm"):
        plan_of(other, fingerprint, "nnunet:normalization=percentile")


def stock_array(dataset: Dataset, manager: PlansManager, configuration: Any) -> np.ndarray:
    """A case's array from nnU-Net's own preprocessor."""
    array, _, _ = DefaultPreprocessor(verbose=False).run_case(
        [str(path) for path in dataset.cases[0].images],
        None,
        manager,
        configuration,
        dict(dataset.dataset_json),
    )
    result: np.ndarray = array
    return result


def own_array(dataset: Dataset, plan: Plan) -> np.ndarray:
    """The same from autoseg."""
    images = read_images(dataset.cases[0].images, dataset.reader)
    (configuration,) = plan.configurations.values()
    return preprocess_case(images, None, plan, configuration, dataset.dataset_json)[0]


def test_without_a_trainer_nnunet_refuses_and_with_one_it_follows(
    dataset: Dataset, fingerprint: Fingerprint
) -> None:
    plan = plan_of(dataset, fingerprint, SMALL)
    document = json.loads(json.dumps(plan.to_json()))
    manager = PlansManager(copy.deepcopy(document))
    configuration = manager.get_configuration("3d_fullres")
    with pytest.raises(RuntimeError, match=f"Unable to locate class '{PERCENTILE}'"):
        stock_array(dataset, manager, configuration)
    trainer = plugins.trainer_class("brainunet")
    trainer.build_network_architecture(manager, configuration, 1, 3, False)
    np.testing.assert_allclose(
        stock_array(dataset, manager, configuration), own_array(dataset, plan), rtol=0, atol=2e-5
    )
    # The plan that nnU-Net writes beside predictions and into checkpoints is as it was.
    assert manager.plans == document
    assert type(manager.plans["configurations"]["3d_fullres"]["normalization_schemes"][0]) is str
    assert manager.get_configuration("3d_fullres") is configuration


def test_a_name_stays_a_name_and_registers_where_it_arrives(
    dataset: Dataset, fingerprint: Fingerprint
) -> None:
    document = plan_of(dataset, fingerprint, SMALL).to_json()
    configuration = PlansManager(document).get_configuration("3d_fullres")
    make_known(configuration)
    (name,) = configuration.normalization_schemes
    assert isinstance(name, RegisteringName)
    assert name == PERCENTILE and f"{name}" == PERCENTILE and json.dumps([name]) == f'["{PERCENTILE}"]'
    assert isinstance(copy.deepcopy(configuration).normalization_schemes[0], RegisteringName)
    sent = pickle.dumps(configuration)
    delattr(default_normalization_schemes, PERCENTILE)
    arrived = pickle.loads(sent)
    assert hasattr(default_normalization_schemes, PERCENTILE)
    assert arrived.configuration == configuration.configuration
    # It can be sent on from there.
    assert isinstance(pickle.loads(pickle.dumps(arrived)).normalization_schemes[0], RegisteringName)


def test_other_plans_are_left_alone(dataset: Dataset, fingerprint: Fingerprint) -> None:
    configuration = PlansManager(plan_of(dataset, fingerprint, "nnunet").to_json()).get_configuration(
        "3d_fullres"
    )
    before = copy.deepcopy(configuration.configuration)
    make_known(configuration)
    assert configuration.configuration == before
    assert not hasattr(default_normalization_schemes, PERCENTILE)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_spawned_workers_preprocess_alike_or_refuse(
    dataset: Dataset, fingerprint: Fingerprint, known: bool
) -> None:
    """nnU-Net's own workers, as its prediction starts them; the exact arrays."""
    plan = plan_of(dataset, fingerprint, SMALL)
    manager = PlansManager(plan.to_json())
    configuration = manager.get_configuration("3d_fullres")
    if known:
        make_known(configuration)
    files = [[str(path) for path in dataset.cases[0].images]]
    items = preprocessing_iterator_fromfiles(
        files, None, None, manager, dict(dataset.dataset_json), configuration, num_processes=1
    )
    if known:
        (item,) = items
        wanted = own_array(dataset, plan)
        np.testing.assert_allclose(item["data"].numpy(), wanted, rtol=0, atol=1e-6 * np.ptp(wanted))
    else:
        with pytest.raises(RuntimeError, match="workers died"):
            list(items)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model folder, and the environment in which stock nnU-Net finds everything."""

    folder: Path
    workspace: Workspace
    environment: dict[str, str]


@pytest.fixture(scope="module")
def trained(root: Path, dataset: Dataset) -> Iterator[Trained]:
    """brainunet, narrow and trained for a few steps."""
    workspace = Workspace.locate(root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", nnunet.EXTENSION_VARIABLE):
            patch.setenv(name, "")
        prepared = prepare(dataset.root, workspace, Settings(workers=1))
        choice = Choice.parse(f"{SMALL}:max_levels=3:mirroring=false:epochs=1:steps_per_epoch=20")
        folds = prepared.folds
        trial = Trial(dataset, prepared.fingerprint, folds, choice, folds[0], REQUEST)
        checkpoint = train_trial(trial, workspace, workers=1)
        shim = subprocess.run([BIN / "autoseg", "list", "--path"], capture_output=True, text=True, check=True)
        own = {**workspace.environment(), "nnUNet_extTrainer": shim.stdout.strip(), "OMP_NUM_THREADS": "1"}
        yield Trained(checkpoint.run.model_folder, workspace, {**os.environ, **own})


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "0"])
def test_stock_prediction_gives_the_same_labels(
    trained: Trained, dataset: Dataset, tmp_path: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`nnUNetv2_predict` with its environment only, in spawned workers (1) and without any (0)."""
    plan = Plan.load(trained.folder / "plans.json")
    assert schemes(plan) == (PERCENTILE,)
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    case = dataset.cases[0]
    (inputs / case.images[0].name).symlink_to(case.images[0])
    model = ["-d", dataset.name, "-c", "3d_fullres", "-tr", "brainunet", "-p", plan.name, "-f", "0"]
    options = ["-device", "cpu", "-npp", workers, "-nps", workers]
    subprocess.run(
        [BIN / "nnUNetv2_predict", "-i", inputs, "-o", outputs, *model, *options],
        env=trained.environment,
        check=True,
        capture_output=True,
    )
    stock = read_segmentation(outputs / f"{case.identifier}.nii.gz", dataset.reader).array
    monkeypatch.setattr(models, "autocast_dtype", lambda device: None)  # float32, as nnU-Net's
    mine = models.load_model(trained.folder, [0], torch.device("cpu"))
    assert len(np.unique(stock)) > 1
    # Away from the tile's corners, where nnU-Net's weights have next to no digits in half precision.
    centre = 0, slice(6, 18), slice(14, 42), slice(14, 42)
    assert np.mean((own_labels(mine, dataset, tmp_path / "mine") != stock)[centre]) < 2e-3
    # With nnU-Net's normalisation the labels are others, so the comparison means something.
    other = dataclasses.replace(mine.configuration, normalization=("ZScoreNormalization",))
    wrong = dataclasses.replace(mine, configuration=other)
    assert np.mean((own_labels(wrong, dataset, tmp_path / "wrong") != stock)[centre]) > 0.05
    written = json.loads((outputs / "plans.json").read_text())
    assert written["configurations"]["3d_fullres"]["normalization_schemes"] == [PERCENTILE]


def own_labels(model: models.Model, dataset: Dataset, output: Path) -> np.ndarray:
    (path,) = predict_cases(model, dataset.cases[:1], output)
    return read_segmentation(path, dataset.reader).array


@pytest.mark.slow
def test_stock_preprocessing_refuses_the_plan(trained: Trained) -> None:
    """`nnUNetv2_preprocess` asks no trainer; it has to stop rather than normalise in another way."""
    plan = Plan.load(trained.folder / "plans.json")
    copied = trained.workspace.preprocessed_of(plan.dataset) / "refusedPlans.json"
    document = plan.to_json()
    document["plans_name"] = "refusedPlans"
    document["configurations"]["3d_fullres"]["data_identifier"] = "refused"
    copied.write_text(json.dumps(document))
    options = ["-d", "901", "-plans_name", "refusedPlans", "-c", "3d_fullres", "-np", "1"]
    done = subprocess.run(
        [BIN / "nnUNetv2_preprocess", *options],
        env=trained.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert f"Unable to locate class '{PERCENTILE}'" in done.stderr
    assert not list((copied.parent / "refused").glob("*.b2nd"))
