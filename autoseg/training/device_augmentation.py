"""Augmentation on the device that trains, where that is not the processor that loads.

On a CPU the transforms of single samples are the faster ones (`benchmarks/results/train_step.md`), and a GPU
would wait for them: augmentation of a sample takes a second there, of a whole batch on the GPU 14 ms
(nnU-Net #3063, an A100).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from autoseg.augmentation.batch_augmentation import BatchAugmentation
from autoseg.training.step_draws import Stream, seed_draws


class DeviceAugmentation:
    """Augments batches that come as they were cut out of their cases.

    Attributes:
        augmentation: what is done to a batch; None: the loader has done it.
    """

    augmentation: BatchAugmentation | None = None

    def take_augmentation(self, pipeline: Any) -> Any:
        """Take a pipeline over from the loader, if it can be done in batches here.

        Returns:
            What the loader is left to do: the pipeline, or nothing (None).
        """
        if self.device.type != "cuda" or not BatchAugmentation.supports(pipeline):
            return pipeline
        self.augmentation = BatchAugmentation(pipeline)
        return None

    def augmented(self, batch: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        """A batch as the network gets it; draws are a function of the seed and of its number."""
        if self.augmentation is None:
            return batch
        seed_draws(self.seed, Stream.AUGMENTATION, number, self.device.type)
        image, segmentation = (batch[key].to(self.device, non_blocking=True) for key in ("data", "target"))
        data, target = self.augmentation(image, segmentation)
        return {**batch, "data": data, "target": target}

    # What the trainer brings.
    device: torch.device
    seed: int
