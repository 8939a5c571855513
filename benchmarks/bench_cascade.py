"""A cascade on real data: trained, and predicted by stock nnU-Net, by `autoseg predict` and by its bundle.

    OMP_NUM_THREADS=1 python benchmarks/bench_cascade.py --data DATA --work FOLDER [--steps 300]

Hippocampi fit into one patch; so the planner is given a memory in which a patch sees a small part of a case.
Both stages are trained for the same number of steps, the first one on every fold. Stock nnU-Net predicts both
exported stages of new cases, one after the other, and autoseg does the same from the trained folder. Where
they differ it is asked how sure the network was: by the difference of its two largest logits.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import bench_bundle
import numpy as np
import torch
from _machine import HERE, commit, machine, write_results
from bench_bundle import some_cases

sys.path.insert(0, str(HERE.parent / "tests"))
from stock_nnunet import stock_segmentation

from autoseg.bundle.segment import Segmenter
from autoseg.data.readers import read_images, read_segmentation
from autoseg.export import export_bundle, export_nnunet
from autoseg.inference.model import Model, load_model
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.walk import plan_and_train
from autoseg.planner import presets
from autoseg.preprocessing.restore import restore_probabilities
from autoseg.system.device import FLOAT32
from autoseg.system.files import read_json, write_json
from autoseg.workspace import Workspace

Row = dict[str, Any]
NAME = "Dataset004_Hippocampus"
TRAINED, NEW = 40, 10
# Of the memory that the published rules have at hand, for a patch of a quarter of a case.
LESS_MEMORY = 400
STAGES = ("3d_lowres", "3d_cascade_fullres")


def trained(raw: Path, work: Path, steps: int) -> tuple[Path, Row]:
    """The folder of the second stage, and what its row says."""
    usual = presets.PRESETS["nnunet"]
    presets.PRESETS["nnunet"] = dataclasses.replace(usual, reference_3d=usual.reference_3d // LESS_MEMORY)
    settings = Settings(
        ("nnunet",), (0,), configuration=STAGES[1], steps=steps, small=True, workers=1, device="cpu"
    )
    (record,) = plan_and_train(raw, Workspace.locate(work / "workspace"), settings).records
    (model,) = (work / "workspace" / "results" / raw.name).glob(f"*__{STAGES[1]}")
    found = {
        "status": record.status,
        "steps": record.cost.training_steps,
        "dice": record.quality["dice"].value,
    }
    return model, found


def compared(loaded: Model, exported: Path, image: Path, label: Path) -> Row:
    """Equal voxels of one case: of the first stage, of both, and of the second after the same first."""
    low, full = (next(exported.glob(f"nnUNetTrainer__*__{name}")) for name in STAGES)
    raw, truth = read_images([image], loaded.reader), read_segmentation(label, loaded.reader).array[0]
    first_stage = loaded.previous
    assert first_stage is not None
    our_first = first_stage.segment(*first_stage.preprocess(raw))
    ours = loaded.segment(*loaded.preprocess(raw))
    first = stock_segmentation(low, raw)
    end_to_end = stock_segmentation(full, raw, first)
    same_first = stock_segmentation(full, raw, our_first)
    margins = _margins(loaded, raw)
    differs = ours != same_first
    return {
        "case": image.name,
        "first": float(np.mean(our_first == first)),
        "end_to_end": float(np.mean(ours == end_to_end)),
        "same_first": float(np.mean(~differs)),
        "foreground": float(np.mean(ours > 0)),
        "dice": {"autoseg": _dice(ours, truth), "nnU-Net": _dice(end_to_end, truth)},
        "voxels": int(differs.size),
        "differing": int(differs.sum()),
        "margins_where_they_differ": [float(each) for each in margins[differs]],
        "share_of_voxels_as_unsure": float(np.mean(margins <= margins[differs].max(initial=0.0))),
    }


def bundled(whole: Model, bundle: Segmenter, image: Path) -> float:
    """Equal voxels of the bundle and the model, with all folds of the first stage."""
    raw = read_images([image], whole.reader)
    return float(np.mean(bundle.segment_image(raw) == whole.segment_image(raw)))


def _margins(loaded: Model, raw: Any) -> Any:
    """The difference of the two largest logits of each voxel, (z, y, x), on the image's grid."""
    data, properties = loaded.preprocess(raw)
    logits = loaded.logits(data).numpy()
    whole = restore_probabilities(logits, properties, loaded.plan, loaded.configuration)
    second, first = np.sort(whole, axis=0)[-2:]
    return first - second


def _dice(one: Any, other: Any) -> float:
    values = [value for value in np.unique(other) if value]
    found = [
        2 * int(np.sum((one == v) & (other == v))) / max(1, int(np.sum(one == v)) + int(np.sum(other == v)))
        for v in values
    ]
    return float(np.mean(found))


