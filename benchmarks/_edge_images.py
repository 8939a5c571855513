"""Odd images: headers that claim what the file does not hold, cuts, flips and packings."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import _edge_bases as bases
from _edges import Attempt, Edge

ONE = ["--workers", "1", "--quiet"]
Change = Callable[[bytes], bytes]


def _image(change: Change, ending: str, command: str, label: bool = False) -> Callable[[Path], Attempt]:
    """One file of a data set changed, and the data set given to a command."""

    def make(folder: Path) -> Attempt:
        root = (
            bases.pictures(folder, ending)
            if ending in (".png", ".tif", ".bmp")
            else bases.dataset(folder, ending)
        )
        case = bases.CASES[2]
        path = root / (f"labelsTr/{case}{ending}" if label else f"imagesTr/{case}_0000{ending}")
        content = path.read_bytes()
        packed = content[:2] == b"\x1f\x8b"
        path.write_bytes(change(gzip.decompress(content) if packed else content))
        return [command, str(root), *ONE]

    return make


def _put(layout: str, offset: int, *values: float) -> Change:
    def change(content: bytes) -> bytes:
        head = bytearray(content)
        struct.pack_into(layout, head, offset, *values)
        return bytes(head)

    return change


def _packed(change: Change) -> Change:
    return lambda content: gzip.compress(change(content), 1)


NAN, INFINITY = float("nan"), float("inf")
# Fields of nifti1.h: dim at 40, datatype 70, bitpix 72, pixdim 76, vox_offset 108, slope 112, codes 252.
NIFTI: dict[str, tuple[str, Change]] = {
    "no voxel": ("refusal", _put("<8h", 40, 3, 0, 16, 16, 1, 1, 1, 1)),
    "negative": ("refusal", _put("<8h", 40, 3, -16, 16, 16, 1, 1, 1, 1)),
    "much": ("refusal", _put("<8h", 40, 3, 32767, 32767, 32767, 1, 1, 1, 1)),
    "four much": ("refusal", _put("<8h", 40, 4, 4000, 4000, 4000, 4000, 1, 1, 1)),
    "seven much": ("refusal", _put("<8h", 40, 7, 99, 99, 99, 99, 99, 99, 99)),
    "thousands of channels": ("refusal", _put("<8h", 40, 5, 16, 16, 16, 1, 30000, 1, 1)),
    "a little more": ("refusal", _put("<8h", 40, 3, 16, 16, 17, 1, 1, 1, 1)),
    "eight dimensions": ("refusal", _put("<h", 40, 8)),
    "no dimension": ("refusal", _put("<h", 40, 0)),
    "minus dimensions": ("refusal", _put("<h", 40, -3)),
    "offset far": ("refusal", _put("<f", 108, 1e30)),
    "offset in the header": ("either", _put("<f", 108, 0)),
    "offset minus": ("either", _put("<f", 108, -1e9)),
    "offset NaN": ("either", _put("<f", 108, NAN)),
    "offset infinite": ("either", _put("<f", 108, INFINITY)),
    "spacing NaN": ("either", _put("<3f", 80, NAN, NAN, NAN)),
    "spacing infinite": ("either", _put("<3f", 80, INFINITY, 1, 1)),
    "spacing zero": ("either", _put("<3f", 80, 0, 0, 0)),
    "spacing minus": ("either", _put("<3f", 80, -1, -1, -1)),
    "spacing tiny": ("either", _put("<3f", 80, 1e-38, 1, 1)),
    "spacing huge": ("either", _put("<3f", 80, 1e38, 1, 1)),
    "slope NaN": ("either", _put("<f", 112, NAN)),
    "slope infinite": ("either", _put("<f", 112, INFINITY)),
    "slope huge": ("either", _put("<f", 112, 1e38)),
    "intercept NaN": ("either", _put("<2f", 112, 1, NAN)),
    "quaternion NaN": ("either", _put("<6f", 256, *[NAN] * 6)),
    "sform NaN": ("either", _put("<12f", 280, *[NAN] * 12)),
    "sform zero": ("either", _put("<12f", 280, *[0.0] * 12)),
    "sform huge": ("either", _put("<12f", 280, *[1e38] * 12)),
    "codes": ("either", _put("<2h", 252, 77, -5)),
    "size of header": ("either", _put("<i", 0, 349)),
    "other byte order": ("either", _put(">i", 0, 348)),
    "magic": ("refusal", _put("<4s", 344, b"oops")),
    "pair": ("either", _put("<4s", 344, b"ni1\0")),
    "intent": ("either", _put("<h", 68, 32000)),
}


def nifti(rng: random.Random) -> Iterator[Edge]:
    """NIfTI: fields, kinds of voxels, cuts, packings and flipped bytes."""
    for name, (wanted, change) in NIFTI.items():
        for command in ("fingerprint", "verify"):
            made = _image(_packed(change), ".nii.gz", command)
            yield Edge("NIfTI", f"{name}, {command}", made, wanted, ("case_2",))  # type: ignore[arg-type]
        yield Edge("NIfTI", f"label: {name}", _image(_packed(change), ".nii.gz", "verify", True), wanted)  # type: ignore[arg-type]
    for code in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 9999, -1):
        made = _image(_packed(_put("<h", 70, code)), ".nii.gz", "fingerprint")
        yield Edge("NIfTI", f"kind of voxel {code}", made, "either", ("case_2",))
    for bits in (0, -8, 1, 12, 32767):
        made = _image(_packed(_put("<h", 72, bits)), ".nii.gz", "verify")
        yield Edge("NIfTI", f"bits {bits}", made, "either", ("case_2",))
    packings: dict[str, Change] = {
        "cut packing": lambda content: gzip.compress(content)[:-200],
        "cut before its end": lambda content: gzip.compress(content)[:-6],
        "wrong sum": lambda content: gzip.compress(content)[:-8] + b"\1\2\3\4\5\6\7\x08",
        "packed twice": lambda content: gzip.compress(gzip.compress(content)),
        "grows to 3 GB": lambda content: gzip.compress(content) + _zeros(3000),
        "grows to 3 GB, in one": lambda content: gzip.compress(content, 1)[:-8] + _zeros(1)[:40],
        "empty": lambda _: b"",
        "one byte": lambda _: b"\x1f",
        "packed nothing": lambda _: gzip.compress(b""),
        "zeros": lambda content: bytes(len(content)),
        "text": lambda _: b"this is no image\n" * 99,
        "a page": lambda _: b"<!DOCTYPE html><html><body>Not found</body></html>",
    }
    for name, change in packings.items():
        # What grows beyond its header is read as far as the header goes.
        wanted = "either" if name.startswith("grows") else "refusal"
        for command in ("fingerprint", "verify"):
            made = _image(change, ".nii.gz", command)
            yield Edge("NIfTI", f"{name}, {command}", made, wanted, ("case_2",))  # type: ignore[arg-type]
    yield Edge("NIfTI", "not packed", _image(lambda c: c, ".nii.gz", "fingerprint"), "either", ("case_2",))
    for number in range(10):
        keep = rng.randrange(1, 9000)
        made = _image(_packed(lambda content, keep=keep: content[:keep]), ".nii.gz", "fingerprint")
        yield Edge("NIfTI", f"cut {number}", made, "either" if keep > 8543 else "refusal", ("case_2",))
    yield from _flips("NIfTI", ".nii.gz", 348, 50, rng)


def _zeros(megabytes: int) -> bytes:
    """A packed stream of zeros, a thousandth of its size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([packer.compress(bytes(2**20)) for _ in range(megabytes)]) + packer.flush()


