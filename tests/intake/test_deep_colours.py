"""PNGs whose 16 bits would be read as 8."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from autoseg.data.formats import deep_colours
from autoseg.errors import DataError
from autoseg.intake.conversion import import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.workspace import Workspace


def png(path: Path, array: np.ndarray, kind: int) -> None:
    """Write 16 bits, which Pillow cannot; of `kind`: 0 grey, 2 RGB, 4 grey with alpha."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def image(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 60000, (12, 14, channels))


@pytest.mark.parametrize(
    ("kind", "channels", "words"),
    [(0, 1, ""), (2, 3, "a picture in colours"), (4, 2, "grey with transparency"), (6, 4, "transparency")],
)
def test_what_loses_half_is_known_by_its_header(tmp_path: Path, kind: int, channels: int, words: str) -> None:
    png(tmp_path / "a.png", image(channels), kind)
    assert words in deep_colours(tmp_path / "a.png")
    assert bool(deep_colours(tmp_path / "a.png")) == bool(words)


def test_verify_and_import_say_so(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for number in range(2):
        png(root / "imagesTr" / f"c{number}_0000.png", image(3) + number, 2)
        png(root / "labelsTr" / f"c{number}.png", (image(1) > 30000).astype(int), 0)
    about = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "a": 1}}
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": 2, "file_ending": ".png"}))
    findings = [finding for finding in verify(root, workers=1).findings if finding.code == "depth_lost"]
    assert [finding.severity for finding in findings] == ["warning"] * 2
    for number in range(2):
        png(tmp_path / "s" / "images" / f"c{number}.png", image(3) + number, 2)
        png(tmp_path / "s" / "masks" / f"c{number}.png", (image(1) > 30000).astype(int), 0)
    with pytest.raises(DataError, match=r"c0\.png is a picture in colours of 16 bits"):
        import_dataset(tmp_path / "s", Workspace.locate(tmp_path / "w"), "Deep", request=Request(workers=1))
