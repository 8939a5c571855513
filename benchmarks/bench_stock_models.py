"""Models of stock nnU-Net, predicted by stock nnU-Net and by `autoseg predict`: the same labels.

    python benchmarks/bench_stock_models.py

Five model folders are made by stock planning, preprocessing and a few steps of stock training on generated
data: the plain U-Net in 3D with two folds, a residual encoder (ResEnc M) in 2D, regions, an ignore label, and
a cascade of low and full resolution. New cases are predicted by ``nnUNetv2_predict_from_modelfolder`` and by
autoseg in float32, each in processes of their own. Stock adds its windows up in half precision.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK as sitk
from _machine import machine, write_results
from _stock_models import PREDICT, Edit, StockHome
from bench_bundle import IN_FLOAT32, equal
from bench_bundle import run as run_measured

from autoseg.data.synthetic import make_demo
from autoseg.system.files import read_json, write_json

Row = dict[str, Any]
CASES, NEW = 8, 2


@dataclass(frozen=True)
class Recipe:
    """One of the models.

    Attributes:
        name: what it shows.
        number: of its data set.
        configuration: that is predicted.
        planner: nnU-Net's planner class.
        folds: trained.
        labels: of dataset.json; None: background, head and body.
        regions: the order of regions, where the labels are regions.
        edit: a change of the plans.
        longer: how many times as many steps it needs before it sees more than background.
    """

    name: str
    number: int
    configuration: str
    planner: str = "ExperimentPlanner"
    folds: tuple[int, ...] = (0,)
    labels: dict[str, Any] | None = None
    regions: tuple[int, ...] = ()
    edit: Edit | None = None
    longer: int = 1


def with_cascade(document: dict[str, Any]) -> None:
    """Add a low resolution and a second stage, which nnU-Net plans for larger images alone."""
    full = document["configurations"]["3d_fullres"]
    low = {**full, "spacing": [step * 1.5 for step in full["spacing"]]}
    low |= {"data_identifier": "nnUNetPlans_3d_lowres", "next_stage": "3d_cascade_fullres"}
    document["configurations"]["3d_lowres"] = low
    document["configurations"]["3d_cascade_fullres"] = {
        "inherits_from": "3d_fullres",
        "previous_stage": "3d_lowres",
    }


RECIPES = (
    Recipe("plain U-Net, 3D, two folds", 911, "3d_fullres", folds=(0, 1), longer=4),
    Recipe("ResEnc M, 2D", 912, "2d", planner="nnUNetPlannerResEncM"),
    Recipe(
        "regions",
        913,
        "3d_fullres",
        labels={"background": 0, "whole": [1, 2], "body": [2]},
        regions=(1, 2),
    ),
    Recipe("ignore label", 914, "2d", labels={"background": 0, "head": 1, "body": 2, "ignore": 3}),
    Recipe("cascade", 915, "3d_cascade_fullres", edit=with_cascade),
)


def data_set(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """A small generated data set, and a folder of new cases."""
    made, _ = make_demo(folder / f"demo_{recipe.number}", seed=recipe.number, cases=(CASES + NEW, 2))
    about = read_json(made / "dataset.json")
    raw = folder / "data" / f"Dataset{recipe.number}_Small"
    images = folder / "images" / raw.name
    for place in (raw / "imagesTr", raw / "labelsTr", images):
        place.mkdir(parents=True)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (made / "labelsTr").iterdir())
    for name in names[:CASES]:
        (raw / "imagesTr" / f"{name}_0000.nii.gz").symlink_to(made / "imagesTr" / f"{name}_0000.nii.gz")
        label = sitk.ReadImage(str(made / "labelsTr" / f"{name}.nii.gz"))
        array = sitk.GetArrayFromImage(label)
        if recipe.labels and "ignore" in recipe.labels:
            array[::4] = recipe.labels["ignore"]
        new = sitk.GetImageFromArray(array)
        new.CopyInformation(label)
        sitk.WriteImage(new, str(raw / "labelsTr" / f"{name}.nii.gz"))
    for name in names[CASES:]:
        (images / f"{name}_0000.nii.gz").symlink_to(made / "imagesTr" / f"{name}_0000.nii.gz")
    document = {
        "channel_names": about["channel_names"],
        "labels": recipe.labels or about["labels"],
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    if recipe.regions:
        document["regions_class_order"] = list(recipe.regions)
    write_json(raw / "dataset.json", document)
    return raw, images


def trained(recipe: Recipe, raw: Path, home: StockHome, steps: int) -> Path:
    """The model's folder, made by stock nnU-Net."""

    def edit(document: dict[str, Any]) -> None:
        for configuration in document["configurations"].values():
            configuration["batch_size"] = 2
        if recipe.edit is not None:
            recipe.edit(document)

    plans = home.plan(raw, recipe.planner, edit)
    cascade = recipe.configuration == "3d_cascade_fullres"
    home.preprocess(raw.name, plans, "3d_fullres" if cascade else recipe.configuration)
    if cascade:
        home.preprocess(raw.name, plans, "3d_lowres")
        home.train(raw.name, plans, "3d_lowres", steps)
        first_stage_of_references(raw, home, plans)
    for fold in recipe.folds:
        model = home.train(raw.name, plans, recipe.configuration, steps, fold)
    return model


