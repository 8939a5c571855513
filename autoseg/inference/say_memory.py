"""What a prediction takes at most is said before the first case: a pass is measured, all else is counted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autoseg.bundle.sliding_window import predict_slabs as bundled_slabs
from autoseg.data.bounds import free_bytes
from autoseg.data.dataset import labels_from_json
from autoseg.data.formats import itk_header
from autoseg.inference.bundled import BundledModel
from autoseg.inference.memory_bound import FLOAT, Bound, Needs, bound_of, gigabytes
from autoseg.inference.network import channels_of
from autoseg.inference.sliding_window import predict_slabs
from autoseg.system.process_memory import forget_peak, peak_bytes

if TYPE_CHECKING:
    from autoseg.bundle.segment import Segmenter
    from autoseg.data.dataset import Case
    from autoseg.inference.model import Model
    from autoseg.inference.predict import Predictor
    from autoseg.planner.configuration import Configuration

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Shape (z, y, x) and spacing of a raw image.
Size = tuple[tuple[int, ...], tuple[float, ...]]
# Below this, all logits of a case are little beside the program itself, and nothing is said.
WORTH_SAYING = 100 * 2**20


def pass_bytes(model: Model) -> int:
    """Memory that a pass of the networks takes for a while, measured on one; 0 where nobody can tell."""
    shape = _patch_of(channels_of(model.configuration, model.dataset_json), model.configuration)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    window = {**model._window(image), "mirror_axes": model.mirror_axes[:1], "certainty": None}
    return _grown(partial(predict_slabs, model._computed_by(shape), slab_bytes=None, **window))


def bundled_pass_bytes(loaded: Segmenter) -> int:
    """The same of a bundle, of all its networks together: onnxruntime keeps what it took."""
    about, most = loaded.description, 0
    for stage in about.stages:
        image = np.random.default_rng(0).normal(size=_patch_of(about.inputs(stage), stage.configuration))
        axes, patch = stage.mirror_axes[:1] if loaded.mirroring else (), stage.configuration.patch_size
        given = (loaded.networks_of(stage), image.astype(np.float32), patch, stage.step_size, axes)
        most += _grown(partial(bundled_slabs, *given))
    return most


def _patch_of(channels: int, configuration: Configuration) -> tuple[int, ...]:
    """The shape of one patch, (c, z, y, x)."""
    return (channels, *(1,) * (3 - configuration.dimensions), *configuration.patch_size)


def _grown(predict: Callable[[], Iterable[object]]) -> int:
    """By how many bytes the process grows while something is predicted."""
    forget_peak(CPU)
    before = peak_bytes(CPU)
    for _ in predict():
        pass
    return max(0, peak_bytes(CPU) - before)


def say_bound(loaded: Predictor, sizes: Mapping[str, Size], averaged: bool = False) -> Bound | None:
    """Say what the largest case takes at most, before any is predicted; None where that is little.

    A pass of each network is made and its memory measured; all else is counted.

    Args:
        loaded: what predicts: models on a processor, or a bundle.
        sizes: of the raw cases, by name.
        averaged: whether a single model too makes all probabilities on the raw image's grid.
    """
    if not sizes:
        return None
    name, (shape, spacing) = max(sizes.items(), key=lambda each: math.prod(each[1][0]))
    most = labels_from_json(loaded.dataset_json).num_heads
    if FLOAT * most * math.prod(shape) < WORTH_SAYING:
        return None
    needs, network = _needs_of(loaded, averaged)
    taken = network() if needs else 0
    process = _resident()
    if process is None or not needs:
        return None
    bounds = [bound_of(each, shape, spacing, process, taken) for each in needs]
    found = max(bounds, key=lambda each: each.total)
    extent = " x ".join(map(str, reversed(shape)))
    log.info("Memory: %s, for the largest case, %s (%s voxels, %d heads).", found, name, extent, most)
    free = free_bytes()
    if found.total - process > free:
        log.warning(
            "Only %s are free: the prediction may be stopped for want of memory. Close other programs, give "
            "one model and one fold (--folds 0), or predict on another machine.",
            gigabytes(free),
        )
    return found


def _needs_of(loaded: Predictor, averaged: bool) -> tuple[list[Needs], Callable[[], int]]:
    """Those of all that predicts, and what measures a pass; none where a GPU computes, or a stand-in."""
    if isinstance(loaded, BundledModel):
        bundle = loaded.segmenter
        return Needs.of_bundle(bundle, averaged), lambda: bundled_pass_bytes(bundle)
    models: Sequence[Model] = getattr(loaded, "models", ())
    if any(model.device.type != "cpu" for model in models):
        return [], lambda: 0
    averaged = averaged or len(models) > 1
    everyone = [*models, *(each.previous for each in models if each.previous is not None)]
    needs = [Needs.of_model(model, averaged, len(models)) for model in everyone]
    return needs, lambda: max(pass_bytes(model) for model in everyone)


def sizes_of(cases: Iterable[Case]) -> dict[str, Size]:
    """The sizes of cases by their headers, those left out that are no volumes or cannot be read."""
    return {case.identifier: size for case in cases if (size := _size(case.images[0])) is not None}


def _size(path: Path) -> Size | None:
    """Shape (z, y, x) and spacing by a file's header; None of what is no volume or cannot be read."""
    try:
        header = itk_header(path)
        shape, spacing = header.GetSize()[:3], header.GetSpacing()[:3]
    except Exception as problem:  # whatever a library raises: the prediction says what is wrong with the file
        log.debug("%s has no header to count memory from: %s", path, problem)
        return None
    return (tuple(reversed(shape)), tuple(reversed(spacing))) if len(shape) == 3 else None


def _resident() -> int | None:
    """Bytes of this process now; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024
    except (OSError, StopIteration, ValueError):
        return None