def _flips(kind: str, ending: str, head: int, count: int, rng: random.Random) -> Iterator[Edge]:
    """Some bytes of the header changed."""
    for number in range(count):
        spots = [(rng.randrange(head), rng.randrange(256)) for _ in range(rng.randint(1, 3))]

        def change(content: bytes, spots: list[tuple[int, int]] = spots) -> bytes:
            changed = bytearray(content)
            for place, value in spots:
                changed[min(place, len(changed) - 1)] = value
            return gzip.compress(bytes(changed), 1) if ending == ".nii.gz" else bytes(changed)

        command = rng.choice(["fingerprint", "verify"])
        yield Edge(kind, f"bytes {number}", _image(change, ending, command))


def _line(key: bytes, value: bytes) -> Change:
    """A line of a text header replaced."""

    def change(content: bytes) -> bytes:
        lines = content.split(b"\n")
        for number, line in enumerate(lines[:40]):
            if line.startswith(key):
                lines[number] = value
                break
        else:
            lines.insert(1, value)
        return b"\n".join(lines)

    return change


NRRD = {
    "much": (b"sizes", b"sizes: 2000000 2000000 2000000"),
    "more": (b"sizes", b"sizes: 16 16 17"),
    "negative": (b"sizes", b"sizes: -16 16 16"),
    "zero": (b"sizes", b"sizes: 0 16 16"),
    "text": (b"sizes", b"sizes: a b c"),
    "digits": (b"sizes", b"sizes: " + b"9" * 300 + b" 16 16"),
    "too few": (b"sizes", b"sizes: 16"),
    "dimension 17": (b"dimension", b"dimension: 17"),
    "dimension 0": (b"dimension", b"dimension: 0"),
    "type": (b"type", b"type: quaternion"),
    "block": (b"type", b"type: block"),
    "encoding": (b"encoding", b"encoding: rot13"),
    "endian": (b"endian", b"endian: middle"),
    "directions": (b"space directions", b"space directions: (nan,0,0) (0,nan,0) (0,0,nan)"),
    "directions zero": (b"space directions", b"space directions: (0,0,0) (0,0,0) (0,0,0)"),
    "origin": (b"space origin", b"space origin: (inf,0,0)"),
    "elsewhere": (b"encoding", b"data file: ../../secret.raw"),
    "list": (b"encoding", b"data file: LIST"),
    "skip": (b"encoding", b"encoding: raw\nbyte skip: -1"),
    "skip far": (b"encoding", b"encoding: raw\nbyte skip: 999999999999"),
    "line skip": (b"encoding", b"encoding: raw\nline skip: 999999999"),
    "raw": (b"encoding", b"encoding: raw"),
    "twice": (b"content", b"sizes: 16 16 16"),
}
META = {
    "much": (b"DimSize", b"DimSize = 2000000 2000000 2000000"),
    "more": (b"DimSize", b"DimSize = 16 16 17"),
    "negative": (b"DimSize", b"DimSize = -16 16 16"),
    "zero": (b"DimSize", b"DimSize = 0 16 16"),
    "text": (b"DimSize", b"DimSize = a b c"),
    "digits": (b"DimSize", b"DimSize = " + b"9" * 300 + b" 16 16"),
    "dimensions": (b"NDims", b"NDims = 11"),
    "no dimension": (b"NDims", b"NDims = 0"),
    "type": (b"ElementType", b"ElementType = MET_OTHER"),
    "channels": (b"ElementType", b"ElementNumberOfChannels = 100000\nElementType = MET_SHORT"),
    "packed size": (b"CompressedDataSize", b"CompressedDataSize = 999999999999"),
    "packed size minus": (b"CompressedDataSize", b"CompressedDataSize = -5"),
    "packed": (b"CompressedData ", b"CompressedData = True"),
    "spacing": (b"ElementSpacing", b"ElementSpacing = nan nan nan"),
    "spacing zero": (b"ElementSpacing", b"ElementSpacing = 0 0 0"),
    "matrix": (b"TransformMatrix", b"TransformMatrix = 0 0 0 0 0 0 0 0 0"),
    "offset": (b"Offset", b"Offset = inf 0 0"),
    "elsewhere": (b"ElementDataFile", b"ElementDataFile = ../../secret.raw"),
    "absolute": (b"ElementDataFile", b"ElementDataFile = /etc/hostname"),
    "list": (b"ElementDataFile", b"ElementDataFile = LIST\na\nb"),
    "header size": (b"HeaderSize", b"HeaderSize = 999999999"),
    "header size -1": (b"HeaderSize", b"HeaderSize = -1"),
}


