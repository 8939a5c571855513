"""Seeded short-axis hearts: a ring of muscle around the left cavity, the right one beside it; thick slices.

80 volumes of 40 patients, each at the end of the filling and of the contraction, 10 slices of 10 mm with
256 x 224 pixels of 1.5 mm. Breath-holds differ from slice to slice, so that neighbours are shifted; fat,
liver and lung lie around, as bright as what is to be found. Both cavities are equally bright.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

NAME = "Dataset915_Hearts"
SHAPE, SPACING = (10, 256, 224), (1.5, 1.5, 10.0)
LABELS = {"background": 0, "left cavity": 1, "muscle": 2, "right cavity": 3}


def write_hearts(root: Path, patients: int = 40, seed: int = 5) -> Path:
    """Write the raw data set below a folder; what is there with the same parameters stays.

    Returns:
        Its folder.
    """
    import SimpleITK as sitk

    folder = root / NAME
    about = {
        "channel_names": {"0": "cine MRI"},
        "labels": LABELS,
        "numTraining": 2 * patients,
        "file_ending": ".nii.gz",
        "seed": seed,
    }
    path = folder / "dataset.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == about:
        return folder
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    groups = ["case,group"]
    for patient in range(patients):
        for phase, name in enumerate(("filled", "contracted")):
            case = f"heart_{patient:03d}_{name}"
            body, rest = (np.random.default_rng(each) for each in ((seed, patient), (seed, patient, phase)))
            for array, file in zip(
                heart(body, rest, phase),
                (f"imagesTr/{case}_0000.nii.gz", f"labelsTr/{case}.nii.gz"),
                strict=True,
            ):
                image = sitk.GetImageFromArray(array)
                image.SetSpacing(SPACING)
                sitk.WriteImage(image, str(folder / file), True)
            groups.append(f"{case},patient_{patient:03d}")
    (folder / "groups.csv").write_text("\n".join(groups) + "\n", encoding="utf-8")
    path.write_text(json.dumps(about, indent=2), encoding="utf-8")
    return folder


def heart(body: np.random.Generator, rest: np.random.Generator, phase: int) -> tuple[Any, Any]:
    """Image (10, 256, 224), int16, and label, uint8.

    Args:
        body: draws what a patient's two volumes share.
        rest: draws what they do not.
        phase: 0 filled, 1 contracted.
    """
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in SHAPE), indexing="ij")
    place = np.array(SHAPE[1:]) / 2 + body.uniform(-18, 18, 2)
    outer = body.uniform(20, 26) - 2 * phase
    wall = body.uniform(5.5, 7.5) + 3 * phase
    beside, turn = body.uniform(15, 20), body.uniform(-0.6, 0.6)
    brightness = body.uniform(0.85, 1.15)
    tissue = _body(body, y, x)
    # From the valves to the tip it gets narrower.
    depth = np.clip((z - 0.5) / 8.5, 0, 1)
    size = np.sqrt(np.clip(1.02 - (0.85 * depth) ** 2, 0.02, 1))
    shift = rest.normal(0, 1.5, (2, SHAPE[0]))[:, :, None, None]
    dy, dx = y - place[0] - shift[0] - 8 * depth, x - place[1] - shift[1] + 6 * depth
    radius = np.hypot(dy, 1.08 * dx) / size
    label = np.zeros(SHAPE, np.uint8)
    inside = (z > 0) & (z < 9)
    along, across = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    right = np.hypot((along + beside * size) / 0.85, across / 1.15) / size < outer
    label[inside & right & (radius >= outer) & (depth < 0.8)] = 3
    label[inside & (radius < outer)] = 2
    label[inside & (radius < outer - wall)] = 1
    image = tissue + np.select([label == 1, label == 2, label == 3], [260.0, 95.0, 255.0], 0.0)
    image = np.where(label > 0, image - tissue, tissue) * brightness
    # Muscles inside the cavity are dark and belong to it.
    for angle in body.uniform(0, 2 * np.pi, 2):
        spot = np.hypot(dy - 8 * np.sin(angle), dx - 8 * np.cos(angle))
        image = np.where((spot < 3.2) & (label == 1), 140.0, image)
    image *= 1 + 0.25 * np.sin(x / 70 + body.uniform(0, 6)) * np.cos(y / 90 + body.uniform(0, 6))
    image = np.hypot(image + rest.normal(0, 16, SHAPE), rest.normal(0, 16, SHAPE))
    return image.astype(np.int16), label


def _body(random: np.random.Generator, y: Any, x: Any) -> Any:
    """Chest, lungs, liver, fat and vessels, (10, 256, 224)."""
    tissue = np.where(np.hypot((y - 128) / 118, (x - 112) / 104) < 1, 110.0, 10.0)
    for place, radii in (((100, 50), (55, 34)), ((105, 180), (60, 30))):
        lung = np.hypot((y - place[0]) / radii[0], (x - place[1]) / radii[1]) < 1
        tissue = np.where(lung, 30.0, tissue)
    liver = np.hypot((y - 205) / 40, (x - 70) / 60) < 1
    tissue = np.where(liver, 130.0, tissue)
    for _ in range(7):
        place, radius = (random.uniform(40, 220), random.uniform(30, 195)), random.uniform(4, 13)
        vessel = np.hypot(y - place[0], x - place[1]) < radius
        tissue = np.where(vessel, random.uniform(200, 280), tissue)
    return tissue
