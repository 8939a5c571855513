"""A bundle of a few bytes, and the description of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autoseg.bundle.archive import manifest_of

FILES = {"model.json": b"{}", "networks/a.onnx": b"weights" * 100, "card.md": b"# A card"}
DESCRIPTION: dict[str, Any] = {
    "format": "autoseg-bundle",
    "version": 1,
    "name": "x",
    "about": {},
    "channels": ["MR"],
    "file_ending": ".png",
    "reader": "NaturalImage2DIO",
    "orientation": {},
    "labels": {"names": {"background": 0, "disc": 1}, "region_order": None, "ignore": None},
    "members": [],
    "postprocessing": None,
    "quality": None,
}


def bundle_folder(root: Path) -> Path:
    """Write `FILES` with their manifest into a folder."""
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "manifest.json").write_text(json.dumps(manifest_of(root)))
    return root