def text(row: Row) -> str:
    """What was measured, as Markdown."""
    plan, cases = row["plan"], row["cases"]
    differing, voxels = (sum(each[name] for each in cases) for name in ("differing", "voxels"))
    margins = np.array([m for each in cases for m in each["margins_where_they_differ"]] or [0.0])
    patches = "; ".join(
        f"{name} {'x'.join(map(str, plan[name]['patch']))} at {plan[name]['spacing'][0]:.2f} mm"
        for name in STAGES
    )
    lines = [
        "# A cascade on real data",
        "",
        f"{NAME}, {TRAINED} cases, {row['steps']} steps a training, fold 0 reported:",
        f"{row['row']['steps']} steps in all, status {row['row']['status']}, Dice {row['row']['dice']:.3f}.",
        f"Patches: {patches}. {len(cases)} new cases, without mirrored copies, float32,",
        "by autoseg from the trained folder and by stock nnU-Net from the exported one.",
        "",
        "| case | first stage equal | both stages equal | second equal, after the same first | foreground "
        "| Dice, autoseg | Dice, nnU-Net |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in cases:
        shares = (each["first"], each["end_to_end"], each["same_first"])
        cells = [each["case"], *(f"{100 * share:.3f} %" for share in shares), f"{each['foreground']:.1%}"]
        cells += [f"{each['dice'][who]:.3f}" for who in ("autoseg", "nnU-Net")]
        lines.append(f"| {' | '.join(cells)} |")
    means = [float(np.mean([each[name] for each in cases])) for name in ("first", "end_to_end", "same_first")]
    scores = [float(np.mean([each["dice"][who] for each in cases])) for who in ("autoseg", "nnU-Net")]
    cells = ["mean", *(f"{100 * each:.3f} %" for each in means), "", *(f"{each:.3f}" for each in scores)]
    same = [each["bundle"] for each in cases]
    unsure = float(np.mean([each["share_of_voxels_as_unsure"] for each in cases]))
    return "\n".join(
        [
            *lines,
            f"| {' | '.join(cells)} |",
            "",
            f"After the same first stage {differing} of {voxels} voxels differ. There the two largest",
            f"logits are {np.median(margins):.4f} apart in the median and {margins.max():.4f} at most; stock",
            f"adds its windows up in half precision. {unsure:.2%} of all voxels are as unsure as the surest",
            "of them.",
            "",
            f"The bundle of both stages, with all {row['first_folds']} folds of the first, in onnxruntime:",
            f"labels equal to the model's in {100 * np.mean(same):.4f} % of the voxels,",
            f"{100 * min(same):.4f} % in the worst case.",
        ]
    )


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder to work in")
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    os.environ[FLOAT32] = "1"  # as stock computes
    torch.set_num_threads(1)
    where = machine(packages=("torch", "nnunetv2"))
    bench_bundle.TRAINED, bench_bundle.PREDICTED = TRAINED, NEW
    raw, images = some_cases(given.data / NAME, given.work)
    model, row = trained(raw, given.work, given.steps)
    exported = given.work / "exported"
    if not exported.is_dir():
        export_nnunet(model, exported)
    bundle = given.work / "bundle"
    if not bundle.is_dir():
        export_bundle(model, bundle)
    whole = load_model(model, device="cpu", mirroring=False)
    bundle_of_it = Segmenter.load(bundle, threads=1, mirroring=False)
    assert whole.previous is not None
    loaded = load_model(model, [0], "cpu", mirroring=False)
    # Of the first stage stock has one fold; autoseg averages all of its folds by itself.
    loaded.previous = load_model(loaded.folders[1], [0], "cpu", mirroring=False)
    known = read_json(model / "plans.json")["configurations"]
    plan = {
        name: {"patch": known[name]["patch_size"], "spacing": known[name]["spacing"]} for name in STAGES[:1]
    }
    plan[STAGES[1]] = {
        "patch": list(loaded.configuration.patch_size),
        "spacing": list(loaded.configuration.spacing),
    }
    cases = []
    for image in sorted(images.iterdir()):
        label = given.data / NAME / "labelsTr" / image.name.replace("_0000", "")
        equal = bundled(whole, bundle_of_it, image)
        cases.append({**compared(loaded, exported, image, label), "bundle": equal})
        print(cases[-1]["case"], cases[-1]["end_to_end"], flush=True)
    found = {"steps": given.steps, "row": row, "plan": plan, "cases": cases, "commit": commit()}
    found["first_folds"] = len(whole.previous.networks)
    write_json(given.work / "cascade.json", found)
    write_results("cascade", where, found, text(found))
    print(text(found))


if __name__ == "__main__":
    main()
