"""The tables of benchmarks/results become pages: copies below docs/measurements, which git ignores."""

from __future__ import annotations

import shutil
from pathlib import Path

from sphinx.application import Sphinx

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
KINDS = (".md", ".svg", ".html")


def copy_results(app: Sphinx) -> None:
    """Copy what is new or has changed, and remove what is gone."""
    folder = Path(app.srcdir) / "measurements"
    folder.mkdir(exist_ok=True)
    sources = {each.name: each for each in RESULTS.iterdir() if each.suffix in KINDS}
    for name, source in sources.items():
        copy = folder / name
        if not copy.is_file() or copy.read_bytes() != source.read_bytes():
            shutil.copyfile(source, copy)
    for copy in folder.iterdir():
        if copy.name not in sources:
            copy.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy before any page is read."""
    app.connect("builder-inited", copy_results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
