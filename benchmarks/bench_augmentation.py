"""nnU-Net's default augmentation beside autoseg's, sample by sample.

    OMP_NUM_THREADS=1 python benchmarks/bench_augmentation.py --output benchmarks/results/augmentation.json

Both pipelines get the same synthetic sample and the same seeds, take turns, and their outputs are compared. A
ratio above 1 is in favour of autoseg.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autoseg.augmentation import nnunet_transforms

Row = dict[str, Any]
# patch size, labels, share of the samples to run
SETTINGS = (((40, 56, 40), 3, 1.0), ((40, 56, 40), 40, 0.5), ((256, 256), 3, 1.0), ((128, 128, 128), 3, 0.05))


def sample(shape: tuple[int, ...], labels: int) -> tuple[Tensor, Tensor]:
    """A smooth noisy image, and blocks of labels in the middle of background."""
    generator = torch.Generator().manual_seed(0)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    coarse = torch.randn((1, 1, *(12,) * len(shape)), generator=generator)
    image = F.interpolate(coarse, shape, mode=mode)[0] + 0.05 * torch.randn((1, *shape), generator=generator)
    blocks = torch.randint(0, labels, (1, 1, *(6,) * len(shape)), generator=generator).float()
    inner = tuple(length // 2 for length in shape)
    segmentation = torch.zeros((1, *shape), dtype=torch.int16)
    window = tuple(slice(length // 4, length // 4 + half) for length, half in zip(shape, inner, strict=True))
    segmentation[(slice(None), *window)] = F.interpolate(blocks, inner, mode="nearest")[0].short()
    return image, segmentation


def bench(patch_size: tuple[int, ...], labels: int, samples: int) -> Row:
    """Mean CPU milliseconds a sample, both sides in turns under the same seeds."""
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    dimensions = len(patch_size)
    limit = math.pi if dimensions == 2 else math.pi / 6
    scales = [[factor] * dimensions for factor in (1.0, 0.5, 0.25)]
    rotation = (-limit, limit)
    arguments = (patch_size, rotation, scales, tuple(range(dimensions)), False)
    pipelines = {
        "stock": nnUNetTrainer.get_training_transforms(*arguments),
        "autoseg": nnunet_transforms(*arguments),
    }
    shape = tuple(int(n) for n in get_patch_size(patch_size, rotation, rotation, rotation, (0.85, 1.25)))
    image, segmentation = sample(shape, labels)
    seconds, largest, unequal = dict.fromkeys(pipelines, 0.0), 0.0, 0.0
    for seed in range(-5, samples):
        results = {}
        for side, pipeline in pipelines.items():
            np.random.seed(abs(seed))
            torch.manual_seed(seed)
            inputs = {"image": image.clone(), "segmentation": segmentation.clone()}
            began = time.process_time()
            results[side] = pipeline(**inputs)
            seconds[side] += (time.process_time() - began) * (seed >= 0)
        a, b = results.values()
        largest = max(largest, float((a["image"] - b["image"]).abs().max()))
        unequal += float((a["segmentation"][0] != b["segmentation"][0]).float().mean()) / (samples + 5)
    row = {f"{side}_cpu_ms": 1000 * total / samples for side, total in seconds.items()}
    return {
        "patch_size": patch_size,
        "read": shape,
        "labels": labels,
        "samples": samples,
        **{key: round(value, 3) for key, value in row.items()},
        "ratio": round(seconds["stock"] / seconds["autoseg"], 2),
        "largest_difference": largest,
        "unequal_labels": unequal,
    }


def main() -> None:
    """Run, print and, if asked, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for patch_size, labels, share in SETTINGS:
        rows.append(bench(patch_size, labels, max(5, int(arguments.samples * share))))
        print(rows[-1], flush=True)
    if arguments.output:
        document = {"torch": torch.__version__, "rows": rows}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
