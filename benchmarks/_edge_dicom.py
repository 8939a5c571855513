"""Odd DICOM: sizes, lengths, nesting, cuts and flips in one file of a series that is imported."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import _edge_bases as bases
import numpy as np
from _edges import Attempt, Edge

SLICES = 6


@cache
def slices() -> tuple[bytes, ...]:
    """A CT series of six slices of 16 x 16."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    volume, _ = bases.volume()
    files = []
    for number in range(SLICES):
        about = Dataset()
        about.file_meta = FileMetaDataset()
        about.file_meta.MediaStorageSOPClassUID = about.SOPClassUID = CTImageStorage
        about.file_meta.MediaStorageSOPInstanceUID = about.SOPInstanceUID = f"1.2.3.4.{number + 1}"
        about.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        about.SeriesInstanceUID, about.StudyInstanceUID, about.FrameOfReferenceUID = (
            "1.2.3.1",
            "1.2.3.2",
            "1.2.3.3",
        )
        about.Modality, about.PatientID, about.PatientName, about.SeriesDescription = "CT", "p", "A^B", "CT"
        about.InstanceNumber = number + 1
        about.Rows = about.Columns = 16
        about.SamplesPerPixel, about.PhotometricInterpretation = 1, "MONOCHROME2"
        about.BitsAllocated = about.BitsStored = 16
        about.HighBit, about.PixelRepresentation = 15, 1
        about.PixelSpacing, about.SliceThickness = [1, 1], 1
        about.ImagePositionPatient, about.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
        about.RescaleSlope, about.RescaleIntercept = 1, 0
        about.PixelData = volume[number].astype(np.int16).tobytes()
        file = io.BytesIO()
        about.save_as(file, enforce_file_format=True)
        files.append(file.getvalue())
    return tuple(files)


def _series(change: Callable[[bytes], bytes], everywhere: bool = False) -> Callable[[Path], Attempt]:
    def make(folder: Path) -> Attempt:
        place = folder / "source" / "scan"
        place.mkdir(parents=True)
        for number, content in enumerate(slices()):
            (place / f"slice_{number}.dcm").write_bytes(
                change(content) if everywhere or number == 3 else content
            )
        return ["import", str(place.parent), "--name=Scans", "--labels=organ=1", "--workers=1", "--quiet"]

    return make


def _edited(**elements: Any) -> Callable[[bytes], bytes]:
    """Elements of the file replaced, written by pydicom without a check."""

    def change(content: bytes) -> bytes:
        import pydicom

        found = pydicom.dcmread(io.BytesIO(content))
        with pydicom.config.disable_value_validation():
            for name, value in elements.items():
                if value is None:
                    delattr(found, name)
                else:
                    setattr(found, name, value)
            file = io.BytesIO()
            found.save_as(file)
        return file.getvalue()

    return change


def _length(tag: tuple[int, int], value: int) -> Callable[[bytes], bytes]:
    """The length of an element replaced by another."""

    def change(content: bytes) -> bytes:
        head = bytearray(content)
        at = content.index(struct.pack("<HH", *tag), 132)
        if content[at + 4 : at + 6] in (b"OW", b"OB", b"SQ", b"UN", b"UT"):
            struct.pack_into("<I", head, at + 8, value)
        else:
            struct.pack_into("<H", head, at + 6, value & 0xFFFF)
        return bytes(head)

    return change


def _inserted(element: bytes) -> Callable[[bytes], bytes]:
    """An element put in before the first one of the data set."""

    def change(content: bytes) -> bytes:
        at = content.index(struct.pack("<HH", 8, 0x16), 132)
        return content[:at] + element + content[at:]

    return change