def text_headers(rng: random.Random) -> Iterator[Edge]:
    """NRRD and MetaImage."""
    for kind, ending, table in (("NRRD", ".nrrd", NRRD), ("MetaImage", ".mha", META)):
        for name, (key, line) in table.items():
            for command in ("fingerprint", "verify"):
                made = _image(_line(key, line), ending, command)
                yield Edge(kind, f"{name}, {command}", made, "either", ("case_2",))
        for number in range(8):
            keep = rng.randrange(1, 600)
            made = _image(lambda content, keep=keep: content[:keep], ending, "fingerprint")
            yield Edge(kind, f"cut {number}", made, "refusal", ("case_2",))
        yield from _flips(kind, ending, 250, 25, rng)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(width: int, height: int, bits: int = 8, colour: int = 0, data: bytes = b"") -> Change:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    packed = _chunk(b"IDAT", zlib.compress(data or bytes(17 * 16)))
    return lambda _: b"\x89PNG\r\n\x1a\n" + head + packed + _chunk(b"IEND", b"")


PNG: dict[str, Change] = {
    "much": _png(2**31 - 1, 2**31 - 1),
    "200000 x 200000": _png(200_000, 200_000),
    "30000 x 30000 of zeros": _png(30_000, 30_000, data=bytes(10_000_000)),
    "wide": _png(2**31 - 1, 1),
    "no pixel": _png(0, 16),
    "bits": _png(16, 16, bits=3),
    "colour": _png(16, 16, colour=5),
    "palette without one": _png(16, 16, colour=3),
    "little data": _png(16, 17),
    "text that grows": lambda c: c[:33] + _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))) + c[33:],
    "profile that grows": lambda c: c[:33] + _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8))) + c[33:],
    "length of a chunk": lambda c: c[:33] + struct.pack(">I", 2**31 - 1) + c[37:],
    "wrong sum": lambda c: c[:29] + b"\0\0\0\0" + c[33:],
    "no end": lambda c: c[:-12],
    "cut": lambda c: c[: len(c) // 2],
    "empty": lambda _: b"",
    "a page": lambda _: b"<html>Not found</html>",
    "a JPEG's beginning": lambda _: b"\xff\xd8\xff\xe0\0\x10JFIF",
    "a GIF": lambda _: b"GIF89a\xff\xff\xff\xff\0\0\0",
    "a script": lambda _: b"%!PS-Adobe-3.0 EPSF\n%%BoundingBox: 0 0 99999 99999\n",
}


