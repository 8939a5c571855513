"""Foreign layouts, built out of real data sets in nnU-Net's layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image


def make_decathlon(raw: Path, folder: Path, cases: int, tests: int = 0) -> Path:
    """A raw data set of volumes as the Decathlon writes one: the channels of a case in one 4D file."""
    about = json.loads((raw / "dataset.json").read_text())
    channels = len(about["channel_names"])
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    training, test = [], []
    for number, label in enumerate(sorted((raw / "labelsTr").glob("*.nii.gz"))[: cases + tests]):
        files = [
            raw / "imagesTr" / label.name.replace(".nii.gz", f"_{c:04d}.nii.gz") for c in range(channels)
        ]
        part = "imagesTr" if number < cases else "imagesTs"
        target = folder / part / label.name
        if channels == 1:
            shutil.copyfile(files[0], target)
        else:
            sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(file)) for file in files]), str(target))
        # What a Mac leaves on a foreign disk.
        target.with_name(f"._{target.name}").write_bytes(b"\0\5\x16\7")
        if part == "imagesTs":
            test.append(f"./imagesTs/{label.name}")
            continue
        shutil.copyfile(label, folder / "labelsTr" / label.name)
        training.append({"image": f"./imagesTr/{label.name}", "label": f"./labelsTr/{label.name}"})
    content = {
        "name": raw.name,
        "licence": "CC-BY-SA 4.0",
        "tensorImageSize": "4D" if channels > 1 else "3D",
        "modality": about["channel_names"],
        "labels": {str(value): name for name, value in about["labels"].items()},
        "numTraining": len(training),
        "training": training,
        "test": test,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def make_pairs(raw: Path, folder: Path, cases: int, white: int = 255) -> Path:
    """A raw data set of pictures as folders of images and of masks in black and white."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    if (raw / "cases.csv").is_file():
        shutil.copyfile(raw / "cases.csv", folder / "cases.csv")
    for label in sorted((raw / "labelsTr").glob("*.png"))[:cases]:
        shutil.copyfile(raw / "imagesTr" / f"{label.stem}_0000.png", folder / "images" / label.name)
        mask = np.array(Image.open(label)) * np.uint8(white)
        Image.fromarray(mask).save(folder / "masks" / f"{label.stem}_mask.png")
    return folder


def make_bids(stroke: Path, folder: Path) -> Path:
    """The stroke case as the data set it comes from has it."""
    name = "sub-strokecase0009_ses-0001"
    places = {"adc": "dwi", "flair": "anat"}
    for suffix, kind in places.items():
        place = folder / "sub-strokecase0009" / "ses-0001" / kind
        place.mkdir(parents=True)
        shutil.copyfile(stroke / f"{name}_{suffix}.nii.gz", place / f"{name}_{suffix}.nii.gz")
    place = folder / "derivatives" / "sub-strokecase0009" / "ses-0001"
    place.mkdir(parents=True)
    shutil.copyfile(stroke / f"{name}_msk.nii.gz", place / f"{name}_msk.nii.gz")
    return folder


def state_of(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """Everything in a folder: names, sizes, times, contents."""
    return [
        (str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