def first_stage_of_references(raw: Path, home: StockHome, plans: str) -> None:
    """What the second stage learns from: references in place of the first stage's segmentations.

    nnU-Net takes those of all five folds, each of the cases that it held out; here one fold is trained.
    """
    first = home.folder / "results" / raw.name / f"nnUNetTrainer__{plans}__3d_lowres"
    target = first / "predicted_next_stage" / "3d_cascade_fullres"
    target.mkdir(parents=True, exist_ok=True)
    for path in (home.folder / "preprocessed" / raw.name / f"{plans}_3d_fullres").glob("*_seg.b2nd"):
        labels = np.maximum(blosc2.open(str(path), mode="r")[0], 0).astype(np.uint8)
        blosc2.asarray(labels, urlpath=str(target / path.name.replace("_seg.b2nd", ".b2nd")), mode="w")


def predicted(recipe: Recipe, model: Path, images: Path, home: StockHome) -> Row:
    """What both make of the new cases."""
    out = home.folder / "out" / str(recipe.number)
    options: list[object] = ["-device", "cpu", "-npp", 1, "-nps", 1, "--disable_progress_bar"]
    base = [sys.executable, "-c", PREDICT, "-i", images]
    if recipe.configuration == "3d_cascade_fullres":
        first = model.with_name(model.name.replace("3d_cascade_fullres", "3d_lowres"))
        home.run([*base, "-o", out / "first", "-m", first, "-f", 0, *options])
        for path in (out / "first").glob("*.json"):
            path.unlink()
        options += ["-prev_stage_predictions", out / "first"]
    home.run([*base, "-o", out / "stock", "-m", model, "-f", *recipe.folds, *options])
    run_measured([sys.executable, "-c", IN_FLOAT32, model, images, out / "ours"])
    for path in (out / "ours").glob("*.json"):
        path.unlink()
    same, foreground = equal(out / "ours", out / "stock")
    labels = [
        int(value)
        for value in np.unique(
            [sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (out / "ours").glob("*.nii.gz")]
        )
    ]
    return {
        "model": recipe.name,
        "folder": model.name,
        "equal": same,
        "foreground": foreground,
        "labels": labels,
    }


def rows(steps: int, work: Path, only: int | None) -> Iterator[Row]:
    """One model after the other; what an earlier call left in the folder is taken from there."""
    home = StockHome(work / "stock")
    for recipe in RECIPES:
        found = work / f"row_{recipe.number}.json"
        if not found.is_file() and only in (None, recipe.number):
            raw, images = data_set(recipe, work)
            took = steps * recipe.longer
            model = trained(recipe, raw, home, took)
            write_json(found, {**predicted(recipe, model, images, home), "steps": took})
        if only in (None, recipe.number):
            yield read_json(found)


def text(found: Sequence[Row]) -> str:
    """What was found, as Markdown."""
    lines = [
        "# Models of stock nnU-Net",
        "",
        f"Made by stock nnU-Net in a few training steps on {CASES} generated cases, predicted by it and by",
        f"`autoseg predict`, {NEW} new cases each, mirroring on, float32. The cascade's second stage learns",
        "from references in place of a first stage's segmentations; at prediction each program runs both.",
        "",
        "| model | folder | steps | labels equal | foreground | labels predicted |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        cells = [
            row["model"],
            f"`{row['folder']}`",
            str(row["steps"]),
            f"{100 * row['equal']:.4f} %",
            f"{100 * row['foreground']:.1f} %",
            ", ".join(map(str, row["labels"])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the models, predict, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--work", type=Path, help="folder to work in; a temporary one by default")
    parser.add_argument("--only", type=int, help="number of the one data set to do; nothing is written")
    given = parser.parse_args()
    where = machine(packages=("torch", "nnunetv2"))
    with tempfile.TemporaryDirectory() as temporary:
        found = []
        for row in rows(given.steps, given.work or Path(temporary), given.only):
            print(row, flush=True)
            found.append(row)
            if given.only is None:
                write_results("stock_models", where, found, text(found))


if __name__ == "__main__":
    main()
