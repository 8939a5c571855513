"""The commands that are killed: what each starts from, and which of its files have to be equal."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import _edge_bases as bases
import SimpleITK as sitk
from _kill_process import run
from _machine import HERE
from PIL import Image

from autoseg.planner import presets

sys.path.insert(0, str(HERE.parent / "tests"))
from dicom_series import write_series

ONE = ["--workers=1", "--quiet"]
REFERENCE_OF_CASCADE = presets.PRESETS["nnunet"].reference_3d // 300


def command_of(name: str, folder: Path) -> list[str]:
    """Write what a command starts from into an empty folder; give the command."""
    workspace = bases.walked(folder)
    model = workspace / "results" / "Dataset905_Discs" / bases.RUN
    if name in NEW:
        return _new_command(name, folder, model)
    if name in LATEST:
        return _latest_command(name, folder, model)
    if name in ("import", "preprocess", "verify", "train"):
        root = bases.dataset(folder / "source") if name == "import" else bases.pictures(folder)
    if name == "import":
        return ["import", str(root), "--name=Again", *ONE]
    if name == "preprocess":
        return ["preprocess", str(root), *ONE]
    if name == "predict":
        return ["predict", str(model), str(workspace / "new"), str(folder / "out"), "--device=cpu", "--quiet"]
    if name == "export":
        return ["export", str(model), str(folder / "out" / "model"), "--to=nnunet", "--quiet"]
    if name == "leaderboard":
        out = folder / "out"
        files = [f"--csv={out}/rows.csv", f"--html={out}/rows.html", f"--export={out}/rows.jsonl"]
        return ["leaderboard", "Dataset905_Discs", *files, "--quiet"]
    length = ["--steps=20", "--small", "--folds=0", "--trainers=nnunet", "--device=cpu", "--memory=4GB"]
    return ["plan-and-train", str(root), *length, *ONE]


NEW = ("dicom-seg", "validate", "review", "fix", "quality", "untrusted")
LATEST = ("rtstruct", "dicom", "serve", "calibrate", "postprocess", "web", "cascade")


def _new_command(name: str, folder: Path, model: Path) -> list[str]:
    """The same for what came later."""
    device = ["--device=cpu", "--quiet"]
    if name == "dicom-seg":
        model = Path(shutil.copytree(_volume_model(), folder / "model"))
        write_series(folder / "source", modality="MR")
        to = ["--to=dicom-seg", *device]
        return ["predict", str(model), str(folder / "source"), str(folder / "out"), *to]
    if name == "validate":
        elsewhere = folder / "source" / "Dataset906_Elsewhere"
        shutil.copytree(folder / "workspace" / "raw" / "Dataset905_Discs", elsewhere)
        for path in (elsewhere / "imagesTr").iterdir():
            picture = Image.open(path)
            picture.point(lambda value: value // 2 + 9).save(path)
        return ["validate", str(model), str(elsewhere), *device]
    if name == "review":
        return ["review", "Dataset905_Discs", f"--model={model}", "--workers=1", *device]
    if name == "quality":
        return ["quality", str(model), "--workers=1", *device]
    root = bases.dataset(folder / "source")
    if name == "untrusted":
        return ["import", str(root), "--name=Again", "--untrusted", *ONE]
    for path in (root / "labelsTr").iterdir():  # what is mended: labels of 255, not 1
        label = sitk.ReadImage(str(path))
        sitk.WriteImage(label * 255, str(path))
    return ["verify", str(root), f"--fix={folder / 'out' / 'Dataset502_Mended'}", *ONE]


def _latest_command(name: str, folder: Path, model: Path) -> list[str]:
    """The same for what came last."""
    device = ["--device=cpu", "--quiet"]
    if name == "rtstruct":
        made = _new_command("dicom-seg", folder, model)
        return [word.replace("--to=dicom-seg", "--to=rtstruct") for word in made]
    if name == "dicom":
        return _of_dicom(folder / "source")
    if name == "cascade":
        return _of_cascade(folder)
    if name == "serve":
        shutil.copytree(folder / "workspace" / "new", folder / "drops")
        places = [str(folder / "drops"), str(folder / "out")]
        return ["serve", str(model), "--watch", *places, "--once", "--settle=0", *device]
    if name == "postprocess":
        return ["postprocess", "Dataset905_Discs", str(model), "--quiet"]
    if name == "web":
        return ["export", str(model), str(folder / "out" / "web"), "--to=web", "--quiet"]
    return ["calibrate", str(model), "--workers=1", *device]


def _of_cascade(folder: Path) -> list[str]:
    """Volumes larger than a patch, of which both stages are trained."""
    usual = presets.PRESETS["nnunet"]
    small = dataclasses.replace(usual, reference_3d=min(usual.reference_3d, REFERENCE_OF_CASCADE))
    presets.PRESETS["nnunet"] = small  # commands are forked: they find it
    root = bases.dataset(folder / "source")
    for seed, case in enumerate(bases.CASES):
        for path, voxels in zip(
            (f"imagesTr/{case}_0000", f"labelsTr/{case}"), bases.volume(seed, 48), strict=True
        ):
            sitk.WriteImage(sitk.GetImageFromArray(voxels), str(root / f"{path}.nii.gz"))
    length = ["--steps=6", "--small", "--folds=0", "--trainers=nnunet", "--configuration=3d_cascade_fullres"]
    return ["plan-and-train", str(root), *length, "--device=cpu", "--memory=4GB", *ONE]


def _of_dicom(source: Path) -> list[str]:
    """Two series with a label each, to be imported."""
    for case in ("p1", "p2"):
        write_series(source / "series" / case, modality="MR")
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source / "series" / case)))
        (source / "series" / "labels").mkdir(exist_ok=True)
        label = sitk.Cast(reader.Execute() > 200, sitk.sitkUInt8)
        sitk.WriteImage(label, str(source / "series" / "labels" / f"{case}.nii.gz"))
    names = ["--labels=bone=1", "--option=names=folders"]
    return ["import", str(source / "series"), "--name=Again", *names, *ONE]


@cache
def _volume_model() -> Path:
    """A model of volumes, trained for two steps: results of a DICOM series need a place in the patient."""
    folder = Path(tempfile.mkdtemp(prefix="kills_model_"))
    root = bases.dataset(folder)
    length = ["--steps=2", "--small", "--folds=0", "--trainers=nnunet", "--configuration=3d_fullres"]
    command = ["plan-and-train", str(root), *length, "--device=cpu", "--memory=4GB", *ONE]
    status, _ = run(command, folder, None)
    if status != 0:
        raise RuntimeError(f"the model was not trained: {(folder / 'log').read_text()[-500:]}")
    (checkpoint,) = (folder / "workspace" / "results").glob("*/*/fold_0/checkpoint_final.pth")
    return checkpoint.parents[1]


COMMANDS = ("import", "preprocess", "predict", "export", "leaderboard", "train", *NEW, *LATEST)
# Of these the files are compared with those of a run to the end; times stand in all others.
COMPARED: dict[str, tuple[str, ...]] = {
    "import": ("workspace/raw/*/*/*", "workspace/raw/*/dataset.json"),
    "preprocess": ("workspace/preprocessed/Dataset501_Base/**/*.b2nd",),
    "predict": ("out/*.png",),
    "export": ("out/model/**/plans.json", "out/model/**/*.pth"),
    "leaderboard": ("out/rows.csv", "out/rows.jsonl"),
    "train": ("workspace/preprocessed/Dataset501_Base/**/*.b2nd",),
    "dicom-seg": ("out/*.dcm",),
    "validate": ("workspace/results/Dataset906_Elsewhere/**/*.png",),
    "review": ("workspace/results/Dataset905_Discs/**/label_review.csv",),
    "fix": ("out/*/*/*", "out/*/dataset.json"),
    "quality": ("workspace/results/Dataset905_Discs/*/quality.json",),
    "rtstruct": ("out/*.dcm",),
    "dicom": ("workspace/raw/Dataset*_Again/*/*", "workspace/raw/Dataset*_Again/dataset.json"),
    "serve": ("out/*/*.png",),
    "calibrate": ("workspace/results/Dataset905_Discs/*/decoding.json",),
    "postprocess": ("workspace/results/Dataset905_Discs/*/postprocessing.json",),
    "web": ("out/web/**/*",),
    "cascade": (
        "workspace/preprocessed/Dataset501_Base/**/*.b2nd",
        "workspace/results/Dataset501_Base/*/predicted_next_stage/*/*.b2nd",
        "workspace/results/Dataset501_Base/*/fold_*/validation/*.nii.gz",
    ),
    "untrusted": ("workspace/raw/Dataset*_Again/*/*", "workspace/raw/Dataset*_Again/dataset.json"),
}


def compared(path: Path) -> bytes:
    """What has to be equal: of a DICOM object, which says when it was made, the voxels and their places."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    import pydicom

    found = pydicom.dcmread(path)
    if "ROIContourSequence" in found:
        return str(found.ROIContourSequence).encode()
    return found.PixelData + str(found.PerFrameFunctionalGroupsSequence).encode()