def _tag(number: int, value: int, kind: int = 4, count: int = 1) -> Change:
    """An entry of a TIFF's directory replaced."""

    def change(content: bytes) -> bytes:
        order = "<" if content[:2] == b"II" else ">"
        head = bytearray(content)
        (at,) = struct.unpack_from(order + "I", content, 4)
        (entries,) = struct.unpack_from(order + "H", content, at)
        for index in range(entries):
            place = at + 2 + 12 * index
            if struct.unpack_from(order + "H", content, place)[0] == number:
                struct.pack_into(order + "HHII", head, place, number, kind, count, value)
        return bytes(head)

    return change


def _directory(content: bytes) -> bytes:
    """A directory that says that it follows itself."""
    order = "<" if content[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", content, 4)
    (entries,) = struct.unpack_from(order + "H", content, at)
    head = bytearray(content)
    struct.pack_into(order + "I", head, at + 2 + 12 * entries, at)
    return bytes(head)


TIFF: dict[str, Change] = {
    "width": _tag(256, 2**31 - 1),
    "height": _tag(257, 2**31 - 1),
    "width 60000": _tag(256, 60_000),
    "no width": _tag(256, 0),
    "bits 64": _tag(258, 64, 3),
    "bits 7": _tag(258, 7, 3),
    "bits 0": _tag(258, 0, 3),
    "packing": _tag(259, 9999, 3),
    "LZW": _tag(259, 5, 3),
    "JPEG": _tag(259, 7, 3),
    "deflate": _tag(259, 8, 3),
    "strips": _tag(273, 2**32 - 1),
    "strip count": _tag(273, 8, 4, 2**31 - 1),
    "bytes in a strip": _tag(279, 2**32 - 1),
    "samples": _tag(277, 65_535, 3),
    "rows in a strip": _tag(278, 0),
    "photometric": _tag(262, 999, 3),
    "kind of sample": _tag(339, 77, 3),
    "in a circle": _directory,
    "directory far": lambda c: c[:4] + b"\xff\xff\xff\xff" + c[8:],
    "directory at 0": lambda c: c[:4] + b"\0\0\0\0" + c[8:],
    "BigTIFF": lambda c: c[:2] + (b"\x2b\0" if c[:2] == b"II" else b"\0\x2b") + c[4:],
    "cut": lambda c: c[: len(c) // 2],
    "cut head": lambda c: c[:7],
    "empty": lambda _: b"",
    "text": lambda _: b"no image at all\n" * 20,
}


def pictures(rng: random.Random) -> Iterator[Edge]:
    """PNG, BMP and TIFF."""
    for name, change in PNG.items():
        for command in ("fingerprint", "verify"):
            yield Edge("PNG", f"{name}, {command}", _image(change, ".png", command), "either", ("case_2",))
    yield from _flips("PNG", ".png", 60, 20, rng)
    for name, change in TIFF.items():
        for command in ("fingerprint", "verify"):
            yield Edge("TIFF", f"{name}, {command}", _image(change, ".tif", command), "either", ("case_2",))
    yield from _flips("TIFF", ".tif", 200, 20, rng)
    sizes = {"much": (2**31 - 1, 2**31 - 1), "wide": (100_000, 100_000), "minus": (-16, -16), "none": (0, 0)}
    for name, (width, height) in sizes.items():
        made = _image(_put("<ii", 18, width, height), ".bmp", "fingerprint")
        yield Edge("BMP", name, made, "either", ("case_2",))
    yield from _flips("BMP", ".bmp", 54, 15, rng)


GENERATORS = (nifti, text_headers, pictures)
