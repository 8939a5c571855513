"""The forms in which the segmentation of a DICOM series is written, and the way from the series to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dicom.regular import onto_source
from autoseg.data.dicom.stack import Stack
from autoseg.data.dicom.suv import suv_factor
from autoseg.data.dicom.voxels import read_volume
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.segmentation import check_kind, write_segmentation_object
from autoseg.data.dicom_objects.source import Source
from autoseg.data.dicom_objects.structure_set import write_structure_set
from autoseg.data.dicom_objects.structures import Structure
from autoseg.data.image import Array, Image, finite
from autoseg.data.readers import write_segmentation
from autoseg.errors import MissingDependency, UsageError

NIFTI, SEG, RTSTRUCT = "nifti", "dicom-seg", "rtstruct"
# Two objects of one series have names of their own.
_ENDINGS = {NIFTI: ".nii.gz", SEG: ".seg.dcm", RTSTRUCT: ".rtstruct.dcm"}
FORMS = tuple(_ENDINGS)
# The module, and what the package is called.
_NEEDED = {SEG: ("highdicom", "highdicom"), RTSTRUCT: ("skimage", "scikit-image")}


@dataclass(frozen=True)
class Form:
    """What is written of a series.

    Attributes:
        to: nifti, dicom-seg or rtstruct.
        seg_type: of a SEG: binary or labelmap.
    """

    to: str = NIFTI
    seg_type: str = "binary"

    @property
    def ending(self) -> str:
        """Of the files, with the dot."""
        return _ENDINGS[self.to]

    def check(self, structures: Sequence[Structure]) -> None:
        """See that structures can be written like this, before anything is computed.

        Raises:
            MissingDependency: without the library that writes it.
            UsageError: for an unknown form, and where structures overlap in a label map.
        """
        if self.to not in _ENDINGS:
            raise UsageError(f"There is no form {self.to!r} of results. Choose one of {', '.join(_ENDINGS)}.")
        check_kind(self.seg_type, structures if self.to == SEG else ())
        if self.to in _NEEDED:
            module, package = _NEEDED[self.to]
            try:
                __import__(module)
            except ImportError:
                raise MissingDependency(package, "dicom", f"Writing {self.to}") from None

    def check_plain(self, source: Path) -> None:
        """See that images that are no DICOM are not to become it.

        Raises:
            UsageError: if they are.
        """
        if self.to != NIFTI:
            raise UsageError(
                f"{source} holds no DICOM series, which a result as {self.to} names. Give the series, or "
                f"leave out --to."
            )

    def write(
        self,
        labels: Array,
        path: Path,
        stack: Stack,
        image: Image,
        structures: Sequence[Structure],
        maker: Maker,
    ) -> None:
        """Write a segmentation, whole or not at all.

        Args:
            labels: (z, y, x) on the image's grid.
            path: the file.
            stack: the series.
            image: `read_series` of it.
            structures: what the label values stand for.
            maker: the algorithm.

        Raises:
            DataError: if the series does not say where it lies, and the form is DICOM.
        """
        if self.to == NIFTI:
            write_segmentation(labels, path, image.properties, "SimpleITKIO")
            return
        header = stack.header
        on_slices = onto_source(labels, stack.placing, header.rows, header.columns)
        source = Source(stack.frames)
        if self.to == SEG:
            write_segmentation_object(on_slices, path, source, structures, maker, self.seg_type)
        else:
            write_structure_set(on_slices, path, source, structures, maker)


def read_series(stack: Stack, channel: str) -> Image:
    """A series as the image that its NIfTI would be read as: float32, (1, z, y, x), finite.

    Args:
        stack: the series.
        channel: the model's; PET becomes standardised uptake values where it has SUV in its name.

    Raises:
        ImageError: naming the file whose voxels cannot be decoded, or that lacks what SUV takes.
        MissingDependency: without pydicom.
    """
    volume = read_volume(stack)
    stuff = {
        "spacing": volume.spacing[::-1],
        "origin": tuple(volume.origin),
        "direction": tuple(volume.direction),
    }
    world = {"origin": np.array(volume.origin), "direction": np.array(volume.direction)}
    array = volume.array[None].astype(np.float32)
    if stack.header.modality == "PT" and "suv" in channel.lower():
        array *= np.float32(suv_factor(stack))
    properties = {"sitk_stuff": stuff, "spacing": list(volume.spacing)}
    return finite(Image(array, volume.spacing, properties, world), stack.files[:1])
