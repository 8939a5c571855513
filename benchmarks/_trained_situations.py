"""Situations that only a training shows: tiny volumes, and data that change between two trainings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _cases import array
from _situations import GENERATING, Attempt

from autoseg.errors import DataError

_STEPS = "12"


def tiny(out: Path, generators: Path) -> Iterator[Attempt]:
    """Each trained for a few steps: it learns, or is refused before with what is wrong."""
    place = out / "c26"
    _generated(generators, "26", place)
    for root in sorted(place.iterdir()):

        def attempt(root: Path = root) -> tuple[str, str]:
            scores = _trained(root, out / "ws26")
            finite = len(scores) > 0 and all(np.isfinite(score) for score in scores.values())
            return ("right" if finite else "wrong"), f"Dice {np.mean(list(scores.values())):.3f}"

        yield root.name, "train", attempt


def changed(out: Path, generators: Path) -> Iterator[Attempt]:
    """Trained, then again after a label has changed, and after cases were added: scores are those of now."""
    place = out / "c21"
    root = place / "Dataset921_Changing"
    for stage, cases in (("1", 8), ("2", 8), ("3", 10)):

        def attempt(stage: str = stage, cases: int = cases) -> tuple[str, str]:
            _generated(generators, "21", place, stage)
            scores = _trained(root, out / "ws21")
            validation = _newest(out / "ws21", root.name).parent / "validation"
            worst = max(
                abs(score - _dice(validation / f"{case}.nii.gz", root / "labelsTr" / f"{case}.nii.gz"))
                for case, score in scores.items()
            )
            whole = len(list((out / "ws21").glob("preprocessed/*/gt_segmentations/*"))) == cases
            right = worst < 1e-6 and whole
            return ("right" if right else "wrong"), f"stage {stage}: scores off by {worst:.1g}"

        yield f"stage {stage}", "train", attempt


def _generated(generators: Path, number: str, place: Path, *more: str) -> None:
    (script,) = generators.glob(f"case{number}_*.py")
    command = [GENERATING[-1], "-B", str(script), str(place), *more]
    subprocess.run(command, check=True, capture_output=True, cwd=place.parent)


def _dice(one: Path, other: Path) -> float:
    first, second = array(one) > 0, array(other) > 0
    total = int(first.sum() + second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def _trained(root: Path, workspace: Path) -> dict[str, float]:
    """Dice of each held-out case after a short training.

    Raises:
        DataError: with what the command says, where no training has a result.
    """
    command = [sys.executable, "-m", "autoseg", "plan-and-train", str(root), "--trainers", "nnunet"]
    command += ["--folds", "0", "--steps", _STEPS, "--device", "cpu", "--workers", "1"]
    done = subprocess.run(
        [*command, "--workspace", str(workspace)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "400"},
    )
    if done.returncode:
        said = re.findall(r"(?:impossible|failed|error)[.:] (.+)", done.stdout + done.stderr)
        if "Traceback" in done.stderr or not said:
            raise RuntimeError(done.stderr[-300:])
        raise DataError(said[0])
    found = json.loads(_newest(workspace, root.name).read_text())
    return {each["case"]: float(each["value"]) for each in found["scores"] if each["metric"] == "dice"}


def _newest(workspace: Path, name: str) -> Path:
    """The evaluation of the last training."""
    return max(workspace.glob(f"results/{name}/*/fold_0/evaluation.json"), key=lambda p: p.stat().st_mtime)


TRAINED: dict[str, Callable[[Path, Path], Iterator[Attempt]]] = {"21": changed, "26": tiny}