def _nested(levels: int) -> bytes:
    """Sequences of undefined length in one another."""
    sequence = struct.pack("<HH2sHI", 8, 5, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return sequence * levels


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "rows and columns": _edited(Rows=65535, Columns=65535),
    "no rows": _edited(Rows=0),
    "rows missing": _edited(Rows=None),
    "a little more": _edited(Rows=17),
    "frames": _edited(NumberOfFrames="999999999"),
    "frames minus": _edited(NumberOfFrames="-3"),
    "frames none": _edited(NumberOfFrames="0"),
    "samples": _edited(SamplesPerPixel=65535),
    "no sample": _edited(SamplesPerPixel=0),
    "bits": _edited(BitsAllocated=64),
    "bits 0": _edited(BitsAllocated=0),
    "bits 7": _edited(BitsAllocated=7),
    "bits stored": _edited(BitsStored=99),
    "sign": _edited(PixelRepresentation=9),
    "photometric": _edited(PhotometricInterpretation="YBR_FULL_422"),
    "position text": _edited(ImagePositionPatient=None, PatientComments="x"),
    "spacing zero": _edited(PixelSpacing=[0, 0]),
    "spacing minus": _edited(PixelSpacing=[-1, -1]),
    "position far": _edited(ImagePositionPatient=[1e30, 0, 3]),
    "cosines": _edited(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]),
    "cosines long": _edited(ImageOrientationPatient=[9, 0, 0, 0, 9, 0]),
    "slope zero": _edited(RescaleSlope="0"),
    "slope huge": _edited(RescaleSlope="1e308"),
    "no series": _edited(SeriesInstanceUID=""),
    "no instance": _edited(SOPInstanceUID=""),
    "no modality": _edited(Modality=""),
    "no pixels": _edited(PixelData=None),
    "odd pixels": _edited(PixelData=b"\1\2\3\4"),
    "padding": _inserted(struct.pack("<HH2sHh", 0x28, 0x120, b"SS", 2, -32768)),
    "pixels' length": _length((0x7FE0, 0x10), 0xFFFFFFFE),
    "pixels undefined": _length((0x7FE0, 0x10), 0xFFFFFFFF),
    "pixels' length minus": _length((0x7FE0, 0x10), 0x80000000),
    "pixels' length little": _length((0x7FE0, 0x10), 4),
    "name's length": _length((0x10, 0x10), 0xFFFF),
    "rows' length": _length((0x28, 0x10), 0),
    "element of 4 GB": _inserted(struct.pack("<HH2sHI", 8, 1, b"OB", 0, 0xFFFFFFFE)),
    "element of 2 GB": _inserted(struct.pack("<HH2sHI", 8, 1, b"UN", 0, 0x7FFFFFFE)),
    "nested": _inserted(_nested(50)),
    "nested deeply": _inserted(_nested(5000)),
    "unknown kind": _inserted(struct.pack("<HH2sH", 8, 1, b"??", 4) + b"abcd"),
    "a character set": _inserted(struct.pack("<HH2sH", 8, 5, b"CS", 8) + b"ISO_IR_X"),
    "no preamble": lambda c: c[132:],
    "no preamble, cut": lambda c: c[132:300],
    "half": lambda c: c[: len(c) // 2],
    "preamble alone": lambda c: c[:132],
    "empty": lambda _: b"",
    "text": lambda _: b"no DICOM\n" * 40,
}


def dicom(rng: random.Random) -> Iterator[Edge]:
    """A series of which one slice, or all, are odd."""
    for name, change in CHANGES.items():
        yield Edge("DICOM", name, _series(change))
        yield Edge("DICOM", f"{name}, all", _series(change, everywhere=True))
    for number in range(40):
        spots = [(rng.randrange(132, 800), rng.randrange(256)) for _ in range(rng.randint(1, 4))]

        def change(content: bytes, spots: list[tuple[int, int]] = spots) -> bytes:
            changed = bytearray(content)
            for place, value in spots:
                changed[place] = value
            return bytes(changed)

        yield Edge("DICOM", f"bytes {number}", _series(change))


GENERATORS = (dicom,)
