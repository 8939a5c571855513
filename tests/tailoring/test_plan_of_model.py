"""The plan of a second stage: what it takes from the model's, what stays the data set's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from bare_trainers import ABOUT, fingerprint_of
from given_machines import steps_take

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import Fingerprint, extract_fingerprint
from autoseg.data.synthetic import make_demo
from autoseg.errors import PlanError, UsageError
from autoseg.planner import plan_experiment
from autoseg.planner.plan import Plan
from autoseg.system.files import write_json
from autoseg.tailoring.plan_of_model import keeps_normalization, move_plan, moved_words, plan_of_model
from autoseg.tailoring.request import Request, plan_name
from autoseg.tailoring.tailored_plan import member_variants, tailor
from autoseg.tailoring.trainer_spec import Choice, Start
from autoseg.tailoring.variant import Variant

Data = tuple[Dataset, Fingerprint]
BRAINUNET = "autoseg.architectures.brainunet.BrainUNet"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Data]:
    """Generated volumes (3) and images (2), with their fingerprints."""
    sets = [load_dataset(root) for root in make_demo(tmp_path_factory.mktemp("raw"), cases=(5, 10))]
    return {n: (each, extract_fingerprint(each, workers=1)) for n, each in zip((3, 2), sets, strict=True)}


def model(folder: Path, data: Data, trainer: str = "brainunet:width=8", **about: Any) -> Path:
    """A model's folder as a training leaves it, with weights that nobody asks about."""
    choice = Choice.parse(trainer)
    plan = dataclasses.replace(tailor(Variant(*data, choice, Request(torch.device("cpu")))), **about)
    (name,) = plan.configurations
    place = folder / f"{choice.name}__{plan.name}__{name}"
    plan.save(place / "plans.json")
    (place / "fold_all").mkdir()
    checkpoint = {"network_weights": {"x": torch.zeros(2)}, "trainer_name": choice.name}
    torch.save(checkpoint, place / "fold_all" / "checkpoint_final.pth")
    return place


def at(seconds: float | None = None, **asked: Any) -> Request:
    return Request(torch.device("cpu"), run_s=seconds, **asked)


@pytest.mark.parametrize("below", ["", "fold_all", "fold_all/checkpoint_final.pth"])
def test_the_plan_lies_beside_the_checkpoint(data: dict[int, Data], tmp_path: Path, below: str) -> None:
    place = model(tmp_path, data[3])
    found = plan_of_model(place / below)
    assert (found.model, found.configuration.name) == (place.name, "3d_fullres")
    assert found.plan == Plan.load(place / "plans.json")


def test_a_stock_model_tells_its_configuration_by_its_folder(tmp_path: Path) -> None:
    plan = plan_experiment(ABOUT, fingerprint_of((40, 64, 64)))
    plan.save(tmp_path / "nnUNetTrainer__nnUNetPlans__2d" / "plans.json")
    assert plan_of_model(tmp_path / "nnUNetTrainer__nnUNetPlans__2d").configuration.name == "2d"
    plan.save(tmp_path / "mine" / "plans.json")
    with pytest.raises(PlanError, match="does not say which was trained"):
        plan_of_model(tmp_path / "mine")


def test_without_a_plan_beside_it_the_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    with pytest.raises(PlanError, match=r"no plans\.json beside .*weights\.pth"):
        plan_of_model(tmp_path / "weights.pth")


