"""Networks are those that the plan names, or the trainer's; what cannot be known is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_folders import ABOUT, REGIONS, cascade_folder, model_folder, write_volume

from autoseg.bundle.images import read_case
from autoseg.errors import PlanError, RunError
from autoseg.inference import load_model
from autoseg.inference.model import trained_folds
from autoseg.planner.plan import Plan


def changed(model: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The model after a change of its checkpoint."""
    path = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)
    return model


def of_trainer(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update(trainer_name=name)


@pytest.mark.parametrize("about", [ABOUT, REGIONS])
def test_of_nnunets_own_trainer_no_trainer_is_imported(
    tmp_path: Path, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = changed(model_folder(tmp_path, configuration="2d", about=about), of_trainer("nnUNetTrainer"))
    for name in [name for name in sys.modules if name.startswith("nnunetv2.training")]:
        monkeypatch.delitem(sys.modules, name)
    loaded = load_model(model, device="cpu")
    assert not any(name.startswith("nnunetv2.training") for name in sys.modules)
    expected = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
    found = loaded.networks[0].state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert type(loaded.networks[0]).__name__ == "PlainConvUNet"


def test_a_trainer_that_nobody_knows_is_refused_unless_the_plan_is_to_decide(tmp_path: Path) -> None:
    model = changed(model_folder(tmp_path, configuration="2d"), of_trainer("nnUNetTrainerOfMine"))
    with pytest.raises(RunError, match="nnUNet_extTrainer") as caught:
        load_model(model, device="cpu")
    assert "nnUNetTrainerOfMine" in str(caught.value) and "--network-of-plan" in str(caught.value)
    assert len(load_model(model, device="cpu", as_planned=True).networks) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network_class_name", "autoseg.architectures.nnunet.kwargs_for"),
        ("network_class_name", "dynamic_network_architectures.architectures.unet.Missing"),
        ("conv_op", "torch.nn.functional.relu"),
    ],
)
def test_a_plan_names_networks_and_layers_and_nothing_else(tmp_path: Path, key: str, value: str) -> None:
    model = changed(model_folder(tmp_path, configuration="2d"), of_trainer("nnUNetTrainer"))
    document = json.loads((model / "plans.json").read_text())
    entry = document["configurations"]["2d"]["architecture"]
    (entry if key in entry else entry["arch_kwargs"])[key] = value
    (model / "plans.json").write_text(json.dumps(document))
    with pytest.raises(PlanError, match="names"):
        load_model(model, device="cpu", as_planned=True)


def test_weights_of_another_network_are_refused_in_words(tmp_path: Path) -> None:
    model = changed(model_folder(tmp_path, configuration="2d"), of_trainer("nnUNetTrainer"))
    changed(model, lambda content: content["network_weights"].popitem())
    with pytest.raises(RunError, match=r"plans\.json"):
        load_model(model, device="cpu")


def test_names_of_wrappers_in_front_of_weights_are_taken_off(tmp_path: Path) -> None:
    def wrap(content: dict[str, Any]) -> None:
        content["network_weights"] = {f"_orig_mod.{k}": v for k, v in content["network_weights"].items()}

    model = changed(model_folder(tmp_path, configuration="2d"), of_trainer("nnUNetTrainer"))
    assert load_model(changed(model, wrap), device="cpu").networks


def test_what_learnt_from_all_cases_predicts_alone(tmp_path: Path) -> None:
    model = model_folder(tmp_path, configuration="2d", folds=(0, 1))
    (model / "fold_all").mkdir()
    (model / "fold_1" / "checkpoint_final.pth").rename(model / "fold_all" / "checkpoint_final.pth")
    assert trained_folds(model) == ["0"]
    assert load_model(model, ["all"], device="cpu").folders == (model,)
    (model / "fold_0" / "checkpoint_final.pth").unlink()
    assert trained_folds(model) == ["all"]


def test_the_first_stage_of_a_cascade_lies_beside_the_second(tmp_path: Path) -> None:
    second = cascade_folder(tmp_path)
    loaded = load_model(second, device="cpu")
    assert loaded.previous is not None and loaded.previous.configuration.name == "3d_lowres"
    assert [folder.name.rpartition("__")[2] for folder in loaded.folders] == [
        "3d_cascade_fullres",
        "3d_lowres",
    ]
    loaded.folders[1].rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="first stage's folder there"):
        load_model(second, device="cpu")


def test_the_plan_of_a_model_is_read_as_it_is(tmp_path: Path) -> None:
    model = model_folder(tmp_path)
    assert load_model(model, device="cpu").plan == Plan.load(model / "plans.json")


def test_the_second_stage_takes_what_it_takes_in_nnunet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot

    from autoseg import nnunet

    loaded = load_model(cascade_folder(tmp_path), device="cpu")
    raw = read_case([write_volume(tmp_path / "images" / "a_0000.nii.gz")], "SimpleITKIO")
    found = np.digitize(raw.array[0], np.quantile(raw.array, [0.6, 0.8])).astype(np.uint8)
    monkeypatch.setattr(loaded.previous, "segment", lambda *_: found)
    data, properties = loaded.preprocess(raw)
    manager = nnunet.plans_manager(json.loads((loaded.folders[0] / "plans.json").read_text()))
    configuration = manager.get_configuration("3d_cascade_fullres")
    expected, labels, theirs = DefaultPreprocessor(verbose=False).run_case_npy(
        raw.array.astype(np.float32),
        found[None].astype(np.float32),
        dict(raw.properties),
        manager,
        configuration,
        dict(loaded.dataset_json),
    )
    stages = convert_labelmap_to_one_hot(labels[0], [1, 2], expected.dtype)
    assert data.shape == (3, *labels.shape[1:])
    np.testing.assert_allclose(data[:1], expected, atol=2e-3)
    assert np.mean(data[1:] == stages) >= 0.999 and data[1:].any(axis=(1, 2, 3)).all()
    assert properties["bbox_used_for_cropping"] == theirs["bbox_used_for_cropping"]
