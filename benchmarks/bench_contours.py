"""Contours to voxels: the filling used here beside that of two kept libraries, on masks of known truth.

    python benchmarks/bench_contours.py

A mask with a hole, an island in the hole and a second part is drawn as contours, in two ways that programs
have: along the borders between voxels, and through the centres of the border voxels. The contours are written
as RTSTRUCT on an axial, sagittal, oblique and tilted series and read back by `autoseg.data.dicom`, by
pydicomrt and by DicomRTTool, which are installed for this alone. Counted are the voxels that differ from the
mask. Results: benchmarks/results/contours.md and .json.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results
from skimage.measure import find_contours

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_files import AXIAL, position, volume, write_series
from dicom_labels import write_rtstruct

from autoseg.data.dicom import Drawing, draw, find_volumes
from autoseg.data.dicom.drawing import Part
from autoseg.data.dicom.regular import onto_source

SHAPE, SPACING, STEP, ORIGIN = (8, 24, 20), (0.8, 1.2), 2.0, (-10.0, -20.0, 30.0)
_A, _B = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
PLANES: dict[str, tuple[tuple[float, ...], float]] = {
    "axial": (AXIAL, 0.0),
    "sagittal": ((0.0, 1.0, 0.0, 0.0, 0.0, -1.0), 0.0),
    "oblique": ((_A, _B, 0.0, -_B * _A, _A * _A, _B), 0.0),
    "tilted gantry": (AXIAL, 0.5),
}


def mask() -> np.ndarray:
    """A ring, an island in its hole, and a part of its own: slices, rows, columns."""
    found = np.zeros(SHAPE, bool)
    found[2:6, 2:20, 2:18] = True
    found[2:6, 5:17, 5:15] = False
    found[2:6, 8:13, 8:12] = True
    found[4, 21:23, 2:5] = True
    return found


def between(plane: np.ndarray) -> list[np.ndarray]:
    """Borders halfway between voxels: rows, columns."""
    return [points - 1 for points in find_contours(np.pad(plane.astype(float), 1), 0.5)]


def through(plane: np.ndarray) -> list[np.ndarray]:
    """Borders through the centres of the outermost voxels that belong to the mask."""
    import cv2

    found, _ = cv2.findContours(plane.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0, ::-1].astype(float) for contour in found if len(contour) > 2]


def places(cosines: tuple[float, ...], tilt: float) -> list[np.ndarray]:
    """Where each slice begins."""
    column = np.array(cosines[3:])
    return [np.array(position(k, STEP, cosines, ORIGIN)) + tilt * k * column for k in range(SHAPE[0])]


def by_autoseg(series: list[Path], structure: Path) -> np.ndarray:
    """In the order of the files."""
    found = find_volumes([*series, structure])
    (stack,), (label,) = found.stacks, found.segmentations
    array = onto_source(draw(Drawing(stack, (Part(label, ((1, 1),)),))).array, stack.placing, *SHAPE[1:])
    order = [stack.files.index(path) for path in series]
    return array[order] != 0


def by_pydicomrt(series: list[Path], structure: Path) -> np.ndarray:
    """As its documentation has it."""
    import pydicom
    from pydicomrt.rs.rs_to_volume import calc_image_series_affine_mapping, rtstruct_to_masks

    affine, shape = calc_image_series_affine_mapping([pydicom.dcmread(path) for path in series])
    masks = rtstruct_to_masks(pydicom.dcmread(structure), affine, shape)
    return np.asarray(masks["organ"]["mask_volume"]) != 0


def by_dicomrttool(series: list[Path], structure: Path) -> np.ndarray:
    """As its documentation has it; its slices follow its own image."""
    from DicomRTTool import DicomReaderWriter

    reader = DicomReaderWriter(Contour_Names=["organ"], verbose=False)
    reader.walk_through_folders(str(structure.parent))
    reader.get_images_and_mask()
    found = np.asarray(reader.mask) != 0
    first = reader.dicom_handle.TransformIndexToPhysicalPoint((0, 0, 0))
    import pydicom

    starts = [np.array(pydicom.dcmread(path).ImagePositionPatient, float) for path in series]
    forward = np.linalg.norm(starts[0] - first) < np.linalg.norm(starts[-1] - first)
    return found if forward else found[::-1]


READERS: dict[str, Callable[[list[Path], Path], np.ndarray]] = {
    "autoseg": by_autoseg,
    "pydicomrt": by_pydicomrt,
    "DicomRTTool": by_dicomrttool,
}


def tried(plane: str, style: Callable[[np.ndarray], list[np.ndarray]], reader: str) -> str | int:
    """How many voxels differ, or what the reader failed with."""
    cosines, tilt = PLANES[plane]
    starts, wanted = places(cosines, tilt), mask()
    row, column = np.reshape(cosines, (2, 3))
    contours = [
        starts[k] + np.outer(points[:, 1] * SPACING[1], row) + np.outer(points[:, 0] * SPACING[0], column)
        for k, part in enumerate(wanted)
        for points in style(part)
    ]
    with tempfile.TemporaryDirectory() as folder:
        series = write_series(
            Path(folder),
            volume(shape=SHAPE),
            positions=[list(s) for s in starts],
            cosines=cosines,
            spacing=SPACING,
        )
        structure = write_rtstruct(Path(folder) / "structure", series[0], {"organ": contours}, images=series)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                found = READERS[reader](series, structure)
        except Exception as problem:  # what a library stumbles over is a result here
            return type(problem).__name__
    return int((found != wanted).sum()) if found.shape == wanted.shape else f"shape {found.shape}"


def main() -> None:
    """Try everything and write the results."""
    where = machine(packages=("pydicom", "scikit-image", "pydicomrt", "DicomRTTool", "opencv-python"))
    rows: list[dict[str, Any]] = []
    for plane in PLANES:
        for name, style in (("between voxels", between), ("through voxels", through)):
            counts = {reader: tried(plane, style, reader) for reader in READERS}
            rows.append({"series": plane, "contours": name, **counts})
            print(rows[-1], flush=True)
    write_results("contours", where, rows, _page(rows, where))


def _page(rows: list[dict[str, Any]], where: dict[str, Any]) -> str:
    lines = [
        "# Contours to voxels",
        "",
        f"`{where['command']}`, commit {where['commit']}, {where['date']}. Voxels that differ from the mask "
        f"that the contours were drawn from, of {int(mask().sum())} in it: a ring, an island in its hole, a "
        f"part of its "
        f"own. Words are errors.",
        "",
        f"| series | contours run | {' | '.join(READERS)} |",
        f"|---|---|{'---|' * len(READERS)}",
        *(
            f"| {row['series']} | {row['contours']} | {' | '.join(str(row[reader]) for reader in READERS)} |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