def test_all_that_shapes_the_network_and_its_images_is_the_models(
    data: dict[int, Data], tmp_path: Path
) -> None:
    place = model(tmp_path, data[3])
    before = Plan.load(place / "plans.json").configuration("3d_fullres")
    moved = tailor(Variant(*data[3], Choice.parse(f"brainunet:init={place}:plan_from=init"), at()))
    after = moved.configuration("3d_fullres")
    own = {"data_identifier", "next_stage"}
    fields = [item.name for item in dataclasses.fields(after) if item.name not in own]
    assert {name: getattr(after, name) for name in fields} == {name: getattr(before, name) for name in fields}
    assert after.architecture.kwargs["features"][0] == 8
    assert moved.intensities == Plan.load(place / "plans.json").intensities
    assert moved.dataset == data[3][0].name and moved.name != Plan.load(place / "plans.json").name
    told = moved.require_training().changes
    assert f"weights from {place.name}" in told
    assert "learning rate 0.001 -> 0.0001 (weights of a trained model)" in told
    words = f"network, patch, spacing and normalisation from the plan of {place.name}"
    assert f"{words} ({data[3][0].name})" in told


def test_stock_nnunet_reads_it(data: dict[int, Data], tmp_path: Path) -> None:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    place = model(tmp_path, data[3])
    moved = tailor(Variant(*data[3], Choice.parse(f"brainunet:plan_from={place}"), at()))
    moved.save(tmp_path / "moved.json")
    manager = PlansManager(str(tmp_path / "moved.json"))
    stock = manager.get_configuration("3d_fullres")
    there = PlansManager(str(place / "plans.json")).get_configuration("3d_fullres")
    for name in ("patch_size", "batch_size", "spacing", "network_arch_init_kwargs", "normalization_schemes"):
        assert getattr(stock, name) == getattr(there, name), name
    assert stock.data_identifier != there.data_identifier
    assert Plan.load(tmp_path / "moved.json") == moved


def test_two_arms_of_one_experiment_share_their_images_and_no_name(
    data: dict[int, Data], tmp_path: Path
) -> None:
    place = model(tmp_path, data[3])
    texts = (f"brainunet:init={place}:plan_from=init", f"brainunet:plan_from={place}", "brainunet:width=8")
    tuned, scratch, plain = (tailor(Variant(*data[3], Choice.parse(text), at())) for text in texts)
    folders = [each.configuration("3d_fullres").data_identifier for each in (tuned, scratch, plain)]
    assert folders[0] == folders[1] != folders[2]
    assert len({tuned.name, scratch.name, plain.name}) == 3
    assert scratch.require_training().init is None and tuned.require_training().init is not None


