"""Preprocessed cases for training: held in memory where they are small, loaded under a seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from autoseg.preprocessing.properties_file import read_properties
from autoseg.training.step_draws import StepLoader, Stream
from autoseg.training.worker_loader import WorkerLoader

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer

# Below this, decompressed cases stay in memory: on a CPU, unpacking a case again for every patch costs
# as much as augmenting it.
HOLD_BELOW_BYTES = 2 * 1024**3


class HeldDataset(nnUNetDatasetBlosc2):  # type: ignore[misc]
    """nnU-Net's data set of preprocessed cases, each properties file read once."""

    def __init__(self, folder: str, identifiers: list[str], previous_stage: str | None) -> None:
        super().__init__(folder, list(identifiers), previous_stage)
        self._held: dict[str, tuple[Any, ...]] = {}
        self._checked: set[str] = set()
        self._hold = self._size() < HOLD_BELOW_BYTES

    def _size(self) -> int:
        sample = self.identifiers[:5]
        arrays = [self._loaded(name)[0] for name in sample]
        each = float(np.mean([np.prod(a.shape) * 7.0 for a in arrays])) if arrays else 0.0
        return int(each * len(self.identifiers))

    def _loaded(self, identifier: str) -> tuple[Any, ...]:
        # Before nnU-Net loads it with Python's own pickle, which runs what a file names.
        if identifier not in self._checked:
            read_properties(Path(self.source_folder) / f"{identifier}.pkl")
            self._checked.add(identifier)
        found: tuple[Any, ...] = super().load_case(identifier)
        return found

    def hold(self) -> None:
        """Load all cases now, where they are small, so that processes forked later on share them."""
        if self._hold:
            for identifier in self.identifiers:
                self.load_case(identifier)

    def load_case(self, identifier: str) -> tuple[Any, ...]:
        """One case: data, segmentation, segmentation of the previous stage, properties."""
        if identifier in self._held:
            return self._held[identifier]
        data, segmentation, previous, properties = self._loaded(identifier)
        if self._hold:
            data, segmentation = data[:], segmentation[:]
            previous = None if previous is None else previous[:]
            self._held[identifier] = (data, segmentation, previous, properties)
        return data, segmentation, previous, properties


def loaders(trainer: Trainer) -> tuple[Any, Any]:
    """Training and validation loaders of a trainer: in this process on a CPU, else in several others."""
    rotation, dummy_2d, initial_patch, mirror_axes = (
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    )
    manager, labels = trainer.configuration_manager, trainer.label_manager
    scales = trainer._get_deep_supervision_scales()
    regions = labels.foreground_regions if labels.has_regions else None
    common = {
        "is_cascaded": trainer.is_cascaded,
        "foreground_labels": labels.foreground_labels,
        "regions": regions,
        "ignore_label": labels.ignore_label,
    }
    augment = trainer.get_training_transforms(
        manager.patch_size,
        rotation,
        scales,
        mirror_axes,
        dummy_2d,
        use_mask_for_norm=manager.use_mask_for_norm,
        **common,
    )
    plain = trainer.get_validation_transforms(scales, **common)
    training, validation = trainer.get_tr_and_val_datasets()
    processes = get_allowed_n_proc_DA() if trainer.device.type == "cuda" else 0
    training_patches = _loader(trainer, training, initial_patch, trainer.take_augmentation(augment))
    validation_patches = _loader(trainer, validation, manager.patch_size, plain)
    return (
        _stepped(StepLoader(training_patches, trainer.seed, Stream.TRAINING_BATCH), processes),
        _stepped(StepLoader(validation_patches, trainer.seed, Stream.VALIDATION_BATCH), processes // 2),
    )


def _stepped(loader: StepLoader, processes: int) -> StepLoader:
    """The loader itself, or the processes that do its work, which share the cases that are held in memory."""
    if processes == 0:
        return loader
    loader.loader._data.hold()
    return WorkerLoader(loader, processes, pinned=torch.cuda.is_available())


def _loader(trainer: Trainer, dataset: Any, patch_size: Any, transforms: Any) -> nnUNetDataLoader:
    return nnUNetDataLoader(
        dataset,
        trainer.batch_size,
        patch_size,
        trainer.configuration_manager.patch_size,
        trainer.label_manager,
        oversample_foreground_percent=trainer.oversample_foreground_percent,
        sampling_probabilities=None,
        pad_sides=None,
        transforms=transforms,
        probabilistic_oversampling=trainer.probabilistic_oversampling,
    )


def folder_of_cases(folder: Path) -> list[str]:
    """Identifiers of the preprocessed cases in a folder, sorted."""
    return sorted(nnUNetDatasetBlosc2.get_identifiers(str(folder)))
