"""A model that stock nnU-Net has exported as a zip: unpacked for as long as it is loaded.

Of the zip only plans.json, dataset.json and the checkpoints of folds are written, below a folder that is
removed afterwards. Links, paths that lead out and files that unpack to hundreds of times their size are
refused before that. Nothing in it is unpickled beyond what `autoseg.nnunet.read_checkpoint` allows.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoseg.bundle.archive import MANIFEST, UNREADABLE, BundleError, listed_files
from autoseg.errors import RunError
from autoseg.planner.plan import Plan
from autoseg.system.files import read_json

_WANTED = re.compile(
    r"(.*/)?(plans\.json|dataset\.json|postprocessing\.json|fold_(\d+|all)/(checkpoint_(final|best_\d+)\.pth|"
    r"best_checkpoints\.json))"
)


def is_stock_zip(path: Path) -> bool:
    """Whether a file is a zip with plans of nnU-Net in it, and no bundle."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (*UNREADABLE, OSError, ValueError):  # damaged: whoever opens it says so
        return False
    return MANIFEST not in names and any(name.rpartition("/")[2] == "plans.json" for name in names)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The model folder of a zip, which is gone afterwards.

    Raises:
        RunError: if the zip cannot be unpacked safely, or holds no model or several.
    """
    with tempfile.TemporaryDirectory(prefix="autoseg_model_") as place:
        folder = Path(place)
        _unpack(path, folder)
        yield _model_in(path, folder)


def _unpack(path: Path, folder: Path) -> None:
    try:
        sizes = listed_files(path)
    except BundleError as problem:
        raise RunError(f"{problem} Get the exported model from its source again.") from None
    for name, size in sizes.items():
        if _WANTED.fullmatch(name) is None:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        except (*UNREADABLE, ValueError) as problem:
            raise RunError(
                f"{path} is damaged: {name} cannot be unpacked ({problem}). Get it from its source again."
            ) from None
        if target.stat().st_size != size:
            raise RunError(f"{path} is damaged: {name} is cut off. Get it from its source again.")


def _model_in(path: Path, folder: Path) -> Path:
    found = sorted(
        {each.parents[1] for each in folder.glob("**/fold_*/checkpoint_*.pth")}
        & {each.parent for each in folder.glob("**/plans.json")}
    )
    # The first stage of a cascade is there for the second.
    first = {stage for model in found for stage in _first_stages(model)}
    chosen = [model for model in found if model not in first]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise RunError(
            f"{path} holds no trained model: no folder with plans.json and fold_*/checkpoint_final.pth. "
            f"Export it again (nnUNetv2_export_model_to_zip)."
        )
    names = ", ".join(model.name for model in chosen)
    raise RunError(
        f"{path} holds {len(chosen)} models: {names}. Unpack it and give the folders, the first as MODEL and "
        f"the others with --model."
    )


def _first_stages(model: Path) -> Iterator[Path]:
    before, _, name = model.name.rpartition("__")
    plan = Plan.from_json(read_json(model / "plans.json", RunError))
    stage = plan.configurations[name].previous_stage if name in plan.configurations else None
    if stage is not None:
        yield model.with_name(f"{before}__{stage}")