def test_only_the_batch_gives_way_to_a_budget(
    data: dict[int, Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = model(tmp_path, data[3], "nnunet")
    document = Plan.load(place / "plans.json")
    before = dataclasses.replace(document.configuration("3d_fullres"), batch_size=8)
    dataclasses.replace(document, configurations={"3d_fullres": before}).save(place / "plans.json")
    steps_take(monkeypatch, lambda: 5.0)
    moved = tailor(Variant(*data[3], Choice.parse(f"nnunet:plan_from={place}"), at(150.0)))
    after = moved.configuration("3d_fullres")
    assert after.batch_size == 2
    assert (after.patch_size, after.spacing) == (before.patch_size, before.spacing)
    assert after.architecture == before.architecture
    own = tailor(Variant(*data[3], Choice("nnunet"), at(150.0))).configuration("3d_fullres")
    assert own.architecture != before.architecture  # what a budget does where it may


def test_another_number_of_channels_keeps_the_data_sets_normalisation(
    data: dict[int, Data], tmp_path: Path
) -> None:
    place = model(tmp_path, data[3])
    document = Plan.load(place / "plans.json")
    four = dataclasses.replace(
        document.configuration("3d_fullres"),
        normalization=("NoNormalization",) * 4,
        use_mask_for_norm=(False,) * 4,
    )
    dataclasses.replace(document, configurations={"3d_fullres": four}).save(place / "plans.json")
    moved = tailor(Variant(*data[3], Choice.parse(f"brainunet:plan_from={place}"), at()))
    (scheme,) = moved.configuration("3d_fullres").normalization
    own = tailor(Variant(*data[3], Choice("brainunet"), at()))
    assert (scheme,) == own.configuration("3d_fullres").normalization != ("NoNormalization",)
    assert moved.intensities == own.intensities and not keeps_normalization(moved)
    assert moved_words(moved)[0].endswith("normalisation its own: 4 channels there, 1 here")


def test_axes_and_reader_are_the_data_sets(data: dict[int, Data], tmp_path: Path) -> None:
    dataset, fingerprint = data[3]
    source = plan_of_model(model(tmp_path, data[3]))
    source = dataclasses.replace(
        source,
        plan=dataclasses.replace(source.plan, transpose=(2, 0, 1), image_reader_writer="NibabelIO"),
        configuration=dataclasses.replace(source.configuration, spacing=(4.0, 1.0, 1.0)),
    )
    own = plan_experiment(dataset, fingerprint)
    moved = move_plan(source, dataset, fingerprint, own, BRAINUNET)
    assert (moved.transpose, moved.image_reader_writer) == (own.transpose, own.image_reader_writer)
    assert moved.configuration("3d_fullres").spacing == (4.0, 1.0, 1.0)
    half = moved.configuration("3d_fullres").median_shape
    assert half[0] == pytest.approx(own.original_median_shape[0] * own.original_median_spacing[0] / 4, abs=1)


def test_what_does_not_fit_is_refused(data: dict[int, Data], tmp_path: Path) -> None:
    volumes, pictures = model(tmp_path / "3", data[3]), model(tmp_path / "2", data[2], "resnet34_mlp")
    with pytest.raises(PlanError, match="model of volumes"):
        tailor(Variant(*data[2], Choice.parse(f"brainunet:plan_from={volumes}"), at()))
    with pytest.raises(PlanError, match="only one of the two knows millimetres"):
        tailor(Variant(*data[3], Choice.parse(f"resnet34_mlp:plan_from={pictures}"), at()))
    with pytest.raises(PlanError, match="this trainer has"):
        tailor(Variant(*data[3], Choice.parse(f"mednext_s:plan_from={volumes}"), at()))
    with pytest.raises(UsageError, match="width, normalization cannot be chosen"):
        tailor(
            Variant(
                *data[3], Choice.parse(f"brainunet:plan_from={volumes}:width=4:normalization=nnunet"), at()
            )
        )
    with pytest.raises(UsageError, match="init is random"):
        tailor(Variant(*data[3], Choice.parse("brainunet:plan_from=init"), at()))


def test_a_network_without_strides_and_three_orientations_are_moved_too(
    data: dict[int, Data], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_take(monkeypatch, lambda: 1e-4)
    for trainer in ("unetplusplus", "deepmrseg"):
        place = model(tmp_path, data[2], trainer)
        choice = Choice.parse(f"{trainer}:plan_from={place}")
        (variant,) = member_variants(Variant(*data[2], choice, at(60.0)))
        moved = tailor(variant)
        assert moved.configuration("2d").architecture == plan_of_model(place).configuration.architecture


def test_a_row_names_the_model_and_what_is_in_its_plan(data: dict[int, Data], tmp_path: Path) -> None:
    place = model(tmp_path, data[3])
    choice = Choice.parse(f"brainunet:plan_from={place}")
    told = choice.row_options["plan_from"]
    assert told.startswith(f"{place.name}@") and str(tmp_path) not in told
    name = plan_name(choice, at(), data[3][1])
    document = Plan.load(place / "plans.json")
    other = dataclasses.replace(document.configuration("3d_fullres"), patch_size=(16, 16, 16))
    dataclasses.replace(document, configurations={"3d_fullres": other}).save(place / "plans.json")
    assert plan_name(choice, at(), data[3][1]) != name
    assert Start.of(choice).words == []


def test_the_second_stage_of_a_cascade_is_no_start(tmp_path: Path) -> None:
    plan = plan_experiment(ABOUT, fingerprint_of((300, 512, 512)))
    assert "3d_cascade_fullres" in plan.configurations
    place = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    write_json(place / "plans.json", plan.to_json())
    with pytest.raises(PlanError, match="second stage of a cascade"):
        plan_of_model(place)
