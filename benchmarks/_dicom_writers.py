"""Masks to RTSTRUCT with kept libraries, to compare what they write with what is written here."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_series import Series

Masks = dict[str, np.ndarray]


def rt_utils(series: Series, masks: Masks, folder: Path) -> Path:
    from rt_utils import RTStructBuilder

    made = RTStructBuilder.create_new(str(series.folder))
    for name, mask in masks.items():
        made.add_roi(mask=np.moveaxis(mask, 0, -1).copy(), name=name)
    made.save(str(folder / "rt_utils.dcm"))
    return folder / "rt_utils.dcm"


def _pydicomrt(contour_config: dict[str, int] | None) -> Callable[[Series, Masks, Path], Path]:
    def write(series: Series, masks: Masks, folder: Path) -> Path:
        from pydicomrt.rs.builder import RTStructBuilder

        read = [pydicom.dcmread(path) for path in series.folder.iterdir()]
        by_uid = {str(each.SOPInstanceUID): each for each in read}
        made = RTStructBuilder([by_uid[uid] for uid, _ in series.uids])
        for name, mask in masks.items():
            made.add_roi(mask=mask, name=name, contour_config=contour_config)
        made.build().save_as(folder / "pydicomrt.dcm", enforce_file_format=True)
        return folder / "pydicomrt.dcm"

    return write


def dicomrttool(series: Series, masks: Masks, folder: Path) -> Path:
    from DicomRTTool.ReaderWriter import DicomReaderWriter

    reader = DicomReaderWriter()
    reader.walk_through_folders(str(series.folder))
    reader.get_images()
    background = ~np.logical_or.reduce(list(masks.values()))
    array = np.stack([background, *masks.values()], axis=-1).astype(int)
    reader.prediction_array_to_RT(array, str(folder / "tool"), list(masks))
    return next((folder / "tool").glob("*.dcm"))


_ALL = {"ex_noise_size": 0, "in_noise_size": 0, "lowpass_ratio": 100, "ctr_precision": 8}
# As called first; then told to leave out nothing and to smooth nothing.
LIBRARIES: dict[str, tuple[str, Callable[[Series, Masks, Path], Path]]] = {
    "rt-utils": ("rt_utils", rt_utils),
    "pydicomrt": ("pydicomrt", _pydicomrt(None)),
    "pydicomrt, without smoothing": ("pydicomrt", _pydicomrt(_ALL)),
    "DicomRTTool": ("DicomRTTool", dicomrttool),
}


def written(name: str, series: Series, masks: Masks, folder: Path) -> Path | str:
    """The file that a library makes; in words why there is none."""
    module, write = LIBRARIES[name]
    try:
        __import__(module)
    except ImportError:
        return "not installed"
    folder.mkdir(parents=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return write(series, masks, folder)
        except Exception as problem:  # whatever a foreign library stumbles over is the finding
            return f"{type(problem).__name__}: {problem}"[:60]


def masks_of(path: Path, series: Series, how: str) -> dict[str, Any]:
    """The voxels that three kinds of programs take from an RTSTRUCT.

    Args:
        path: the file.
        series: that it was drawn upon.
        how: centres in contours, by ``xor`` or ``union``; ``rounded``: points rounded to voxels and filled
            with their border, as OpenCV fills.
    """
    from skimage.measure import points_in_poly

    found = pydicom.dcmread(path, force=True)
    names = {int(each.ROINumber): str(each.ROIName) for each in found.StructureSetROISequence}
    shape = series.labels.shape
    centres = np.stack([index.ravel() for index in np.indices(shape[1:])], axis=1)
    masks = {}
    for roi in found.ROIContourSequence:
        mask = masks[names[int(roi.ReferencedROINumber)]] = np.zeros(shape, bool)
        lines: dict[int, list[np.ndarray]] = {}
        for line in roi.get("ContourSequence", ()):
            points = np.array(line.ContourData, float).reshape(-1, 3)
            slice_ = int(np.abs((points[0] - series.positions) @ series.axes[:, 2]).argmin())
            flat = (points - series.positions[slice_]) @ series.axes[:, [1, 0]] / series.spacing
            lines.setdefault(slice_, []).append(flat)
        for slice_, each in lines.items():
            if how == "rounded":
                import cv2

                canvas = np.zeros(shape[1:], np.uint8)
                cv2.fillPoly(canvas, [np.around(line[:, ::-1]).astype(np.int32) for line in each], 1)
                mask[slice_] = canvas > 0
                continue
            for line in each:
                if len(line) > 2:
                    inside = points_in_poly(centres, line).reshape(shape[1:])
                    mask[slice_] = mask[slice_] ^ inside if how == "xor" else mask[slice_] | inside
    return masks
