"""What `autoseg list` tells, as a table of any width and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from autoseg import plugins
from autoseg.cli import catalogue
from autoseg.errors import UsageError
from autoseg.planner.topology import reference_topology


@pytest.fixture(scope="module")
def trainers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(json.dumps(catalogue.document("trainers")))["trainers"]
    return found


def shown(family: str, rows: list[dict[str, Any]], width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(catalogue.table(family, rows))
    return file.getvalue()


def test_every_trainer_with_its_size_and_paper(trainers: list[dict[str, Any]]) -> None:
    assert [row["name"] for row in trainers] == list(plugins.available("trainers"))
    assert sum(row["documented"] for row in trainers) >= 5
    for row in trainers:
        assert set(row["parameters"]) == set(row["size_mb"]) == {f"{n}d" for n in row["dimensions"]}
        for key, count in row["parameters"].items():
            assert row["size_mb"][key] == pytest.approx(4e-6 * count, abs=0.05)
        assert (row["paper"] or not row["documented"]) and row["loads"] == "none"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # The sheets' formulas at one channel and two classes.
        ("resnet34_mlp", {"2d": 21_275_264 + 3_136 + 615_312 + 17 * 2}),
        ("deepmrseg", {"2d": 2_243_024}),
        ("mobilenetv2_unet", {"2d": 2_223_008 + 288 + 4_404_928 + 2 * 145, "3d": 15_564_002}),
        ("resnet50_unet", {"2d": 32_514_978, "3d": 73_190_754}),
        ("brainunet", {"3d": 23_016_732 + 896 + 33 * 2}),
    ],
)
def test_parameters_are_those_of_the_sheets(
    trainers: list[dict[str, Any]], name: str, parameters: dict[str, int]
) -> None:
    (row,) = (row for row in trainers if row["name"] == name)
    assert parameters.items() <= row["parameters"].items()


def test_imagenet_weights_are_named_where_an_encoder_is_a_classifier(trainers: list[dict[str, Any]]) -> None:
    of_imagenet = {row["name"]: row["fitting_weights"] for row in trainers if row["fitting_weights"]}
    assert set(of_imagenet) >= {
        "deeplabv3",
        "deeplabv3plus",
        "mobilenetv2_unet",
        "resnet34_mlp",
        "resnet50_unet",
        "unetplusplus",
    }
    for weights in of_imagenet.values():
        assert weights["source"].startswith("https://download.pytorch.org/models/") and weights["licence"]
    assert "MobileNet_V2" in of_imagenet["mobilenetv2_unet"]["name"]
    assert "ResNet50" in of_imagenet["resnet50_unet"]["name"]
    assert "ResNet34" in of_imagenet["resnet34_mlp"]["name"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_table_is_whole_at_any_width(trainers: list[dict[str, Any]], width: int) -> None:
    text = shown("trainers", trainers, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "256 x 256 and 128 x 128 x 128" in " ".join(lines[:2])
    assert "…" not in text
    firsts = [line.split()[0] for line in lines if line.strip()]
    for row in trainers:
        assert row["name"] in firsts
        assert all(word in text for word in row["paper"].split()[-1:])
    documented = [row["name"] for row in trainers if row["documented"]]
    assert [first for first in firsts if first in {row["name"] for row in trainers}][
        : len(documented)
    ] == documented


def test_the_other_families() -> None:
    rows = catalogue.entries("architectures")
    assert [row["name"] for row in rows] == list(plugins.available("architectures"))
    assert all(row["name"] in shown("architectures", rows, 80) for row in rows)
    assert "dice" in shown("metrics", catalogue.entries("metrics"), 80)
    assert "reference" not in catalogue.document("metrics")
    assert "autoseg-medical[cluster]" in shown("engines", catalogue.entries("engines"), 120)
    assert set(catalogue.document("engines")) == {"engines"}
    with pytest.raises(UsageError, match="Choose trainers, architectures, metrics, layouts, engines"):
        catalogue.entries("colours")


def test_reference_of_the_document() -> None:
    reference = catalogue.document("architectures")["reference"]
    assert reference == {"channels": 1, "classes": 2, "patch_size": {"2d": [256, 256], "3d": [128, 128, 128]}}


def test_counting_makes_no_weights() -> None:
    """Counted on the meta device, the parameters are those of the network itself."""
    trainer = plugins.trainer_class("brainunet")
    built = catalogue.build_network(trainer.architecture, 1, 2, reference_topology(2))
    counted = catalogue._parameters("brainunet", 2)
    assert counted == sum(parameter.numel() for parameter in built.parameters())
