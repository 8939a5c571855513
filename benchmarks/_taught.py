"""A planned network that learns some cases in little time: checkpoints whose foreground has a shape.

The steps of a stock training take minutes each hundred; crops and Adam take a tenth of that, and give weights
of the same network, which stock nnU-Net and autoseg open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _readout import write_checkpoint

from autoseg.data.image import Image
from autoseg.inference.network import planned_network
from autoseg.planner.plan import Plan
from autoseg.preprocessing.case import preprocess_case

Pair = tuple[Image, Image]


def teach(
    folder: Path,
    document: Mapping[str, Any],
    about: Mapping[str, Any],
    pairs: Sequence[Pair],
    *,
    steps: int,
    crop: Sequence[int],
    rate: float = 1e-2,
    anywhere: bool = False,
) -> None:
    """Train the network of a plan's 3d_fullres on crops that a seed draws, and write fold 0's checkpoint.

    Args:
        folder: the model's folder.
        document: plans.json.
        about: dataset.json.
        pairs: images and labels of the cases.
        steps: of Adam, two crops each.
        crop: voxels.
        rate: learning rate at the start; it falls to a tenth.
        anywhere: every second crop lies anywhere, not about a structure, and the second half of the steps
            learns with the statistics of the first: with batch normalisation, which predicts by them.
    """
    plan = Plan.from_json(document)
    configuration = plan.configuration("3d_fullres")
    torch.manual_seed(0)
    network = planned_network(configuration, about, folder)
    cases = [preprocess_case(image, label, plan, configuration, about)[:2] for image, label in pairs]
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    random = np.random.default_rng(0)
    for step in range(steps):
        network.train(not (anywhere and step >= steps // 2))
        drawn = [
            _crop(*cases[random.integers(len(cases))], crop, random, anywhere=anywhere and second)
            for second in (False, True)
        ]
        batch, target = (torch.from_numpy(np.stack(each)) for each in zip(*drawn, strict=True))
        loss = torch.nn.functional.cross_entropy(network(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"{folder.name}: step {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)
    write_checkpoint(folder, network, document, about, configuration.name)


def _crop(
    data: Any, labels: Any, size: Sequence[int], random: np.random.Generator, *, anywhere: bool
) -> tuple[Any, Any]:
    """A crop of an image (c, *size), padded with zeros where it is smaller, and of its labels (*size).

    A voxel that a structure is drawn for lies in it, so that small structures are learnt too.
    """
    missing = [max(0, n - have) for n, have in zip(size, data.shape[1:], strict=True)]
    sides = [(m // 2, m - m // 2) for m in missing]
    data, labels = np.pad(data, [(0, 0), *sides]), np.pad(np.maximum(labels[0], 0), sides)
    structures = [value for value in np.unique(labels) if value > 0]
    if anywhere:
        centre = [random.integers(n) for n in labels.shape]
    else:
        inside = np.argwhere(labels == random.choice(structures))
        centre = inside[random.integers(len(inside))]
    shifts = [int(c) - int(random.integers(n)) for c, n in zip(centre, size, strict=True)]
    bounds = zip(shifts, size, data.shape[1:], strict=True)
    starts = [min(max(0, shift), have - n) for shift, n, have in bounds]
    place = tuple(slice(a, a + n) for a, n in zip(starts, size, strict=True))
    return data[(slice(None), *place)], labels[place].astype(np.int64)
